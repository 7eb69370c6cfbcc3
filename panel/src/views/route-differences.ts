/** How an unsaved change affects a route. */

import type { Candidate, Skipped, Route } from "../types.js";

export type Mark = "same" | "new" | "earlier" | "later" | "gone";

function nameOf({ provider, model, key_source }: Candidate): string {
  return JSON.stringify([provider, model, key_source]);
}

/** How each candidate of `route` compares with the `other` route; `which` says which one `route` is. */
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

/** For each skipped provider of `route`: whether the other route does not skip it for the same reason. */
export function newlySkipped(route: Route, other: Route): boolean[] {
  const name = ({ provider, key_source, reason }: Skipped) => JSON.stringify([provider, key_source, reason]);
  const there = new Set(other.skipped.map(name));
  return route.skipped.map((line) => !there.has(name(line)));
}

/** Whether both routes look the same to a user. */
export function sameRoute(one: Route, other: Route): boolean {
  const names = (route: Route) =>
    JSON.stringify([
      route.candidates.map((c) => [nameOf(c), c.reason]),
      route.skipped.map((line) => [line.provider, line.key_source, line.reason]),
    ]);
  return names(one) === names(other);
}
