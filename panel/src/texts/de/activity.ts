import type { activity as english } from "../en/activity.js";

export const activity: Record<keyof typeof english, string> = {
  "activity.none":
    "Noch ist nichts geschehen. Änderungen an Schlüsseln und Einstellungen, und wer einen Schlüssel erhielt, stehen hier.",
  "activity.more": "Mehr laden",
  "activity.when": "Wann",
  "activity.what": "Was",
  "activity.who": "Wer",
  "activity.actor.user": "Sie",
  "activity.actor.runtime": "der Server der App",
  "activity.action.settings_changed": "Einstellungen geändert",
  "activity.action.key_set": "Schlüssel {hint} von {provider} gespeichert",
  "activity.action.key_revoked": "Schlüssel {hint} von {provider} entfernt",
  "activity.action.key_revealed": "Schlüssel {hint} von {provider} gezeigt",
  "activity.action.key_checked": "Ein Schlüssel von {provider} geprüft",
  "activity.action.price_set": "Preis eines Modells von {provider} gesetzt",
  "activity.action.price_ended": "Preis eines Modells von {provider} beendet",
  "activity.action.quota_set": "Eine Grenze gesetzt",
  "activity.action.quota_removed": "Eine Grenze entfernt",
  "activity.action.lease": "Schlüssel {hint} von {provider} für Anfragen verliehen, bis {until}",
};
