/** What happened, in words. */

import type { Store } from "../../store.js";
import type { Alert } from "../../types.js";

export function alertInWords(
  store: Pick<Store, "translator" | "providerName">,
  { kind, detail }: Alert,
): string {
  const { translator } = store;
  const text = (field: string): string => String(detail[field] ?? "");
  const facts = {
    provider: store.providerName(text("provider")),
    hint: text("hint"),
    model: text("model"),
    name: text("name"),
    team: text("team"),
  };
  const about = translator.find(`usage.alert.${kind}`, kind, facts);
  // A quota of a team is for each member unless it is shared.
  const of = detail["shared"] === false ? "member" : "team";
  return facts.team ? translator.find(`usage.alert.${kind}.${of}`, about, facts) : about;
}
