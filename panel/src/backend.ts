/** Every RPC once, and the runtime's endpoint. The RPCs of the Team tab are in team-backend.ts, which loads with it. */

import { asPanelError, fromPostgrest, PanelError } from "./errors.js";
import type {
  AuditEntry,
  AuditVerification,
  Forecast,
  Hint,
  KeyCheck,
  KnownModel,
  Alert,
  Preferences,
  Provider,
  Quota,
  Receipt,
  Route,
  Settings,
  Key,
  Task,
  Team,
  TeamInvitation,
  UsageLine,
} from "./types.js";

export interface Session {
  access_token: string;
  user: { id: string; email?: string | undefined };
}

interface Answer {
  data: unknown;
  error: { code?: string; details?: string; message?: string; hint?: string } | null;
  status: number;
}

/** The parts of a supabase-js client that the panel uses. */
export interface SupabaseClientLike {
  rpc(name: string, args?: object): PromiseLike<Answer>;
  from(table: string): { select(columns: string): PromiseLike<Answer> };
  auth: {
    getSession(): Promise<{ data: { session: Session | null } }>;
    onAuthStateChange(callback: (event: string, session: Session | null) => void): {
      data: { subscription: { unsubscribe(): void } };
    };
  };
}

/** The preferences to change; null resets one. */
export type Changes = { [Name in keyof Preferences]?: unknown };

/** Slightly longer than the timeout of the database's API. */
const TIMEOUT_MS = 15_000;

export class Backend {
  constructor(
    readonly client: SupabaseClientLike,
    /** Base URL of the runtime's endpoint, without a trailing slash; null if there is none. */
    readonly runtime: string | null = null,
  ) {}

  settings = () => this.rpc<Settings>("get_llm_settings");
  providers = () => this.rpc<Provider[]>("list_llm_providers", { p_disabled: true });
  keys = () => this.rpc<Key[]>("list_llm_keys");
  models = (provider: string) => this.rpc<KnownModel[]>("list_llm_models", { p_provider: provider });
  tasks = () =>
    this.answer<Task[]>(() => this.client.from("llm_tasks").select("task,description,provider_order"));

  teams = () => this.rpc<Team[]>("list_llm_teams");
  /** Those to the user's email address. */
  invitations = () => this.rpc<TeamInvitation[]>("list_llm_team_invitations");

  update = (changes: Changes, version: number) =>
    this.rpc<Settings>("set_llm_settings", { p_changes: changes, p_expected_version: version });

  setKey = (provider: string, key: string) => this.rpc<Key>("set_llm_key", { provider, key });
  removeKey = (provider: string) => this.rpc<null>("remove_llm_key", { p_provider: provider });

  /** The database returns a key only after it has committed the record of that, so the first call asks for another. */
  async revealKey(provider: string): Promise<string> {
    for (let tries = 0; tries < 3; tries++) {
      const { key } = await this.rpc<{ key?: string }>("reveal_llm_key", { p_provider: provider });
      if (key !== undefined) return key;
    }
    throw new PanelError("unavailable", "");
  }

  /**
   * The route of a task with a team (null: the default team), as it would be with these changes. The runtime answers if it can, because it knows the app's
   * keys; otherwise the database answers with the user's own keys only.
   */
  async explain(
    task: string | null,
    changes: Changes | null = null,
    team: string | null = null,
  ): Promise<Route> {
    if (this.runtime !== null)
      try {
        return await this.askAsUser<Route>("/explain", { task, changes, ...(team ? { team } : {}) });
      } catch (error) {
        if (!asPanelError(error).transient) throw error;
      }
    return this.rpc<Route>("explain_llm_route", {
      p_task: task,
      p_changes: changes,
      ...(team ? { p_team: team } : {}),
    });
  }

  usage = (report: {
    since?: string;
    until?: string;
    bucket: "hour" | "day" | "month" | null;
    by: ("provider" | "model" | "task" | "key_source" | "team")[];
    order?: "cost" | "requests" | "tokens";
  }) =>
    this.rpc<UsageLine[]>("get_llm_usage", {
      p_since: report.since ?? null,
      p_until: report.until ?? null,
      p_bucket: report.bucket,
      p_by: report.by,
      p_order: report.order ?? null,
      p_limit: 10_000,
    });
  receipts = (limit: number, before: string | null = null) =>
    this.rpc<Receipt[]>("list_llm_requests", { p_limit: limit, p_before: before });
  forecast = () => this.rpc<Forecast>("get_llm_forecast");
  hints = () => this.rpc<Hint[]>("list_llm_hints");
  quotas = () => this.rpc<Quota[]>("list_llm_quotas");
  setQuota = (quota: object) => this.rpc<Quota>("set_llm_quota", { p_quota: quota });
  removeQuota = (id: number) => this.rpc<null>("remove_llm_quota", { p_id: id });
  alerts = () => this.rpc<Alert[]>("list_llm_alerts", { p_unread_only: true, p_limit: 500 });
  dismissAlerts = (ids: string[]) => this.rpc<number>("dismiss_llm_alerts", { p_ids: ids });
  audit = (limit: number, before: string | null = null) =>
    this.rpc<AuditEntry[]>("get_llm_audit_log", { p_limit: limit, p_before: before });
  verifyAudit = (after: string | null) =>
    this.rpc<AuditVerification>("verify_llm_audit_log", { p_after: after });

  /** Let the runtime check the stored key or, if given, the typed one. */
  checkKey = (provider: string, key?: string) =>
    this.askAsUser<KeyCheck>("/keys/check", key === undefined ? { provider } : { provider, key });

  /** Providers that the operator has keys for; empty without a runtime. */
  async operatorProviders(): Promise<string[]> {
    if (this.runtime === null) return [];
    const { providers } = await this.ask<{ providers?: string[] }>("/operator-providers", {});
    return providers ?? [];
  }

  async askAsUser<T>(path: string, body: object): Promise<T> {
    const { data } = await this.client.auth.getSession();
    return this.ask<T>(path, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        ...(data.session ? { authorization: `Bearer ${data.session.access_token}` } : {}),
      },
      body: JSON.stringify(body),
    });
  }

  private async ask<T>(path: string, request: RequestInit): Promise<T> {
    try {
      const response = await fetch(this.runtime + path, {
        ...request,
        cache: "no-store",
        credentials: "omit",
        referrerPolicy: "no-referrer",
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
      const body = (await response.json().catch(() => null)) as
        (T & Partial<Record<"code" | "message" | "hint", string>>) | null;
      if (response.ok && body) return body;
      // A body without a code comes from a proxy, or from the app's own page at that address.
      throw new PanelError(
        body?.code ?? "unavailable",
        body?.message ?? "",
        body?.hint ?? "",
        response.status,
      );
    } catch (error) {
      throw asPanelError(error);
    }
  }

  rpc<T>(name: string, args?: object): Promise<T> {
    return this.answer<T>(() => this.client.rpc(name, args));
  }

  private async answer<T>(request: () => PromiseLike<Answer>): Promise<T> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    try {
      const late = new Promise<never>((_, reject) => {
        timer = setTimeout(() => reject(new PanelError("timeout", "")), TIMEOUT_MS);
      });
      const { data, error, status } = await Promise.race([request(), late]);
      if (error) throw fromPostgrest(error, status);
      return data as T;
    } catch (error) {
      throw asPanelError(error);
    } finally {
      clearTimeout(timer);
    }
  }
}
