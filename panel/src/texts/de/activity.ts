import type { activity as english } from "../en/activity.js";

export const activity: Record<keyof typeof english, string> = {
  "activity.none":
    "Hier erscheinen Änderungen an Ihren Schlüsseln und Einstellungen sowie jede Verwendung eines Schlüssels durch die App.",
  "activity.none.title": "Noch keine Aktivitäten",
  "activity.about":
    "Änderungen an Ihren Schlüsseln und Einstellungen sowie jeder Zugriff auf einen Schlüssel.",
  "activity.when": "Zeit",
  "activity.what": "Ereignis",
  "activity.who": "Durch",
  "activity.actor.user": "Sie",
  "activity.actor.runtime": "Server der App",
  "activity.kind.keys": "Schlüssel",
  "activity.kind.settings": "Einstellungen",
  "activity.kind.limits": "Limits und Preise",
  "activity.kind.access": "Zugriff durch die App",
  "activity.setting.default_provider": "Standardanbieter",
  "activity.setting.enable_fallbacks": "Ausweichen",
  "activity.setting.allow_operator_keys": "Schlüssel der App",
  "activity.setting.time_zone": "Zeitzone",
  "activity.setting.provider_preferences": "Reihenfolge der Anbieter",
  "activity.setting.task_overrides": "Aufgaben",
  "activity.action.settings_changed": "Einstellungen geändert: {what}",
  "activity.action.key_set": "{provider}-Schlüssel {hint} gespeichert",
  "activity.action.key_revoked": "{provider}-Schlüssel {hint} entfernt",
  "activity.action.key_revealed": "{provider}-Schlüssel {hint} angezeigt",
  "activity.action.key_checked": "{provider}-Schlüssel {hint} geprüft: kein Ergebnis erfasst",
  "activity.action.key_check_result.works": "{provider}-Schlüssel {hint} geprüft: funktioniert",
  "activity.action.key_check_result.rejected": "{provider}-Schlüssel {hint} geprüft: abgelehnt",
  "activity.action.key_check_result.unknown":
    "{provider}-Schlüssel {hint} geprüft: keine klare Antwort des Anbieters",
  "activity.action.price_set": "Preis für ein Modell von {provider} festgelegt",
  "activity.action.price_ended": "Preis für ein Modell von {provider} beendet",
  "activity.action.quota_set": "Nutzungslimit festgelegt",
  "activity.action.quota_removed": "Nutzungslimit entfernt",
  "activity.action.lease": "{provider}-Schlüssel {hint} bis {until} für Anfragen der App verfügbar",
};
