/** The state of a provider and its key, as a pill. */

import type { TemplateResult } from "lit";
import type { Store } from "../../store.js";
import type { TextName } from "../../texts/index.js";
import type { Key, Provider } from "../../types.js";
import { pill, type IconName } from "../icons.js";

const LOOKS: Record<Key["status"], ["good" | "warn" | "bad" | "muted", IconName]> = {
  working: ["good", "check"],
  untested: ["muted", "question"],
  rejected: ["bad", "cross"],
  rate_limited: ["warn", "clock"],
  out_of_credit: ["bad", "coins"],
  unreadable: ["bad", "cross"],
};

/** The state of the user's key or, if `ofTeam`, of a team's. */
export function keyState(
  store: Store,
  provider: Provider,
  key: Key | undefined,
  ofTeam = false,
): TemplateResult {
  const { t, formats } = store;
  if (!provider.enabled) return pill("warn", "dash", t("providers.state.off"), "key-state");
  if (!key) {
    const source = ofTeam ? undefined : store.payers?.get(provider.id);
    if (source === "team") return pill("muted", "check", t("providers.state.team"), "key-state");
    return source === "operator"
      ? pill("muted", "check", t("providers.state.app"), "key-state")
      : pill("muted", "dash", t("providers.state.none"), "key-state");
  }
  const [look, icon] = LOOKS[key.status] ?? LOOKS.untested;
  const time = key.rests_until ? formats.time(key.rests_until) : "";
  const models = key.rate_limited_models.join(", ");
  const state = key.status === "rate_limited" && models ? "models_rate_limited" : key.status;
  return pill(look, icon, t(`providers.state.${state}` as TextName, { time, models }), "key-state");
}
