import { expect, test } from "vitest";
import { Formats } from "../src/formats.js";
import { de } from "../src/texts/de.js";
import { en } from "../src/texts/en.js";
import { Translator } from "../src/texts/index.js";
import type { Hint } from "../src/types.js";
import { hintInWords } from "../src/views/usage/hints.js";

const cheaper: Hint = {
  kind: "cheaper_model",
  message: "from the database",
  task: "speed",
  provider: "openai",
  model: "gpt-5",
  other_model: "gpt-5-nano",
  cost_30d: 2.5,
  would_have_cost: 0.5,
  ratio: 0.2,
};

function inWords(lang: "en" | "de", hint: Hint): string {
  const translator = lang === "de" ? new Translator("de", de) : new Translator("en", en);
  const formats = new Formats(lang, "UTC");
  const providerName = (id: string) => `<${id}>`;
  // Intl separates numbers and signs with spaces that do not break.
  return hintInWords({ translator, t: translator.text, formats, providerName, appTasks: null }, hint).replace(
    /\u00a0/g,
    " ",
  );
}

test("a cheaper model is named with how much less it would have cost", () => {
  expect(inWords("en", cheaper)).toBe(
    "Quick answers: for the same tokens, gpt-5-nano would have cost about 80% less than gpt-5 in the last 30 days.",
  );
  expect(inWords("de", { ...cheaper, task: null })).toBe(
    "Anfragen ohne Aufgabe: Für dieselben Tokens hätte gpt-5-nano in den letzten 30 Tagen etwa 80 % weniger gekostet als gpt-5.",
  );
});

test("losses and failures have figures", () => {
  const loss: Hint = { kind: "cache_loss", message: "", provider: "anthropic", model: "opus", lost: 1.5 };
  expect(inWords("en", loss)).toContain("the cache of <anthropic> opus cost $1.50 more");
  const failing: Hint = {
    kind: "failing",
    message: "",
    provider: "groq",
    model: "x",
    attempts: 1200,
    failures: 300,
  };
  expect(inWords("de", failing)).toContain("300 von 1.200 Versuchen");
});

test("an unknown kind of hint has the database's message", () => {
  expect(inWords("de", { ...cheaper, kind: "newer" })).toBe("from the database");
});
