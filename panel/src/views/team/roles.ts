/** What a role may do; mirrors the checks in supabase/schemas/39_teams.sql, so that the tab offers nothing else. */

import type { TeamRole, TeamMember } from "../../types.js";

export const ROLES = ["owner", "admin", "member"] as const satisfies TeamRole[];

/** Whether the role manages members, keys, the policy and limits. */
export function manages(role: TeamRole): boolean {
  return role !== "member";
}

/** The roles that somebody can be invited with. */
export function rolesToInvite(mine: TeamRole): TeamRole[] {
  return ROLES.filter((role) => role !== "owner" || mine === "owner");
}

/** Whether this member is the team's only owner. A team always has an owner. */
export function isLastOwner(member: TeamMember, members: readonly TeamMember[]): boolean {
  return member.role === "owner" && members.filter(({ role }) => role === "owner").length === 1;
}

/** The roles that a member can be given. */
export function rolesToSet(mine: TeamRole, member: TeamMember, members: readonly TeamMember[]): TeamRole[] {
  if (!manages(mine) || isLastOwner(member, members)) return [];
  if (mine === "admin" && member.role === "owner") return [];
  return rolesToInvite(mine).filter((role) => role !== member.role);
}

/** Whether a member can be removed; by themselves, that is leaving. */
export function removable(
  mine: TeamRole,
  me: string,
  member: TeamMember,
  members: readonly TeamMember[],
): boolean {
  if (isLastOwner(member, members)) return false;
  if (member.user_id === me) return true;
  return mine === "owner" || (mine === "admin" && member.role !== "owner");
}
