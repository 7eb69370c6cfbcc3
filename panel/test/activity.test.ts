import { expect, test } from "vitest";
import { Formats } from "../src/formats.js";
import { de } from "../src/texts/de.js";
import { en } from "../src/texts/en.js";
import { Translator } from "../src/texts/index.js";
import type { AuditEntry } from "../src/types.js";
import { isSuperseded, kindOf, wordsFor } from "../src/views/activity/entries.js";

const translator = new Translator("en");
const store = {
  translator,
  t: translator.text,
  formats: new Formats("en", "UTC"),
  providerName: () => "Groq",
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
