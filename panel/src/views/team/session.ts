/** What the Team tab remembers while the user looks at other tabs. */

import type { Loaded, Store } from "../../store.js";
import type { Policy, TeamDetails } from "../../types.js";
import { countPolicyChanges, policyOf } from "./policy.js";

export const SECTIONS = ["members", "keys", "policy", "usage", "activity"] as const;
export type Section = (typeof SECTIONS)[number];

/** A team's policy as it is stored, with the user's unsaved changes. */
export interface PolicyDraft {
  team: TeamDetails;
  draft: Policy;
}

export class TeamSession {
  /** The chosen team; null: the default team, or the first one. */
  selected: string | null = null;
  section: Section = "members";
  policies = new Map<string, PolicyDraft>();

  /** How many unsaved changes there are, in all teams. */
  get changes(): number {
    return [...this.policies.values()]
      .map(({ team, draft }) => countPolicyChanges(policyOf(team), draft))
      .reduce((sum, count) => sum + count, 0);
  }
}

/** By the user's data, so that nothing outlives the sign-out. */
const sessions = new WeakMap<Loaded, TeamSession>();

export function sessionOf(store: Store): TeamSession {
  let session = sessions.get(store.loaded);
  if (!session) sessions.set(store.loaded, (session = new TeamSession()));
  return session;
}
