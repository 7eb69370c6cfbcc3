import { expect, test } from "vitest";
import { de } from "../src/texts/de.js";
import { en } from "../src/texts/en.js";
import { Translator } from "../src/texts/index.js";
import type { Quota } from "../src/types.js";
import { quotaName } from "../src/views/usage/quota-bars.js";

const monthly: Quota = {
  id: 1,
  set_by: "operator",
  unit: "cost",
  period: "month",
  limit: 5,
  key_source: "operator",
  provider: null,
  task: null,
  enforced: true,
  shared: false,
  user_id: null,
  team_id: null,
  used: 0,
  reserved: 0,
  resets_at: null,
};

function nameIn(translator: Translator, quota: Quota): string {
  return quotaName(
    { translator, t: translator.text, providerName: (id) => `<${id}>`, appTasks: null },
    quota,
  );
}

test("the app's limit and the user's own limit have different names", () => {
  const own: Quota = { ...monthly, id: 2, set_by: "user" };
  const english = new Translator("en", en);
  expect([monthly, own].map((quota) => nameIn(english, quota))).toEqual([
    "Monthly spending limit · the app's key · set by the app",
    "Monthly spending limit · the app's key · set by you",
  ]);
  const german = new Translator("de", de);
  expect([monthly, own].map((quota) => nameIn(german, quota))).toEqual([
    "Ausgabenlimit pro Monat · Schlüssel der App · von der App festgelegt",
    "Ausgabenlimit pro Monat · Schlüssel der App · von Ihnen festgelegt",
  ]);
});

test("a limit's name has its provider and task", () => {
  const narrow: Quota = { ...monthly, unit: "tokens", key_source: null, provider: "groq", task: "speed" };
  expect(nameIn(new Translator("en", en), narrow)).toBe(
    "Monthly token limit · <groq> · Quick answers · set by the app",
  );
});
