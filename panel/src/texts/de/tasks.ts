import type { tasks as english } from "../en/tasks.js";

export const tasks: Record<keyof typeof english, string> = {
  "tasks.title": "Aufgaben",
  "tasks.about":
    "Die App ordnet jeder Anfrage eine Aufgabe zu. Wählen Sie hier einen Anbieter für eine Aufgabe; für alle anderen gilt die Reihenfolge der Anbieter.",
  "tasks.name": "Neue Aufgabe",
  "tasks.add": "Aufgabe hinzufügen",
  "tasks.added": "Aufgabe {task} hinzugefügt. Wählen Sie ihren Anbieter.",
  "tasks.removed": "Aufgabe {task} auf Standard zurückgesetzt.",
  "tasks.name_invalid": "Geben Sie 1 bis 64 druckbare Zeichen ein.",
  "tasks.name_taken":
    "Für diese Aufgabe haben Sie bereits einen Anbieter gewählt. Ändern Sie ihn in der Liste.",
  "tasks.default": "Standard",
  "tasks.override": "Anbieter wählen",
  "tasks.remove": "Auf Standard zurücksetzen",
  "tasks.provider": "Anbieter",
  "tasks.model_of": "Modell für {task}",
  "tasks.own_fallbacks": "Eigene Ersatzanbieter",
  "tasks.default_fallbacks": "Fällt dieser Anbieter aus, folgen Ihre anderen der Reihe nach.",
  "tasks.no_fallbacks": "Keine Ersatzanbieter: Fällt dieser Anbieter aus, schlägt die Anfrage fehl.",
  "tasks.fallbacks_of": "Ersatzanbieter für {task}",
  "tasks.fallback": "Ersatzanbieter {place}",
  "tasks.fallback_add": "Ersatzanbieter hinzufügen",
  "tasks.fallback_model": "Modell für Ersatzanbieter {place}, {provider}",
  "tasks.fallback_up": "Ersatzanbieter {place}, {provider}, nach oben verschieben",
  "tasks.fallback_down": "Ersatzanbieter {place}, {provider}, nach unten verschieben",
  "tasks.fallback_remove": "Ersatzanbieter {place}, {provider}, entfernen",
};
