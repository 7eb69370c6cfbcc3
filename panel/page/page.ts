/** Sign-in around the element, for people without an app. The server names the project in /config.json. */

import type { SupabaseClient } from "@supabase/supabase-js";
import "../src/index.js";
import { language, texts } from "./texts.js";

interface Config {
  url: string;
  publishable_key: string;
  runtime: string;
}

const find = <T extends HTMLElement>(selector: string) => document.querySelector<T>(selector)!;

function translate(): void {
  document.documentElement.lang = language;
  document.title = texts.title;
  const places = {
    h1: texts.title,
    "#sign-out": texts.signOut,
    "#sign-in-title": texts.signIn,
    "#about": texts.about,
    "[for=email]": texts.email,
    "[for=password]": texts.password,
    "[value=sign-in]": texts.signIn,
    "[value=sign-up]": texts.signUp,
  };
  for (const [selector, text] of Object.entries(places)) find(selector).textContent = text;
}

async function start(): Promise<void> {
  const response = await fetch("/config.json", { cache: "no-store" });
  if (!response.ok) throw new Error("config");
  const config = (await response.json()) as Config;
  const { createClient } = await import("@supabase/supabase-js");
  const supabase = createClient(config.url, config.publishable_key);
  const panel = find("supa-llm-settings") as HTMLElementTagNameMap["supa-llm-settings"];
  panel.runtime = config.runtime;
  panel.client = supabase;
  supabase.auth.onAuthStateChange((_, session) => show(session?.user.email ?? (session ? "" : null)));
  find("#sign-out").addEventListener("click", () => void supabase.auth.signOut({ scope: "local" }));
  find<HTMLFormElement>("#sign-in").addEventListener("submit", (event) => {
    event.preventDefault();
    void signIn(supabase, (event.submitter as HTMLButtonElement | null)?.value === "sign-up");
  });
}

function show(who: string | null): void {
  const signedIn = who !== null;
  find("#sign-in").hidden = signedIn;
  find("#account").hidden = !signedIn;
  find("supa-llm-settings").hidden = !signedIn;
  find("#who").textContent = who ?? "";
  if (signedIn) showProblem("");
}

async function signIn(supabase: SupabaseClient, signUp: boolean): Promise<void> {
  showProblem("");
  const [email, password] = [find<HTMLInputElement>("#email"), find<HTMLInputElement>("#password")];
  const credentials = { email: email.value, password: password.value };
  const buttons = document.querySelectorAll<HTMLButtonElement>("#sign-in button");
  buttons.forEach((button) => (button.disabled = true));
  try {
    const { data, error } = signUp
      ? await supabase.auth.signUp(credentials)
      : await supabase.auth.signInWithPassword(credentials);
    if (error) showProblem(error.message);
    else if (!data.session) showProblem(texts.confirm);
    else password.value = "";
  } finally {
    buttons.forEach((button) => (button.disabled = false));
  }
}

function showProblem(text: string): void {
  const problem = find("#problem");
  problem.textContent = text;
  problem.hidden = text === "";
}

translate();
start().catch(() => showProblem(texts.failed));
