/** What the chart draws: a bar per day, stacked by group. */

import type { UsageLine } from "../../types.js";

export type Measure = "cost" | "requests";
export type Grouping = "provider" | "model" | "task";

/** More colors are hard to tell apart; the rest is one group. */
export const MOST_GROUPS = 6;

export interface Part {
  /** Null stands for usage without a name, "" for the rest. */
  group: string | null;
  value: number;
}

export interface Day {
  /** YYYY-MM-DD */
  date: string;
  parts: Part[];
  value: number;
  requests: number;
  cost: number | null;
  unpriced: number;
  unreported: number;
}

export function valueOf(line: UsageLine, measure: Measure): number {
  return measure === "cost" ? (line.cost ?? 0) : line.requests;
}

/** The groups, largest first; beyond MOST_GROUPS, the last one is the rest. */
export function groupsOf(
  lines: readonly UsageLine[],
  grouping: Grouping,
  measure: Measure,
): (string | null)[] {
  const sums = new Map<string | null, number>();
  for (const line of lines)
    sums.set(line[grouping], (sums.get(line[grouping]) ?? 0) + valueOf(line, measure));
  const names = [...sums].sort((a, b) => b[1] - a[1]).map(([name]) => name);
  return names.length > MOST_GROUPS ? [...names.slice(0, MOST_GROUPS), ""] : names;
}

/** Each day of the period, with or without usage. */
export function daysOf(
  lines: readonly UsageLine[],
  dates: readonly string[],
  groups: readonly (string | null)[],
  {
    grouping,
    measure,
    dateOf,
  }: { grouping: Grouping; measure: Measure; dateOf: (line: UsageLine) => string },
): Day[] {
  const days = new Map(dates.map((date) => [date, emptyDay(date, groups)]));
  for (const line of lines) {
    const day = days.get(dateOf(line));
    if (!day) continue;
    const at = groups.indexOf(line[grouping]);
    const part = day.parts[at < 0 ? groups.length - 1 : at];
    const value = valueOf(line, measure);
    if (part) part.value += value;
    day.value += value;
    day.requests += line.requests;
    if (line.cost !== null) day.cost = (day.cost ?? 0) + line.cost;
    day.unpriced += line.unpriced;
    day.unreported += line.unreported;
  }
  return [...days.values()];
}

function emptyDay(date: string, groups: readonly (string | null)[]): Day {
  const parts = groups.map((group) => ({ group, value: 0 }));
  return { date, parts, value: 0, requests: 0, cost: null, unpriced: 0, unreported: 0 };
}

/** Round numbers for an axis, from 0 to at least `most`. */
export function ticks(most: number, whole: boolean): number[] {
  if (!(most > 0)) return [0, 1];
  const raw = most / 4;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = ([1, 2, 2.5, 5, 10].find((factor) => factor * power >= raw * 0.9999) ?? 10) * power;
  const even = whole ? Math.max(1, Math.ceil(step)) : step;
  const count = Math.ceil(most / even - 1e-9);
  return Array.from({ length: count + 1 }, (_, index) => Number((index * even).toPrecision(12)));
}
