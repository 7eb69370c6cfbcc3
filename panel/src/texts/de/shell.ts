import type { shell as english } from "../en/shell.js";

export const shell: Record<keyof typeof english, string> = {
  "panel.label": "LLM-Einstellungen",
  "tab.providers": "Anbieter",
  "tab.order": "Reihenfolge",
  "tab.tasks": "Aufgaben",
  "tab.usage": "Verbrauch",
  "tab.activity": "Protokoll",
  "state.loading": "Wird geladen …",
  "state.signed_out": "Melden Sie sich an, um Ihre LLM-Einstellungen zu sehen.",
  "state.not_connected":
    "Dieses Feld ist mit keinem Projekt verbunden: Es braucht einen Client oder eine URL mit öffentlichem Schlüssel.",
  "state.retry": "Noch einmal versuchen",
  "state.offline": "Sie sind offline. Was Sie ändern, bleibt hier, bis Sie wieder verbunden sind.",
  "save.changes": "{count} Änderungen nicht gespeichert",
  "save.change": "1 Änderung nicht gespeichert",
  "save.save": "Speichern",
  "save.saving": "Wird gespeichert …",
  "save.discard": "Verwerfen",
  "save.saved": "Gespeichert.",
  "save.merged":
    "Ihre Einstellungen wurden inzwischen anderswo geändert. Auch diese Änderungen stehen jetzt hier.",
  "save.conflict": "{what} wurde auch anderswo geändert. Was soll gelten?",
  "save.mine": "Meines: {value}",
  "save.theirs": "Das andere: {value}",
  "save.nothing": "wie üblich",
  "leaf.default_provider": "Der bevorzugte Anbieter",
  "leaf.enable_fallbacks": "Das Ausweichen auf andere Anbieter",
  "leaf.allow_operator_keys": "Die Nutzung der Schlüssel der App",
  "leaf.time_zone": "Die Zeitzone",
  "leaf.enabled": "Ob {provider} genutzt wird,",
  "leaf.priority": "Der Platz von {provider}",
  "leaf.model": "Das Modell von {provider}",
  "leaf.task": "Die Aufgabe „{task}“",
  "word.yes": "ja",
  "word.no": "nein",
  "word.on": "an",
  "word.off": "aus",
  "word.cancel": "Abbrechen",
  "word.close": "Schließen",
  "source.user": "Ihr Schlüssel",
  "source.team": "der Schlüssel Ihres Teams",
  "source.operator": "der Schlüssel der App",
  "error.api_key_refused":
    "Diese App ist nicht mit ihrem Projekt verbunden: Ihr API-Schlüssel wurde abgelehnt.",
  "error.database_error": "Das Projekt hat unerwartet geantwortet.",
  "error.configuration":
    "Der Server der App ist falsch eingerichtet. Die Betreiber müssen sich darum kümmern.",
  "error.database_unavailable":
    "Der Server der App erreicht das Projekt gerade nicht. Versuchen Sie es gleich noch einmal.",
  "error.invalid_argument": "Dieser Wert ist nicht erlaubt.",
  "error.invalid_price": "Dieser Preis ist nicht erlaubt.",
  "error.invalid_price_list": "Diese Preisliste kann nicht übernommen werden.",
  "error.invalid_provider": "So kann dieser Anbieter nicht eingerichtet werden.",
  "error.invalid_quota": "Diese Grenze ist nicht erlaubt.",
  "error.invalid_setting": "Einer der Werte ist nicht erlaubt.",
  "error.key_malformed":
    "Das sieht nicht nach einem Schlüssel dieses Anbieters aus. Kopieren Sie ihn ganz und ohne Leerzeichen.",
  "error.key_not_found": "Für diesen Anbieter ist kein Schlüssel mehr gespeichert.",
  "error.key_unreadable": "Der gespeicherte Schlüssel ist nicht lesbar. Speichern Sie ihn noch einmal.",
  "error.keys_cooling_down": "Alle Anbieter, die das könnten, haben um eine Pause gebeten.",
  "error.master_key_missing":
    "Gespeicherte Schlüssel sind gerade nicht lesbar. Die Betreiber dieser App müssen sich darum kümmern.",
  "error.migrations_missing":
    "Dem Projekt fehlt ein Teil von supa-llm. Die Betreiber müssen es aktualisieren.",
  "error.model_unpriced": "Für dieses Modell ist kein Preis bekannt, und es gilt eine Kostengrenze.",
  "error.no_usable_key": "Mit Ihren Schlüsseln kann das kein Anbieter ausführen.",
  "error.not_found": "Das gibt es nicht mehr.",
  "error.not_signed_in":
    "Ihre Sitzung ist beendet. Melden Sie sich wieder an; Ihre Änderungen sind noch hier.",
  "error.offline": "Das Projekt ist nicht erreichbar. Prüfen Sie Ihre Verbindung.",
  "error.price_not_found": "Diesen Preis gibt es nicht mehr.",
  "error.quota_exceeded": "Eine Grenze ist erreicht.",
  "error.recent_sign_in_required":
    "Um einen Schlüssel zu sehen, müssen Sie sich kürzlich angemeldet haben. Melden Sie sich ab und wieder an.",
  "error.reveal_disabled":
    "In dieser App werden gespeicherte Schlüssel nicht gezeigt. Sehen Sie beim Anbieter nach.",
  "error.runtime_required": "In dieser App erhält nur ihr eigener Server die Schlüssel.",
  "error.runtime_unknown":
    "Der Server der App ist dem Projekt nicht bekannt. Die Betreiber müssen sich darum kümmern.",
  "error.settings_changed": "Ihre Einstellungen wurden inzwischen anderswo geändert.",
  "error.timeout": "Das Projekt braucht zu lange für eine Antwort.",
  "error.too_many_key_tests":
    "Sie haben in kurzer Zeit viele Schlüssel geprüft. Warten Sie ein paar Minuten.",
  "error.unavailable": "Das Projekt kann gerade nicht antworten.",
  "error.unexpected": "Etwas ist schiefgegangen.",
  "error.unexpected_answer":
    "Projekt und Server der App haben verschiedene Versionen. Die Betreiber müssen eines aktualisieren.",
  "error.unknown_model": "Es ist nicht bekannt, welcher Anbieter dieses Modell hat.",
  "error.unknown_provider": "Dieser Anbieter wird nicht mehr angeboten.",
  "error.unknown_setting": "Diese Einstellung gibt es nicht mehr. Laden Sie die Seite neu.",
};
