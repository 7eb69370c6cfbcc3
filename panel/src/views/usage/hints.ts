/** Tips as text in the user's language. */

import type { Store } from "../../store.js";
import type { Hint } from "../../types.js";
import { taskLabel } from "../tasks/names.js";

/** A kind without a text here, of a newer database, has the database's own message. */
export function hintInWords(
  store: Pick<Store, "t" | "formats" | "translator" | "providerName" | "appTasks">,
  hint: Hint,
): string {
  const { formats } = store;
  const fact = (name: string) => String(hint[name] ?? "");
  return store.translator.find(`usage.hint.${hint.kind}`, hint.message, {
    task: hint["task"] ? taskLabel(store, fact("task")) : store.t("usage.hint.no_task"),
    provider: store.providerName(fact("provider")),
    model: fact("model"),
    other_model: fact("other_model"),
    less: formats.percent(1 - Number(hint["ratio"])),
    lost: formats.money(Number(hint["lost"])),
    failures: formats.number(Number(hint["failures"])),
    attempts: formats.number(Number(hint["attempts"])),
  });
}
