import { expect, test } from "vitest";
import { invitationIn, invitationLink, tokenIn, withoutInvitation } from "../src/views/team/link.js";

const TOKEN = "sli_A-made_up-token0";

test.each([
  ["https://app.example/settings", `https://app.example/settings#llm-invitation=${TOKEN}`],
  ["https://app.example/settings#billing", `https://app.example/settings#llm-invitation=${TOKEN}`],
  ["https://app.example/?a=1#/settings", `https://app.example/?a=1#/settings?llm-invitation=${TOKEN}`],
  ["https://app.example/#/settings?tab=2", `https://app.example/#/settings?tab=2&llm-invitation=${TOKEN}`],
  [`https://app.example/#llm-invitation=sli_old`, `https://app.example/#llm-invitation=${TOKEN}`],
])("the link from %s has the token in its fragment", (page, link) => {
  expect(invitationLink(page, TOKEN)).toBe(link);
  expect(invitationIn(new URL(link).hash)).toBe(TOKEN);
  expect(tokenIn(` ${link} `)).toBe(TOKEN);
});

test("the token leaves the address, and nothing else does", () => {
  const without = (address: string) => withoutInvitation(address);
  expect(without(`https://a.example/s#llm-invitation=${TOKEN}`)).toBe("https://a.example/s");
  expect(without(`https://a.example/#/s?llm-invitation=${TOKEN}`)).toBe("https://a.example/#/s");
  expect(without(`https://a.example/#/s?t=2&llm-invitation=${TOKEN}`)).toBe("https://a.example/#/s?t=2");
  expect(without(`https://a.example/#/s?llm-invitation=${TOKEN}&t=2`)).toBe("https://a.example/#/s?t=2");
  expect(without("https://a.example/s?x=1#part")).toBe("https://a.example/s?x=1#part");
});

test("a pasted token is taken as it is", () => {
  expect(tokenIn(`${TOKEN}\n`)).toBe(TOKEN);
  expect(tokenIn(" no token ")).toBe("no token");
  expect(invitationIn("#billing")).toBeNull();
});
