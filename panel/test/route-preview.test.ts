import { describe, expect, it } from "vitest";
import type { Candidate, Skipped, Route } from "../src/types.js";
import { candidateMarks, newlySkipped, sameRoute } from "../src/views/route-differences.js";
import { de } from "../src/texts/de.js";
import { en } from "../src/texts/en.js";

function route(candidates: string[], skipped: [string, string][] = []): Route {
  return {
    task: null,
    advice: "",
    candidates: candidates.map(
      (provider) => ({ provider, model: "m", key_source: "user", reason: "preference_order" }) as Candidate,
    ),
    skipped: skipped.map(
      ([provider, reason]) => ({ provider, reason, key_source: "user", message: "" }) as Skipped,
    ),
  };
}

describe("the route preview", () => {
  it("marks moved, new and removed candidates", () => {
    const [now, then] = [route(["a", "b", "c"]), route(["c", "a", "d"])];
    expect(candidateMarks(then, now, "after")).toEqual(["earlier", "later", "new"]);
    expect(candidateMarks(now, then, "before")).toEqual(["same", "gone", "same"]);
  });

  it("marks a provider that is newly skipped, or skipped for another reason", () => {
    const now = route(
      [],
      [
        ["a", "no_key"],
        ["b", "no_key"],
      ],
    );
    const then = route(
      [],
      [
        ["a", "no_key"],
        ["b", "provider_disabled"],
      ],
    );
    expect(newlySkipped(then, now)).toEqual([false, true]);
    expect(sameRoute(now, then)).toBe(false);
    expect(
      sameRoute(
        now,
        route(
          [],
          [
            ["a", "no_key"],
            ["b", "no_key"],
          ],
        ),
      ),
    ).toBe(true);
  });

  it("has a text for every reason in the database", () => {
    const reasons =
      "no_key key_rejected key_rate_limited key_out_of_credit model_rate_limited provider_disabled provider_off lacks_capability no_model other_model " +
      "not_in_task_fallbacks fallbacks_off operator_keys_declined operator_keys_not_for_anonymous quota_exceeded model_unpriced " +
      "runtime_required team_policy";
    for (const texts of [en, de] as Record<string, string>[]) {
      for (const reason of reasons.split(" ")) expect(texts[`preview.why.${reason}`]).toBeTruthy();
      for (const reason of ["requested", "task_override", "task_fallback", "default_provider"])
        expect(texts[`preview.reason.${reason}`]).toBeTruthy();
      for (const reason of ["preference_order", "operator_openai", "team_key", "team_policy"])
        expect(texts[`preview.reason.${reason}`]).toBeTruthy();
    }
  });
});
