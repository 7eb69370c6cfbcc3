/** The rows that the functions in supabase/schemas return. */

export type KeySource = "user" | "team" | "operator";
export type KeyStatus = "untested" | "working" | "rejected" | "rate_limited" | "out_of_credit" | "unreadable";

export interface Provider {
  id: string;
  name: string;
  base_url: string;
  capabilities: string[];
  default_model: string;
  task_models: Record<string, string>;
  key_example: string;
  /** The provider's page for creating a key; may be empty. */
  key_url: string;
  position: number;
  /** Whether the app offers it. */
  enabled: boolean;
}

export interface Key {
  id: string;
  provider: string;
  hint: string;
  status: KeyStatus;
  rests_until: string | null;
  last_used_at: string | null;
  created_at: string;
  rate_limited_models: string[];
}

export type TeamRole = "owner" | "admin" | "member";

/** A team's policy. */
export interface Policy {
  keys_first: "team" | "member";
  /** Providers with all their models (true) or only these; null: any provider and model. */
  allowed_providers: Record<string, true | string[]> | null;
  default_provider: string | null;
  provider_preferences: Record<string, Preference>;
  task_overrides: Record<string, TaskOverride>;
}

export interface Team {
  id: string;
  name: string;
  /** The user's role. */
  role: TeamRole;
  /** Whether the user's requests use it if they name no team. */
  is_default: boolean;
  keys_first: "team" | "member";
  /** The number of members. */
  members: number;
  /** The owners' email addresses; null for one without. */
  owners: unknown[];
  created_at: string;
}

export interface TeamDetails extends Team {
  /** The allowed providers, with all models (true) or only these; null allows all providers. */
  allowed_providers: Record<string, true | string[]> | null;
  default_provider: string | null;
  provider_preferences: Record<string, Preference>;
  task_overrides: Record<string, TaskOverride>;
  version: number;
  updated_at: string;
}

export interface TeamMember {
  user_id: string;
  email: string | null;
  name: string | null;
  role: TeamRole;
  joined_at: string;
}

export interface TeamInvitation {
  id: string;
  team_id: string;
  team_name: string;
  role: TeamRole;
  /** The only address whose user can accept it; null: whoever has the token can. */
  email: string | null;
  created_at: string;
  expires_at: string;
}

export interface Preference {
  enabled?: boolean;
  priority?: number;
  model?: string;
}

export interface Choice {
  provider: string;
  model?: string;
}

export interface TaskOverride extends Choice {
  /** Fallbacks of this task; without them, the user's other providers follow in order. */
  fallbacks?: Choice[];
}

/** Everything that a user may change. */
export interface Preferences {
  default_provider: string | null;
  enable_fallbacks: boolean;
  allow_operator_keys: boolean;
  time_zone: string;
  /** The team of requests that name none. */
  default_team: string | null;
  provider_preferences: Record<string, Preference>;
  task_overrides: Record<string, TaskOverride>;
}

export interface Settings extends Preferences {
  user_id: string;
  version: number;
  total_requests: number;
  last_used_at: string | null;
  /** Whether a browser may show a stored key. */
  reveal_allowed: boolean;
  /** Whether users create teams, or only the app does. */
  may_create_teams: boolean;
}

export interface Task {
  task: string;
  description: string;
  provider_order: string[];
}

export interface KnownModel {
  model: string;
  /** US dollars per million tokens; null without a price. */
  input_price: number | null;
  output_price: number | null;
}

export interface Candidate {
  provider: string;
  model: string;
  reason: string;
  key_source: KeySource;
  key_id: string | null;
  key_hint: string | null;
  /** The team whose key it uses. */
  team_id: string | null;
}

export interface Skipped {
  provider: string;
  key_source: KeySource;
  reason: string;
  message: string;
  quota: QuotaFigures | null;
  until: string | null;
}

export interface QuotaFigures {
  unit: string;
  period: string;
  limit: number;
  used: number;
  reserved: number;
  resets_at: string | null;
}

export interface Route {
  task: string | null;
  candidates: Candidate[];
  skipped: Skipped[];
  advice: string;
}

export type Result = "works" | "rejected" | "unknown";

export interface KeyCheck {
  result: Result;
  reason: string;
  message: string;
  /** The provider's own error message, masked; may be empty. */
  detail: string;
  key: Key | null;
}

export interface UsageLine {
  starts_at: string;
  user_id: string | null;
  provider: string | null;
  model: string | null;
  task: string | null;
  key_source: KeySource | null;
  team_id: string | null;
  /** The name of the team whose keys paid. */
  team: string | null;
  requests: number;
  attempts: number;
  fallbacks: number;
  failures: number;
  cancelled: number;
  input_tokens: number;
  output_tokens: number;
  /** The known cost in US dollars; null if none is known. */
  cost: number | null;
  unpriced: number;
  unreported: number;
  latency_p50_ms: number | null;
  latency_p95_ms: number | null;
  last_used_at: string;
}

export interface ReceiptAttempt {
  attempt: number;
  provider: string;
  model: string;
  key_source: KeySource;
  key_id: string | null;
  outcome: "succeeded" | "failed" | "cancelled";
  error_class: string | null;
  latency_ms: number | null;
  input_tokens: number | null;
  output_tokens: number | null;
  cost: number | null;
  cost_status: "priced" | "unpriced" | "unreported";
  team_id: string | null;
  /** The name of the team whose key paid. */
  team: string | null;
}

export interface Receipt {
  request_id: string;
  requested_at: string;
  task: string | null;
  outcome: "succeeded" | "failed" | "cancelled";
  cost: number | null;
  unpriced: number;
  unreported: number;
  attempts: ReceiptAttempt[];
}

export interface Forecast {
  month: string;
  cost_so_far: number | null;
  unpriced: number;
  unreported: number;
  days_averaged: number;
  daily_average: number | null;
  forecast: number | null;
}

export interface Hint {
  kind: string;
  message: string;
  /** Figures behind the message. */
  [fact: string]: unknown;
}

export interface Quota {
  id: number;
  set_by: "operator" | "user" | "team";
  team_id: string | null;
  unit: "requests" | "tokens" | "cost";
  period: "minute" | "day" | "month" | "lifetime";
  limit: number;
  key_source: KeySource | null;
  provider: string | null;
  task: string | null;
  enforced: boolean;
  /** Whether all users that the quota is for share it. */
  shared: boolean;
  user_id: string | null;
  used: number | null;
  reserved: number | null;
  resets_at: string | null;
  [other: string]: unknown;
}

export interface Alert {
  id: string;
  kind:
    | "quota_warning"
    | "quota_reached"
    | "key_rejected"
    | "key_revealed"
    | "out_of_credit"
    | "price_missing"
    | "output_limit_ignored"
    | "team_owner";
  subject: string;
  detail: Record<string, unknown>;
  created_at: string;
  read_at: string | null;
}

/** What a verification found: an entry or a seal of the audit log that is not as it was sealed. */
export interface AuditProblem {
  kind: "changed" | "removed" | "inserted" | "seal_changed" | "seal_removed";
  entry: string | null;
  at: string;
}

export interface AuditVerification {
  verified: number;
  sealed_until: string | null;
  first_problem: AuditProblem | null;
  next: string | null;
}

export interface AuditEntry {
  id: string;
  at: string;
  action: string;
  actor: string;
  provider: string | null;
  key_id: string | null;
  runtime_id: string | null;
  detail: Record<string, unknown>;
}
