/** Whose key paid, in words. */

import type { Store } from "../store.js";
import type { KeySource } from "../types.js";

export function payerInWords(
  { t, teamName }: Pick<Store, "t" | "teamName">,
  line: { key_source: KeySource; team_id?: string | null; team?: string | null },
): string {
  const team = line.team ?? (line.team_id ? teamName(line.team_id) : null);
  return team ? t("source.of_team", { team }) : t(`source.${line.key_source}`);
}
