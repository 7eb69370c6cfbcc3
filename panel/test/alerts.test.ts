import { expect, test } from "vitest";
import { de } from "../src/texts/de.js";
import { en } from "../src/texts/en.js";
import { Translator } from "../src/texts/index.js";
import type { Alert } from "../src/types.js";
import { alertInWords } from "../src/views/usage/alerts.js";

const store = { translator: new Translator("en", en), providerName: () => "Groq" };
const words = (kind: string, detail: object): string =>
  alertInWords(store, {
    kind,
    detail: { provider: "groq", hint: "gsk…0001", ...detail },
  } as unknown as Alert);

test("an alert of a team names it", () => {
  const team = { team_id: "t1", team: "Research" };
  expect(words("quota_warning", { ...team, shared: true })).toBe(
    "The team Research has used 80% of a usage limit.",
  );
  expect(words("quota_reached", { ...team, shared: false })).toBe(
    "You've reached a usage limit in the team Research.",
  );
  expect(words("key_rejected", team)).toBe(
    "Groq rejected the key gsk…0001 of the team Research. Replace it.",
  );
  expect(words("out_of_credit", team)).toContain("of the team Research");
});

test("an alert of the user's own names no team", () => {
  expect(words("quota_warning", { shared: false, team_id: null })).toBe("You've used 80% of a usage limit.");
  expect(words("key_rejected", {})).toBe("Groq rejected the key gsk…0001. Replace it.");
  expect(words("something_new", { team: "Research" })).toBe("something_new");
});

test("each alert of a team has a text", () => {
  const names = ["quota_warning", "quota_reached"].flatMap((kind) => [`${kind}.team`, `${kind}.member`]);
  for (const texts of [en, de] as Record<string, string>[])
    for (const name of [...names, "key_rejected.team", "out_of_credit.team"])
      expect(texts[`usage.alert.${name}`]).toContain("{team}");
});
