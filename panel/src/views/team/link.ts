/** Invitation links. The token is in the fragment, which browsers send to no server. */

const TOKEN = /sli_[\w-]+/;
const IN_FRAGMENT = /[#&?]llm-invitation=(sli_[\w-]+)/;

/** The token in the fragment of an address, or null. */
export function invitationIn(fragment: string): string | null {
  return IN_FRAGMENT.exec(fragment)?.[1] ?? null;
}

/** The address without the token. */
export function withoutInvitation(address: string): string {
  const [page = "", fragment = ""] = address.split(/(?=#)/, 2);
  const rest = fragment.replace(/([#&?])llm-invitation=sli_[\w-]+&?/, "$1").replace(/[#&?]$/, "");
  return page + rest;
}

/** A link that opens this page with an invitation. Apps that route by the fragment keep theirs. */
export function invitationLink(address: string, token: string): string {
  const [page = "", fragment = ""] = withoutInvitation(address).split(/(?=#)/, 2);
  const routed = /^#!?\//.test(fragment) ? `${fragment}${fragment.includes("?") ? "&" : "?"}` : "#";
  return `${page}${routed}llm-invitation=${token}`;
}

/** The token in what a user pasted: a link, or the token itself. */
export function tokenIn(text: string): string {
  return TOKEN.exec(text)?.[0] ?? text.trim();
}
