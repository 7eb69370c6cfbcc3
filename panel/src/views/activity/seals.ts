/** Whether the audit log is as it was sealed. */

import type { Backend } from "../../backend.js";
import type { Store } from "../../store.js";
import type { AuditVerification } from "../../types.js";

/** Verify the whole log. A problem ends it, because the first one is shown. */
export async function verifyLog(
  backend: Pick<Backend, "verifyAudit">,
  after: string | null = null,
): Promise<AuditVerification> {
  const page = await backend.verifyAudit(after);
  if (!page.next || page.first_problem) return page;
  const rest = await verifyLog(backend, page.next);
  return { ...rest, verified: page.verified + rest.verified };
}

/** The result in words; null if nothing is sealed yet. */
export function sealWords(
  { t, translator, formats }: Pick<Store, "t" | "translator" | "formats">,
  { verified, sealed_until, first_problem }: AuditVerification,
): string | null {
  if (first_problem) {
    const { kind, entry, at } = first_problem;
    return t(`activity.problem.${entry ? (kind as "changed") : "seal"}`, { at: formats.time(at) });
  }
  return (
    sealed_until && translator.count("activity.verified", verified, { until: formats.time(sealed_until) })
  );
}
