/** Which choices match what the user typed. */

import type { Choice } from "./combobox.js";

/** A longer list is no help; the user types another letter. */
const MOST = 100;

/** The choices that contain each word of the text, in any order. Without a text, all. */
export function matching(choices: readonly Choice[], typed: string | null): readonly Choice[] {
  const words = plain(typed ?? "")
    .split(" ")
    .filter(Boolean);
  return choices.filter(({ value }) => words.every((word) => plain(value).includes(word))).slice(0, MOST);
}

/** `America/New_York` is found as "new york". */
function plain(text: string): string {
  return text.toLowerCase().replace(/[_\s]+/g, " ");
}
