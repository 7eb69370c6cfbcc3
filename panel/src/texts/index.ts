/** Texts by name. What stands in braces is put in when it is shown. */

import { en } from "./en.js";

export type TextName = keyof typeof en;
export type Texts = Record<TextName, string>;

/** Looks texts up: the host's own, then the language's, then English. */
export class Translator {
  constructor(
    readonly lang: string,
    private readonly language: Texts = en,
    private readonly own: Partial<Texts> = {},
  ) {}

  /** A text with its values put in. */
  text = (name: TextName, values: Record<string, string | number> = {}): string => {
    const template = this.own[name] ?? this.language[name] ?? en[name] ?? name;
    return template.replace(/\{(\w+)\}/g, (whole, key: string) => String(values[key] ?? whole));
  };

  /** The text of a name that is put together at run time; the fallback where there is none. */
  find(name: string, fallback: string, values: Record<string, string | number> = {}): string {
    return name in en ? this.text(name as TextName, values) : fallback;
  }
}

/** Texts of a language, by its tag; English where we have none. */
export async function languageOf(tag: string): Promise<Texts> {
  return tag.toLowerCase().split("-")[0] === "de" ? (await import("./de.js")).de : en;
}
