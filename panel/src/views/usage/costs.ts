/** Costs as text. */

import type { Store } from "../../store.js";

/** A cost; an unknown one never looks free. */
export function costInWords(
  { t, formats }: Pick<Store, "t" | "formats">,
  line: { cost: number | null; unpriced: number; unreported: number },
): string {
  if (line.cost === null) return t(line.unpriced || !line.unreported ? "usage.unpriced" : "usage.unreported");
  return `${line.unpriced || line.unreported ? "≥ " : ""}${formats.money(line.cost)}`;
}
