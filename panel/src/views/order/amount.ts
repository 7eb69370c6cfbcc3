/**
 * An amount of money that a user typed. 1,000 means a thousand in some countries and one in others; such text, and
 * anything that is not a number, is returned as it is, and the database refuses it with a hint.
 */
export function amountIn(text: string): number | string {
  const typed = /^[1-9]\d{0,2}([.,]\d{3})+$/.test(text.trim()) ? "" : text.trim().replace(",", ".");
  return typed === "" || Number.isNaN(Number(typed)) ? text : Number(typed);
}
