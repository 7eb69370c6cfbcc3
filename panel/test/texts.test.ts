import { expect, test } from "vitest";
import page from "../../docs/errors.md?raw";
import { de } from "../src/texts/de.js";
import { en } from "../src/texts/en.js";
import { core } from "../src/texts/core.js";
import { addEnglish, languageOf, Translator, type TextName } from "../src/texts/index.js";

const placeholders = (text: string) => [...text.matchAll(/\{(\w+)\}/g)].map((match) => match[1]).sort();

test("every error code of the database has a text", () => {
  const section = page.split("## Database errors")[1]!.split("\n## ")[0]!;
  const codes = [...section.matchAll(/^\| `(\w+)` \|/gm)].map((match) => match[1]!);
  expect(codes.length).toBeGreaterThan(20);
  expect(codes.filter((code) => !(`error.${code}` in en))).toEqual([]);
});

test("each language has each text, with the same placeholders", () => {
  expect(Object.keys(de).sort()).toEqual(Object.keys(en).sort());
  for (const name of Object.keys(en) as TextName[])
    expect([name, placeholders(de[name])]).toEqual([name, placeholders(en[name])]);
});

test("the page's own texts come first, then the language's", () => {
  const translator = new Translator("de", de, { "tab.providers": "Modelle" });
  expect(translator.text("tab.providers")).toBe("Modelle");
  expect(translator.text("tab.usage")).toBe(de["tab.usage"]);
});

test("values are filled in literally, and a placeholder without a value stays", () => {
  const { text } = new Translator("en");
  expect(text("leaf.task", { task: "$& {count}" })).toBe("The task “$& {count}”");
  expect(text("save.changes.other")).toBe("{count} unsaved changes");
});

test("counts have a singular, and the language's digits", () => {
  expect(new Translator("en").count("save.changes", 1)).toBe("1 unsaved change");
  expect(new Translator("de", de).count("save.changes", 1)).toBe("1 ungespeicherte Änderung");
  expect(new Translator("de", de).count("save.changes", 1200)).toBe("1.200 ungespeicherte Änderungen");
});

test("a name built at run time falls back if there is no text", () => {
  expect(new Translator("en").find("error.never_heard_of", "as said")).toBe("as said");
});

test("a language is found by its tag", async () => {
  expect(await languageOf("de-AT")).toBe(de);
  expect(await languageOf("fr")).toEqual(core);
});

test("a tab that loads later adds its English texts", () => {
  const translator = new Translator("en");
  expect(translator.text("team.members")).toBe("team.members");
  addEnglish({ "team.members": en["team.members"] });
  expect(translator.text("team.members")).toBe("Members");
  expect(translator.find("team.members", "")).toBe("Members");
});
