/** What an unsaved change makes of a route. */

import type { Candidate, Skipped, Route } from "../types.js";

export type Mark = "same" | "new" | "earlier" | "later" | "gone";

function nameOf({ provider, model, key_source }: Candidate): string {
  return JSON.stringify([provider, model, key_source]);
}

/** How each candidate of `route` differs in the `other` one: `route` is the one before, or the one after. */
export function candidateMarks(route: Route, other: Route, which: "before" | "after"): Mark[] {
  const places = new Map(other.candidates.map((candidate, place) => [nameOf(candidate), place]));
  return route.candidates.map((candidate, place) => {
    const there = places.get(nameOf(candidate));
    if (which === "before") return there === undefined ? "gone" : "same";
    if (there === undefined) return "new";
    if (there === place) return "same";
    return place < there ? "earlier" : "later";
  });
}

/** Whether each of what is left out of `route` is not left out of the other one for the same reason. */
export function skippedMarks(route: Route, other: Route): boolean[] {
  const name = ({ provider, key_source, reason }: Skipped) => JSON.stringify([provider, key_source, reason]);
  const there = new Set(other.skipped.map(name));
  return route.skipped.map((line) => !there.has(name(line)));
}

/** Whether both routes are the same for a user. */
export function sameRoute(one: Route, other: Route): boolean {
  const names = (route: Route) =>
    JSON.stringify([
      route.candidates.map((c) => [nameOf(c), c.reason]),
      route.skipped.map((line) => [line.provider, line.key_source, line.reason]),
    ]);
  return names(one) === names(other);
}
