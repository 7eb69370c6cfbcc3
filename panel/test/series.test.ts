import { expect, test } from "vitest";
import type { UsageLine } from "../src/types.js";
import { daysOf, groupsOf, ticks } from "../src/views/usage/series.js";

const line = (date: string, provider: string, cost: number | null, requests = 1) =>
  ({
    starts_at: date,
    provider,
    cost,
    requests,
    unpriced: cost === null ? requests : 0,
    unreported: 0,
  }) as UsageLine;
const options = {
  grouping: "provider",
  measure: "cost",
  dateOf: ({ starts_at }: UsageLine) => starts_at,
} as const;

test("each day has its parts and totals, also a day without usage", () => {
  const lines = [line("2026-11-01", "a", 1), line("2026-11-01", "b", 2), line("2026-11-03", "b", null, 4)];
  const groups = groupsOf(lines, "provider", "cost");
  expect(groups).toEqual(["b", "a"]);
  const days = daysOf(lines, ["2026-11-01", "2026-11-02", "2026-11-03"], groups, options);
  expect(days.map(({ value, requests, cost, unpriced }) => [value, requests, cost, unpriced])).toEqual([
    [3, 2, 3, 0],
    [0, 0, null, 0],
    [0, 4, null, 4],
  ]);
  expect(days[0]!.parts).toEqual([
    { group: "b", value: 2 },
    { group: "a", value: 1 },
  ]);
});

test("many groups become six and the rest, and nothing is lost", () => {
  const lines = Array.from({ length: 9 }, (_, at) => line("2026-11-01", `p${at}`, at + 1));
  const groups = groupsOf(lines, "provider", "cost");
  expect(groups).toEqual(["p8", "p7", "p6", "p5", "p4", "p3", ""]);
  const [day] = daysOf(lines, ["2026-11-01"], groups, options);
  expect(day!.parts.at(-1)).toEqual({ group: "", value: 1 + 2 + 3 });
  expect(day!.value).toBe(45);
});

test("an axis has round numbers up to the largest value", () => {
  expect(ticks(0.22, false)).toEqual([0, 0.1, 0.2, 0.3]);
  expect(ticks(37, true)).toEqual([0, 10, 20, 30, 40]);
  expect(ticks(3, true)).toEqual([0, 1, 2, 3]);
  expect(ticks(0, true)).toEqual([0, 1]);
  for (const most of [0.00003, 1, 7.3, 99, 12345]) {
    const marks = ticks(most, false);
    expect(marks.at(-1)).toBeGreaterThanOrEqual(most);
    expect(marks.length).toBeLessThanOrEqual(6);
  }
});
