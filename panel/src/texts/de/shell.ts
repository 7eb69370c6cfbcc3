import type { shell as english } from "../en/shell.js";

export const shell: Record<keyof typeof english, string> = {
  "panel.label": "LLM-Einstellungen",
  "tab.providers": "Anbieter",
  "tab.order": "Reihenfolge",
  "tab.tasks": "Aufgaben",
  "tab.usage": "Nutzung",
  "tab.activity": "Protokoll",
  "state.loading": "Wird geladen …",
  "state.signed_out": "Melden Sie sich an, um Ihre LLM-Einstellungen zu sehen.",
  "state.not_connected":
    "Dieses Panel ist mit keinem Projekt verbunden. Geben Sie einen Client oder eine URL mit öffentlichem Schlüssel an.",
  "state.retry": "Erneut versuchen",
  "state.offline": "Sie sind offline. Ihre Änderungen bleiben hier, bis Sie wieder verbunden sind.",
  "save.changes.one": "1 ungespeicherte Änderung",
  "save.changes.other": "{count} ungespeicherte Änderungen",
  "save.save": "Speichern",
  "save.saving": "Wird gespeichert …",
  "save.discard": "Verwerfen",
  "save.saved": "Gespeichert.",
  "save.merged":
    "Ihre Einstellungen wurden an anderer Stelle geändert. Diese Änderungen sind jetzt auch hier zu sehen.",
  "save.conflict": "{what} wurde auch an anderer Stelle geändert. Welche Version möchten Sie behalten?",
  "save.mine": "Meine: {value}",
  "save.theirs": "Andere: {value}",
  "save.default": "Standard",
  "leaf.default_provider": "Der Standardanbieter",
  "leaf.enable_fallbacks": "Das Ausweichen auf andere Anbieter",
  "leaf.allow_operator_keys": "Die Nutzung der Schlüssel der App",
  "leaf.time_zone": "Die Zeitzone",
  "leaf.enabled": "Die Nutzung von {provider}",
  "leaf.order": "Die Reihenfolge der Anbieter",
  "leaf.model": "Das Modell von {provider}",
  "leaf.task": "Die Aufgabe „{task}“",
  "word.on": "an",
  "word.off": "aus",
  "word.cancel": "Abbrechen",
  "source.user": "Ihr Schlüssel",
  "source.team": "Schlüssel Ihres Teams",
  "source.operator": "Schlüssel der App",
  "error.api_key_refused":
    "Das Projekt hat den API-Schlüssel der App abgelehnt. Bitte wenden Sie sich an den Support der App.",
  "error.database_error": "Unerwartete Antwort des Projekts. Bitte wenden Sie sich an den Support der App.",
  "error.configuration":
    "Der Server der App ist falsch konfiguriert. Bitte wenden Sie sich an den Support der App.",
  "error.database_unavailable":
    "Der Server der App erreicht das Projekt nicht. Versuchen Sie es gleich noch einmal.",
  "error.invalid_argument": "Dieser Wert ist ungültig.",
  "error.invalid_price": "Dieser Preis ist ungültig.",
  "error.invalid_price_list": "Diese Preisliste ist ungültig.",
  "error.invalid_provider": "Die Konfiguration dieses Anbieters ist ungültig.",
  "error.invalid_quota": "Dieses Limit ist ungültig.",
  "error.invalid_setting": "Einer der Werte ist ungültig.",
  "error.key_malformed":
    "Das sieht nicht nach einem Schlüssel dieses Anbieters aus. Kopieren Sie ihn vollständig und ohne Leerzeichen.",
  "error.key_not_found": "Der Schlüssel dieses Anbieters ist nicht mehr vorhanden.",
  "error.key_unreadable": "Der gespeicherte Schlüssel ist nicht lesbar. Speichern Sie ihn noch einmal.",
  "error.keys_rate_limited":
    "Bei allen infrage kommenden Anbietern ist das Anfragelimit erreicht. Versuchen Sie es später noch einmal.",
  "error.master_key_missing":
    "Gespeicherte Schlüssel sind derzeit nicht lesbar. Bitte wenden Sie sich an den Support der App.",
  "error.migrations_missing":
    "Dem Projekt fehlt ein Update von supa-llm. Bitte wenden Sie sich an den Support der App.",
  "error.model_unpriced": "Dieses Modell hat keinen Preis, und es gilt ein Ausgabenlimit.",
  "error.no_usable_key": "Mit Ihren Schlüsseln kann kein Anbieter diese Anfrage bearbeiten.",
  "error.not_found": "Dieser Eintrag ist nicht mehr vorhanden.",
  "error.not_signed_in": "Ihre Sitzung ist abgelaufen. Melden Sie sich erneut an.",
  "error.offline": "Das Projekt ist nicht erreichbar. Prüfen Sie Ihre Verbindung.",
  "error.plain_call_required":
    "Das Projekt hat diesen Aufruf abgelehnt. Bitte wenden Sie sich an den Support der App.",
  "error.price_not_found": "Dieser Preis ist nicht mehr vorhanden.",
  "error.quota_exceeded": "Sie haben ein Nutzungslimit erreicht.",
  "error.setup_failed": "Die Verbindung zum Projekt ist fehlgeschlagen. Prüfen Sie die URL.",
  "error.recent_sign_in_required":
    "Um einen Schlüssel anzuzeigen, müssen Sie sich vor Kurzem angemeldet haben. Melden Sie sich ab und wieder an.",
  "error.reveal_disabled": "Diese App zeigt gespeicherte Schlüssel nicht an. Sehen Sie beim Anbieter nach.",
  "error.runtime_required": "Diese App gibt Schlüssel nur an ihren eigenen Server weiter.",
  "error.runtime_unknown":
    "Der Server der App ist beim Projekt nicht registriert. Bitte wenden Sie sich an den Support der App.",
  "error.settings_changed": "Ihre Einstellungen wurden an anderer Stelle geändert.",
  "error.timeout": "Das Projekt hat nicht rechtzeitig geantwortet. Versuchen Sie es gleich noch einmal.",
  "error.too_many_key_checks":
    "Sie haben zu viele Schlüssel geprüft. Versuchen Sie es in ein paar Minuten noch einmal.",
  "error.unavailable": "Das Projekt ist nicht verfügbar. Versuchen Sie es gleich noch einmal.",
  "error.unexpected": "Etwas ist schiefgegangen. Versuchen Sie es noch einmal.",
  "error.unexpected_answer":
    "Die Versionen von Projekt und Server der App passen nicht zusammen. Bitte wenden Sie sich an den Support der App.",
  "error.unknown_model": "Für dieses Modell ist kein Anbieter bekannt.",
  "error.unknown_provider": "Die App bietet diesen Anbieter nicht mehr an.",
  "error.unknown_setting": "Diese Einstellung gibt es nicht mehr. Laden Sie die Seite neu.",
};
