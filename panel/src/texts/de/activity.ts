import type { activity as english } from "../en/activity.js";

export const activity: Record<keyof typeof english, string> = {
  "activity.none":
    "Noch keine Aktivitäten. Hier erscheinen Änderungen an Ihren Schlüsseln und Einstellungen sowie jeder Zugriff auf einen Schlüssel.",
  "activity.more": "Mehr laden",
  "activity.when": "Zeit",
  "activity.what": "Ereignis",
  "activity.who": "Durch",
  "activity.actor.user": "Sie",
  "activity.actor.runtime": "Server der App",
  "activity.action.settings_changed": "Einstellungen geändert",
  "activity.action.key_set": "{provider}-Schlüssel {hint} gespeichert",
  "activity.action.key_revoked": "{provider}-Schlüssel {hint} entfernt",
  "activity.action.key_revealed": "{provider}-Schlüssel {hint} angezeigt",
  "activity.action.key_checked": "{provider}-Schlüssel geprüft",
  "activity.action.price_set": "Preis für ein Modell von {provider} festgelegt",
  "activity.action.price_ended": "Preis für ein Modell von {provider} beendet",
  "activity.action.quota_set": "Nutzungslimit festgelegt",
  "activity.action.quota_removed": "Nutzungslimit entfernt",
  "activity.action.lease": "{provider}-Schlüssel {hint} bis {until} für Anfragen freigegeben",
};
