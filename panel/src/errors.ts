/** Errors with a stable code; docs/errors.md lists those of the database. */

export class PanelError extends Error {
  constructor(
    readonly code: string,
    message: string,
    readonly hint = "",
    readonly status = 0,
  ) {
    super(message);
    this.name = "PanelError";
  }

  /** Whether a retry may succeed soon. */
  get transient(): boolean {
    return this.code === "offline" || this.code === "timeout" || this.code === "unavailable";
  }
}

interface ErrorBody {
  code?: unknown;
  details?: unknown;
  message?: unknown;
  hint?: unknown;
}

/** An error from PostgREST, in supabase-js's form. Errors of supa-llm have a code in `details`. */
export function fromPostgrest(body: ErrorBody, status: number): PanelError {
  const text = (value: unknown) => (typeof value === "string" ? value : "");
  const message = text(body.message);
  if (status === 0) return new PanelError("offline", message);
  if (/^[a-z][a-z_]+$/.test(text(body.details)))
    return new PanelError(text(body.details), message, text(body.hint), status);
  if (status === 401) return new PanelError("not_signed_in", message, "", status);
  if (body.code === "PGRST202" || body.code === "PGRST205")
    return new PanelError("migrations_missing", message, "", status);
  if (status >= 500) return new PanelError("unavailable", message, "", status);
  return new PanelError("database_error", message, text(body.hint), status);
}

/** Any thrown value as a PanelError. */
export function asPanelError(error: unknown): PanelError {
  if (error instanceof PanelError) return error;
  if (error instanceof DOMException && error.name === "TimeoutError") return new PanelError("timeout", "");
  if (error instanceof TypeError) return new PanelError("offline", "");
  return new PanelError("unexpected", error instanceof Error ? error.message : "");
}
