/** Entries of the audit log in words. */

import type { Store } from "../../store.js";
import type { AuditEntry } from "../../types.js";

export const KINDS = ["keys", "settings", "limits", "access"] as const;

export function kindOf({ action }: Pick<AuditEntry, "action">): (typeof KINDS)[number] {
  if (action === "lease") return "access";
  if (action.startsWith("key_")) return "keys";
  return action.startsWith("price_") || action.startsWith("quota_") ? "limits" : "settings";
}

/** Whether a newer entry has the result of this key check. */
export function isSuperseded({ action, detail }: AuditEntry, entries: readonly AuditEntry[]): boolean {
  return (
    action === "key_checked" &&
    entries.some((other) => other.action === "key_check_result" && other.detail["check"] === detail["check"])
  );
}

export function wordsFor(
  store: Pick<Store, "translator" | "formats" | "providerName" | "t">,
  { action, provider, detail }: AuditEntry,
): string {
  const { translator, formats } = store;
  const text = (name: string) => (typeof detail[name] === "string" ? detail[name] : "");
  const name = action === "key_check_result" ? `${action}.${text("result")}` : action;
  const words = translator.find(`activity.action.${name}`, action, {
    provider: provider ? store.providerName(provider) : "",
    hint: text("hint"),
    until: text("until") && formats.time(text("until")),
    what: changedSettings(store, detail["changes"]),
  });
  // A key that was checked before it was saved has no hint.
  return words.replace(/ {2,}/g, " ");
}

/** The names of the settings that a change names. */
function changedSettings({ translator }: Pick<Store, "translator">, changes: unknown): string {
  const names = Object.keys((changes as object | null) ?? {});
  const words = names.map((name) => translator.find(`activity.setting.${name}`, name));
  return new Intl.ListFormat(translator.lang, { type: "conjunction" }).format(words);
}
