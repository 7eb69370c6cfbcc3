/** Costs in words. */

import type { Store } from "../store.js";

/** A cost that never looks free where it is not known. */
export function costInWords(
  { t, formats }: Pick<Store, "t" | "formats">,
  line: { cost: number | null; unpriced: number; unmeasured: number },
): string {
  if (line.cost === null) return t(line.unpriced || !line.unmeasured ? "usage.unpriced" : "usage.unmeasured");
  return `${line.unpriced || line.unmeasured ? "≥ " : ""}${formats.money(line.cost)}`;
}
