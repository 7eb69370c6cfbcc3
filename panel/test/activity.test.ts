import { expect, test } from "vitest";
import { Formats } from "../src/formats.js";
import { de } from "../src/texts/de.js";
import { en } from "../src/texts/en.js";
import { Translator } from "../src/texts/index.js";
import type { AuditEntry, AuditProblem, AuditVerification } from "../src/types.js";
import { isSuperseded, kindOf, wordsFor } from "../src/views/activity/entries.js";
import { sealWords, verifyLog } from "../src/views/activity/seals.js";

const translator = new Translator("en", en);
const store = {
  translator,
  t: translator.text,
  formats: new Formats("en", "UTC"),
  providerName: () => "Groq",
  teamName: (id: string) => (id === "t1" ? "Research" : null),
};
const entry = (action: string, detail: object = {}) => ({ action, detail, provider: "groq" }) as AuditEntry;

test("a key check is one line with its result", () => {
  const begun = entry("key_checked", { hint: "gsk…0001", check: "c1" });
  const result = entry("key_check_result", { hint: "gsk…0001", check: "c1", result: "rejected" });
  expect(isSuperseded(begun, [result, begun])).toBe(true);
  expect(isSuperseded(begun, [begun])).toBe(false);
  expect(wordsFor(store, result)).toBe("Groq key gsk…0001 checked: rejected");
  expect(wordsFor(store, entry("key_check_result", { check: "c2", result: "works" }))).toBe(
    "Groq key checked: works",
  );
});

test("a change of settings names the settings", () => {
  const changes = { default_provider: "groq", task_overrides: {} };
  expect(wordsFor(store, entry("settings_changed", { changes }))).toBe(
    "Settings changed: default provider and tasks",
  );
});

test("an action that the panel does not know is shown by its name", () => {
  expect([wordsFor(store, entry("something_new")), kindOf(entry("something_new"))]).toEqual([
    "something_new",
    "settings",
  ]);
});

test("each action of a user's log has a text", () => {
  const actions =
    "settings_changed key_set key_revoked key_revealed key_checked price_set price_ended quota_set quota_removed lease " +
    "key_check_result.works key_check_result.rejected key_check_result.unknown";
  for (const texts of [en, de] as Record<string, string>[])
    for (const action of actions.split(" ")) expect(texts[`activity.action.${action}`]).toBeTruthy();
});

const verified: AuditVerification = {
  verified: 132,
  sealed_until: "2026-11-28T10:00:00Z",
  first_problem: null,
  next: null,
};
const german = new Translator("de", de);

/** The words for a log with this problem, in English and German. */
function words(problem: Partial<AuditProblem> | null): (string | null)[] {
  const first_problem = problem && ({ at: "2026-11-27T10:00:00Z", ...problem } as AuditProblem);
  return [
    sealWords(store, { ...verified, first_problem }),
    sealWords(
      { translator: german, t: german.text, formats: new Formats("de", "UTC") },
      { ...verified, first_problem },
    ),
  ];
}

test("a log that nobody changed is verified until its last seal", () => {
  expect(words(null)).toEqual([
    `Verified: 132 entries, sealed until ${store.formats.time("2026-11-28T10:00:00Z")}`,
    `Geprüft: 132 Einträge, versiegelt bis ${new Formats("de", "UTC").time("2026-11-28T10:00:00Z")}`,
  ]);
  expect(sealWords(store, { ...verified, verified: 1 })).toMatch(/^Verified: 1 entry, /);
  expect(sealWords(store, { ...verified, sealed_until: null })).toBeNull();
});

test.each([
  ["changed", /^The entry of .*2026.* was changed$/, /^Der Eintrag vom .*2026.* wurde geändert$/],
  ["removed", / was removed$/, / wurde entfernt$/],
  ["inserted", / was inserted later$/, / wurde nachträglich eingefügt$/],
] as const)("an entry that was %s is named by its time", (kind, english, inGerman) => {
  const [en, de] = words({ kind, entry: "e1" });
  expect(en).toMatch(english);
  expect(de).toMatch(inGerman);
});

test("a changed seal is a problem, too", () => {
  for (const kind of ["seal_changed", "seal_removed"] as const)
    expect(words({ kind, entry: null })[0]).toBe("The seals of this log were changed");
});

test("a long log is verified page by page until the first problem", async () => {
  const problem = { kind: "removed", entry: "e2", at: "" } as AuditProblem;
  const pages: Record<string, AuditVerification> = {
    "": { ...verified, verified: 10, next: "e1" },
    e1: { ...verified, verified: 20, next: "e2" },
    e2: { ...verified, verified: 3 },
  };
  const backend = { verifyAudit: async (after: string | null) => pages[after ?? ""]! };
  expect((await verifyLog(backend)).verified).toBe(33);
  pages["e1"] = { ...pages["e1"]!, first_problem: problem };
  expect(await verifyLog(backend)).toMatchObject({ verified: 30, first_problem: problem });
});

test("a team's log names users, roles and addresses", () => {
  const words = (action: string, detail: object) => wordsFor(store, entry(action, detail), (id) => `<${id}>`);
  expect(words("team_role_set", { user_id: "ben", old: "member", new: "admin", by: "ada" })).toBe(
    "Role of <ben> changed: admin",
  );
  expect(words("team_member_removed", { user_id: "ben", by: "ada" })).toBe("<ben> removed");
  expect(words("team_member_removed", { user_id: "ben", by: "ben" })).toBe("<ben> left");
  expect(words("team_invitation_created", { role: "member", email: null })).toBe(
    "Invitation link created: member",
  );
  expect(words("team_invitation_created", { role: "admin", email: "b@example.com" })).toBe(
    "b@example.com invited: admin",
  );
  expect(words("team_changed", { changes: { keys_first: "member", name: "Lab" } })).toBe(
    "Policy changed: keys to use first and name",
  );
  expect(words("team_joined", { team_id: "t1", role: "member" })).toBe("Team Research joined");
  expect(words("team_joined", { team_id: "gone", role: "member" })).toBe("Team joined");
  expect(["team_joined", "team_changed"].map((action) => kindOf(entry(action)))).toEqual([
    "teams",
    "settings",
  ]);
});
