/** Texts by name, with placeholders in braces. */

import { core } from "./core.js";
import type { en } from "./en.js";

export type TextName = keyof typeof en;
export type Texts = Record<TextName, string>;
/** Names of texts with a count: NAME.one and NAME.other. */
export type CountName = { [N in TextName]: N extends `${infer Name}.other` ? Name : never }[TextName];

/** The English texts that are there: a tab that loads later adds its own. */
const english: Partial<Texts> = { ...core };

export function addEnglish(texts: Partial<Texts>): void {
  Object.assign(english, texts);
}

/** Looks up a text: the page's own, then the language's, then English. */
export class Translator {
  constructor(
    readonly lang: string,
    private readonly language: Partial<Texts> = english,
    private readonly own: Partial<Texts> = {},
  ) {}

  /** A text with its values filled in. */
  text = (name: TextName, values: Record<string, string | number> = {}): string => {
    const template = this.own[name] ?? this.language[name] ?? english[name] ?? name;
    return template.replace(/\{(\w+)\}/g, (whole, key: string) => String(values[key] ?? whole));
  };

  /** A text with a count, in the singular or plural of the language. */
  count = (name: CountName, count: number, values: Record<string, string | number> = {}): string => {
    const form = new Intl.PluralRules(this.lang).select(count) === "one" ? "one" : "other";
    return this.text(`${name}.${form}`, { count: new Intl.NumberFormat(this.lang).format(count), ...values });
  };

  /** The text of a name built at run time, or the fallback. */
  find(name: string, fallback: string, values: Record<string, string | number> = {}): string {
    return name in english || name in this.language ? this.text(name as TextName, values) : fallback;
  }
}

/** The texts of a language tag; English if it is not translated. */
export async function languageOf(tag: string): Promise<Partial<Texts>> {
  return tag.toLowerCase().split("-")[0] === "de" ? (await import("./de.js")).de : english;
}
