/** Entries of the audit log in words. */

import type { Store } from "../../store.js";
import type { AuditEntry } from "../../types.js";

export const KINDS = ["keys", "settings", "limits", "teams", "access"] as const;

export function kindOf({ action }: Pick<AuditEntry, "action">): (typeof KINDS)[number] {
  if (action === "lease") return "access";
  if (action.startsWith("key_")) return "keys";
  if (action.startsWith("team_") && action !== "team_changed") return "teams";
  return action.startsWith("price_") || action.startsWith("quota_") ? "limits" : "settings";
}

/** Whether a newer entry has the result of this key check. */
export function isSuperseded({ action, detail }: AuditEntry, entries: readonly AuditEntry[]): boolean {
  return (
    action === "key_checked" &&
    entries.some((other) => other.action === "key_check_result" && other.detail["check"] === detail["check"])
  );
}

/** An entry in words. `userName` names a user of a team's log. */
export function wordsFor(
  store: Pick<Store, "translator" | "formats" | "providerName" | "teamName" | "t">,
  { action, provider, detail }: AuditEntry,
  userName: (id: string) => string = (id) => id,
): string {
  const { translator, formats } = store;
  const text = (name: string) => (typeof detail[name] === "string" ? detail[name] : "");
  const name = nameOf(action, detail);
  const role = text("role") || text("new");
  const words = translator.find(`activity.action.${name}`, action, {
    provider: provider ? store.providerName(provider) : "",
    hint: text("hint"),
    until: text("until") && formats.time(text("until")),
    what: changedSettings(store, detail["changes"]),
    team: text("name") || (text("team_id") && (store.teamName(text("team_id")) ?? "")),
    user: text("user_id") && userName(text("user_id")),
    role: translator.find(`activity.role.${role}`, role),
    email: text("email"),
  });
  // A key that was checked before it was saved has no hint.
  return words.replace(/ {2,}/g, " ");
}

/** The name of the text of an action. */
function nameOf(action: string, detail: AuditEntry["detail"]): string {
  if (action === "key_check_result") return `${action}.${String(detail["result"])}`;
  if (action === "team_invitation_created" && detail["email"]) return `${action}.email`;
  // Who leaves or joins does it themselves.
  if (action === "team_member_removed" && detail["user_id"] === detail["by"]) return "team_left";
  return action;
}

/** The names of the settings that a change names. */
function changedSettings({ translator }: Pick<Store, "translator">, changes: unknown): string {
  const names = Object.keys((changes as object | null) ?? {});
  const words = names.map((name) => translator.find(`activity.setting.${name}`, name));
  return new Intl.ListFormat(translator.lang, { type: "conjunction" }).format(words);
}
