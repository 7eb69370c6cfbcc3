import { describe, expect, it } from "vitest";
import { matching } from "../src/views/matching.js";

const zones = ["America/New_York", "America/Los_Angeles", "Europe/Berlin"].map((value) => ({ value }));
const found = (typed: string | null) => matching(zones, typed).map(({ value }) => value);

describe("a combobox", () => {
  it("finds choices by words in any order and case, with or without underscores", () => {
    expect(found("new york")).toEqual(["America/New_York"]);
    expect(found("los america")).toEqual(["America/Los_Angeles"]);
    expect(found("BERLIN")).toEqual(["Europe/Berlin"]);
    expect(found("mars")).toEqual([]);
  });

  it("shows all choices until something is typed, but no endless list", () => {
    expect(found(null)).toHaveLength(3);
    expect(
      matching(
        Array.from({ length: 400 }, (_, at) => ({ value: `${at}` })),
        "",
      ),
    ).toHaveLength(100);
  });
});
