import { describe, expect, test } from "vitest";
import type { Policy } from "../src/types.js";
import {
  allows,
  countPolicyChanges,
  modelsOf,
  policyChanges,
  setAllowed,
  setModels,
  setOnlyListed,
} from "../src/views/team/policy.js";

const policy = (changes: Partial<Policy> = {}): Policy => ({
  keys_first: "team",
  allowed_providers: null,
  default_provider: null,
  provider_preferences: {},
  task_overrides: {},
  ...changes,
});
const IDS = ["groq", "openai", "mistral"];

describe("a team's policy", () => {
  test("allows every provider at first", () => {
    expect(IDS.map((id) => allows(policy(), id))).toEqual([true, true, true]);
  });

  test("forbids a provider among all, and keeps its place", () => {
    const open = policy({ provider_preferences: { groq: { priority: 1 } } });
    const without = setAllowed(open, "groq", false);
    expect(without.allowed_providers).toBeNull();
    expect(without.provider_preferences).toEqual({ groq: { priority: 1, enabled: false } });
    expect(allows(without, "groq")).toBe(false);
    expect(setAllowed(without, "groq", true)).toEqual(open);
  });

  test("lists what is allowed, and later forgets the list again", () => {
    const listed = setOnlyListed(setAllowed(policy(), "groq", false), true, IDS);
    expect(listed.allowed_providers).toEqual({ openai: true, mistral: true });
    expect(listed.provider_preferences).toEqual({});
    expect(allows(setAllowed(listed, "groq", true), "groq")).toBe(true);
    expect(allows(listed, "added-later")).toBe(false);
    const open = setOnlyListed(listed, false, IDS);
    expect(open.allowed_providers).toBeNull();
    expect(IDS.map((id) => allows(open, id))).toEqual([false, true, true]);
  });

  test("a list of models needs a list of providers", () => {
    const some = setModels(policy(), "openai", ["gpt-5"], IDS);
    expect(some.allowed_providers).toEqual({ groq: true, openai: ["gpt-5"], mistral: true });
    expect(modelsOf(some, "openai")).toEqual(["gpt-5"]);
    expect(modelsOf(setModels(some, "openai", null, IDS), "openai")).toBeNull();
    expect(allows(setModels(some, "openai", [], IDS), "openai")).toBe(false);
  });

  test("is saved as its changes only", () => {
    const wanted = policy({ keys_first: "member", provider_preferences: { groq: { priority: 1 } } });
    expect(policyChanges(policy(), wanted)).toEqual({
      keys_first: "member",
      provider_preferences: { groq: { priority: 1 } },
    });
    expect(policyChanges(wanted, policy())).toEqual({
      keys_first: "team",
      provider_preferences: { groq: { priority: null } },
    });
    expect(countPolicyChanges(policy(), setModels(policy(), "openai", ["gpt-5"], IDS))).toBe(1);
    expect(policyChanges(wanted, structuredClone(wanted))).toBeNull();
  });

  test("a provider named like a property of every object is only that", () => {
    expect(allows(policy({ allowed_providers: {} }), "constructor")).toBe(false);
  });
});
