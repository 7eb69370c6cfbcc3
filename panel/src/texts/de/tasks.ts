import type { tasks as english } from "../en/tasks.js";

export const tasks: Record<keyof typeof english, string> = {
  "tasks.title": "Aufgaben",
  "tasks.about":
    "Eine App sagt, wofür eine Anfrage ist: ihre Aufgabe. Hier wählen Sie, wer welche bedient. Eine Aufgabe ohne Wahl läuft in der üblichen Reihenfolge.",
  "tasks.name": "Weitere Aufgabe",
  "tasks.add": "Aufgabe hinzufügen",
  "tasks.added": "Die Aufgabe {task} ist hinzugefügt. Wählen Sie, wer sie bedient.",
  "tasks.removed": "Die Aufgabe {task} läuft wieder wie üblich.",
  "tasks.name_invalid": "Der Name einer Aufgabe hat 1 bis 64 druckbare Zeichen.",
  "tasks.name_taken": "Für diese Aufgabe haben Sie schon gewählt; sie steht in der Liste.",
  "tasks.default": "wie üblich",
  "tasks.override": "Anbieter wählen",
  "tasks.remove": "Wieder wie üblich",
  "tasks.provider": "Anbieter",
  "tasks.model_of": "Modell der Aufgabe {task}",
  "tasks.own_fallbacks": "Eigener Ersatz",
  "tasks.default_fallbacks": "Versagt dieser Anbieter, folgen Ihre anderen in der üblichen Reihenfolge.",
  "tasks.no_fallbacks": "Keiner: versagt dieser Anbieter, scheitert die Anfrage.",
  "tasks.fallbacks_of": "Ersatz der Aufgabe {task}",
  "tasks.fallback": "Ersatz {place}",
  "tasks.fallback_add": "Ersatz hinzufügen",
  "tasks.fallback_model": "Modell von Ersatz {place}, {provider}",
  "tasks.fallback_up": "Ersatz {place}, {provider}, nach oben",
  "tasks.fallback_down": "Ersatz {place}, {provider}, nach unten",
  "tasks.fallback_remove": "Ersatz {place}, {provider}, entfernen",
};
