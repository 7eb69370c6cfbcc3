import { describe, expect, test } from "vitest";
import { assign, changesBetween, countChanges, merge } from "../src/changes.js";
import type { Preferences } from "../src/types.js";

const base = (): Preferences => ({
  default_provider: "openai",
  enable_fallbacks: true,
  allow_operator_keys: true,
  time_zone: "UTC",
  default_team: null,
  provider_preferences: { groq: { priority: 1, model: "llama" }, mistral: { enabled: false } },
  task_overrides: { code: { provider: "anthropic", fallbacks: [{ provider: "groq" }] } },
});

const after = (...edits: [Parameters<typeof assign>[1], unknown][]): Preferences => {
  const made = base();
  for (const [path, value] of edits) assign(made, path, value);
  return made;
};

describe("changesBetween", () => {
  test("is null if nothing differs", () => {
    expect(changesBetween(base(), base())).toBeNull();
    expect(countChanges(base(), base())).toBe(0);
  });

  test("has only changed fields and tasks", () => {
    const wanted = after(
      [["provider_preferences", "groq", "model"], "gpt"],
      [["provider_preferences", "google", "priority"], 3],
      [["task_overrides", "speed"], { provider: "groq" }],
    );
    expect(changesBetween(base(), wanted)).toEqual({
      provider_preferences: { groq: { model: "gpt" }, google: { priority: 3 } },
      task_overrides: { speed: { provider: "groq" } },
    });
    expect(countChanges(base(), wanted)).toBe(3);
  });

  test("counts a new order of providers as one change", () => {
    const wanted = after(
      [["provider_preferences", "groq", "priority"], 2],
      [["provider_preferences", "google", "priority"], 1],
    );
    expect(countChanges(base(), wanted)).toBe(1);
    expect(changesBetween(base(), wanted)).toEqual({
      provider_preferences: { groq: { priority: 2 }, google: { priority: 1 } },
    });
  });

  test("has null for removed values", () => {
    const wanted = after(
      [["default_provider"], undefined],
      [["provider_preferences", "mistral", "enabled"], undefined],
      [["task_overrides", "code"], undefined],
    );
    expect(changesBetween(base(), wanted)).toEqual({
      default_provider: null,
      provider_preferences: { mistral: { enabled: null } },
      task_overrides: { code: null },
    });
    expect(wanted.provider_preferences).not.toHaveProperty("mistral");
  });

  test("ignores the order of fields", () => {
    const wanted = after([
      ["task_overrides", "code"],
      { fallbacks: [{ provider: "groq" }], provider: "anthropic" },
    ]);
    expect(changesBetween(base(), wanted)).toBeNull();
  });

  test("accepts any task name", () => {
    const name = '__proto__ ["x"]';
    const wanted = after([["task_overrides", name], { provider: "groq" }]);
    expect(changesBetween(base(), wanted)).toEqual({ task_overrides: { [name]: { provider: "groq" } } });
  });

  test("accepts a task called __proto__", () => {
    const wanted = after([["task_overrides", "__proto__"], { provider: "groq" }]);
    expect(JSON.stringify(changesBetween(base(), wanted))).toBe(
      '{"task_overrides":{"__proto__":{"provider":"groq"}}}',
    );
    expect(({} as Record<string, unknown>)["provider"]).toBeUndefined();
  });
});

describe("merge", () => {
  test("combines changes of different leaves", () => {
    const mine = after([["provider_preferences", "groq", "model"], "mine"]);
    const theirs = after([["provider_preferences", "groq", "priority"], 9], [["enable_fallbacks"], false]);
    const { merged, conflicts } = merge(base(), mine, theirs);
    expect(conflicts).toEqual([]);
    expect(merged.provider_preferences["groq"]).toEqual({ priority: 9, model: "mine" });
    expect(merged.enable_fallbacks).toBe(false);
  });

  test("reports a conflict on the same leaf, and keeps mine until it is settled", () => {
    const mine = after([["task_overrides", "code"], { provider: "groq" }]);
    const theirs = after([["task_overrides", "code"], undefined]);
    const { merged, conflicts } = merge(base(), mine, theirs);
    expect(conflicts).toEqual([
      { path: ["task_overrides", "code"], mine: { provider: "groq" }, theirs: undefined },
    ]);
    expect(merged.task_overrides["code"]).toEqual({ provider: "groq" });
  });

  test("finds no conflict if both made the same change", () => {
    const both = after([["default_provider"], "groq"]);
    expect(merge(base(), both, both)).toEqual({ merged: both, conflicts: [] });
  });
});
