/** The RPCs of the Team tab, each once. They load with the tab. */

import type { Backend } from "./backend.js";
import type {
  AuditEntry,
  AuditVerification,
  Key,
  KeyCheck,
  Quota,
  TeamRole,
  TeamDetails,
  TeamInvitation,
  TeamMember,
  UsageLine,
} from "./types.js";

/** An invitation that was just created. */
export interface NewInvitation extends TeamInvitation {
  /** Null if it is addressed to somebody. Nothing returns it again. */
  token: string | null;
}

export class TeamBackend {
  constructor(private readonly backend: Backend) {}

  create = (name: string) => this.backend.rpc<TeamDetails>("create_llm_team", { p_name: name });
  get = (team: string) => this.backend.rpc<TeamDetails>("get_llm_team", { p_team_id: team });
  /** Without a version, the change applies to whatever version there is. */
  set = (team: string, changes: object, version: number | null = null) =>
    this.backend.rpc<TeamDetails>("set_llm_team", {
      p_team_id: team,
      p_changes: changes,
      p_expected_version: version,
    });
  remove = (team: string) => this.backend.rpc<null>("remove_llm_team", { p_team_id: team });

  members = (team: string) => this.backend.rpc<TeamMember[]>("list_llm_team_members", { p_team_id: team });
  setMember = (team: string, user: string, role: TeamRole) =>
    this.backend.rpc<TeamMember>("set_llm_team_member", { p_team_id: team, p_user_id: user, p_role: role });
  removeMember = (team: string, user: string) =>
    this.backend.rpc<null>("remove_llm_team_member", { p_team_id: team, p_user_id: user });

  invite = (team: string, role: TeamRole, email: string | null, hours: number) =>
    this.backend.rpc<NewInvitation>("create_llm_team_invitation", {
      p_team_id: team,
      p_role: role,
      p_email: email,
      p_valid_hours: hours,
    });
  invitations = (team: string) =>
    this.backend.rpc<TeamInvitation[]>("list_llm_team_invitations", { p_team_id: team });
  removeInvitation = (team: string, id: string) =>
    this.backend.rpc<null>("remove_llm_team_invitation", { p_team_id: team, p_id: id });
  /** By its token or, if it is addressed to the user, by its id. */
  accept = (invitation: string) =>
    this.backend.rpc<TeamDetails>("accept_llm_team_invitation", { p_invitation: invitation });

  keys = (team: string) => this.backend.rpc<Key[]>("list_llm_team_keys", { p_team_id: team });
  setKey = (team: string, provider: string, key: string) =>
    this.backend.rpc<Key>("set_llm_team_key", { team_id: team, provider, key });
  removeKey = (team: string, provider: string) =>
    this.backend.rpc<null>("remove_llm_team_key", { p_team_id: team, p_provider: provider });
  /** Let the runtime check the stored key. */
  checkKey = (team: string, provider: string) =>
    this.backend.askAsUser<KeyCheck>("/keys/check", { team_id: team, provider });

  /** The usage of the team's keys: all members' for owners and admins, otherwise the user's own. */
  usage = (team: string, since: string, by: ("user" | "provider" | "model")[]) =>
    this.backend.rpc<UsageLine[]>("get_llm_usage", {
      p_team_id: team,
      p_since: since,
      p_bucket: null,
      p_by: by,
      p_order: "cost",
      p_limit: 1000,
    });
  quotas = (team: string) => this.backend.rpc<Quota[]>("list_llm_quotas", { p_team_id: team });
  setQuota = (team: string, quota: object) =>
    this.backend.rpc<Quota>("set_llm_quota", { p_quota: { ...quota, team_id: team } });
  removeQuota = (id: number) => this.backend.rpc<null>("remove_llm_quota", { p_id: id });
  audit = (team: string, limit: number, before: string | null) =>
    this.backend.rpc<AuditEntry[]>("get_llm_audit_log", {
      p_team_id: team,
      p_limit: limit,
      p_before: before,
    });
  verifyAudit = (team: string, after: string | null) =>
    this.backend.rpc<AuditVerification>("verify_llm_audit_log", { p_team_id: team, p_after: after });
}
