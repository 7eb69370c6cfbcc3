/** `<supa-llm-settings>`: connects a project, follows who is signed in, and shows the views. */

import { LitElement, html, nothing, type PropertyValues, type TemplateResult } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import { Backend, type Session, type SupabaseClientLike } from "./backend.js";
import { Store, type Loaded, type State } from "./store.js";
import { styles } from "./styles.js";
import { languageOf, Translator, type TextName, type Texts } from "./texts/index.js";
import "./views/activity/activity.js";
import { orderStyles } from "./views/order/order.js";
import { providersStyles } from "./views/providers/providers.js";
import { saveBar } from "./views/savebar.js";
import { tasksStyles } from "./views/tasks/tasks.js";
import { usageStyles } from "./views/usage/usage.js";

const TABS = ["providers", "order", "tasks", "usage", "activity"] as const;
type Tab = (typeof TABS)[number];

/** How often to look for changes made elsewhere while the panel is in sight. */
const LOOK_AGAIN_MS = 30_000;

/**
 * A user's LLM settings: keys, order, tasks, usage.
 *
 * Give it the app's own supabase-js client (property `client`), or the project's address (attributes `url` and
 * `publishable-key`).
 *
 * @fires supa-llm-saved - after settings or a key were stored or removed; it carries nothing.
 */
@customElement("supa-llm-settings")
export class SupaLlmSettings extends LitElement {
  static override styles = [styles, providersStyles, orderStyles, tasksStyles, usageStyles];

  /** The app's own supabase-js client. */
  @property({ attribute: false }) client: SupabaseClientLike | null = null;
  /** URL of the project, where there is no client. */
  @property() url = "";
  /** Its publishable (or anon) key, where there is no client. */
  @property({ attribute: "publishable-key" }) publishableKey = "";
  /** Base URL of the app's endpoint that tests keys; without it, keys cannot be tested. */
  @property() runtime: string | null = null;
  /** The language; without it that of the page around, then the browser's. */
  @property() override lang = "";
  /** Texts in place of ours, by name. */
  @property({ attribute: false }) texts: Partial<Texts> = {};

  @state() private tab: Tab = "providers";
  private readonly store = new Store();
  #disconnect: (() => void) | null = null;
  #own: { url: string; key: string; client: SupabaseClientLike } | null = null;
  #timer: ReturnType<typeof setInterval> | undefined;
  #focused: Element | null = null;

  constructor() {
    super();
    this.store.addEventListener("change", () => this.requestUpdate());
    this.store.addEventListener("saved", () =>
      this.dispatchEvent(new Event("supa-llm-saved", { bubbles: true })),
    );
  }

  override connectedCallback(): void {
    super.connectedCallback();
    window.addEventListener("focus", this.#look);
    window.addEventListener("online", this.#look);
    window.addEventListener("offline", this.#redraw);
    window.addEventListener("beforeunload", this.#beforeUnload);
    this.#timer = setInterval(this.#look, LOOK_AGAIN_MS);
    if (this.hasUpdated) void this.#reconnect();
  }

  override disconnectedCallback(): void {
    window.removeEventListener("focus", this.#look);
    window.removeEventListener("online", this.#look);
    window.removeEventListener("offline", this.#redraw);
    window.removeEventListener("beforeunload", this.#beforeUnload);
    clearInterval(this.#timer);
    this.#disconnect?.();
    this.#disconnect = null;
    this.store.connect(null);
    super.disconnectedCallback();
  }

  override willUpdate(changed: PropertyValues<SupaLlmSettings>): void {
    this.#focused = this.shadowRoot?.activeElement ?? null;
    if (
      ["client", "url", "publishableKey", "runtime"].some((name) =>
        changed.has(name as keyof SupaLlmSettings),
      )
    )
      void this.#reconnect();
    if (changed.has("texts") || !this.hasUpdated || this.store.translator.lang !== this.#language)
      void this.#translate();
  }

  /** Where the button that was used is gone, such as that of the bar for saving, the keyboard goes on in the view. */
  override updated(): void {
    if (this.#focused && !this.#focused.isConnected)
      this.renderRoot.querySelector<HTMLElement>("[role=tabpanel]")?.focus();
    this.#focused = null;
  }

  get #language(): string {
    const tag = this.lang || this.closest("[lang]")?.getAttribute("lang") || navigator.language || "en";
    try {
      return Intl.getCanonicalLocales(tag)[0] ?? "en";
    } catch {
      return "en"; // a tag that is none must not take the panel down
    }
  }

  async #translate(): Promise<void> {
    const language = this.#language;
    // At once, so that nothing is drawn in between; the language's own texts come when they are loaded.
    this.store.translator = new Translator(language, undefined, this.texts);
    const texts = await languageOf(language).catch(() => undefined);
    if (!texts || language !== this.#language) return;
    this.store.translator = new Translator(language, texts, this.texts);
    this.store.changed();
  }

  async #reconnect(): Promise<void> {
    this.#disconnect?.();
    this.#disconnect = null;
    // What is set on an element that was taken away counts when it is put back.
    if (!this.isConnected) return;
    let stopped = false;
    let unsubscribe = () => {};
    this.#disconnect = () => {
      stopped = true;
      unsubscribe();
    };
    try {
      await this.#connect(
        () => stopped,
        (stop) => (unsubscribe = stop),
      );
    } catch (error) {
      if (stopped) return;
      // Who writes the page wants to know more than who reads it.
      console.error(error);
      this.store.fail();
    }
  }

  async #connect(stopped: () => boolean, atEnd: (unsubscribe: () => void) => void): Promise<void> {
    const runtime = this.runtime?.replace(/\/+$/, "") ?? null;
    const client = this.client ?? (await this.#ownClient());
    if (stopped()) return;
    this.store.connect(client ? new Backend(client, runtime) : null);
    if (!client) return;
    const take = (session: Session | null) => {
      if (!stopped()) void this.store.follow(session?.user.id ?? null);
    };
    // In a task of its own: supabase-js holds a lock while it calls, and a request of ours would wait for it.
    const { data } = client.auth.onAuthStateChange((_, session) => void setTimeout(() => take(session)));
    atEnd(() => data.subscription.unsubscribe());
    // Not every client tells of the session that it began with.
    const { data: now } = await client.auth.getSession();
    take(now.session);
  }

  /** A client of the panel's own; supabase-js is loaded only where the host brings none. */
  async #ownClient(): Promise<SupabaseClientLike | null> {
    const [url, key] = [this.url, this.publishableKey];
    if (!url || !key) return null;
    if (this.#own?.url === url && this.#own.key === key) return this.#own.client;
    const { createClient } = await import("@supabase/supabase-js");
    const client: SupabaseClientLike = createClient(url, key);
    this.#own = { url, key, client };
    return client;
  }

  #look = () => {
    if (document.visibilityState === "visible") void this.store.refresh();
  };

  #redraw = () => this.requestUpdate();

  #beforeUnload = (event: BeforeUnloadEvent) => {
    if (this.store.changeCount) event.preventDefault();
  };

  override render() {
    const { store } = this;
    return html`
      <section
        class="frame"
        part="panel"
        aria-label=${store.t("panel.label")}
        aria-busy=${store.state.status === "loading"}
      >
        ${store.state.status === "ready" ? this.#ready(store.state) : this.#waiting(store.state)}
      </section>
    `;
  }

  #waiting(state: Exclude<State, Loaded>): TemplateResult {
    const { store } = this;
    switch (state.status) {
      case "failed":
        return html`<div class="alert bad row" role="alert" part="error">
          <span class="grow">${store.explain(state.error)}</span>
          <button @click=${() => (store.connected ? store.load() : this.#reconnect())}>
            ${store.t("state.retry")}
          </button>
        </div>`;
      case "signed_out":
        return html`<p class="muted" role="status">${store.t("state.signed_out")}</p>`;
      case "not_connected":
        // While attributes are still being read there is nothing wrong yet.
        return this.client || (this.url && this.publishableKey)
          ? html`<p class="muted" role="status">${store.t("state.loading")}</p>`
          : html`<p class="muted" role="status">${store.t("state.not_connected")}</p>`;
      case "loading":
        return html`<p class="muted" role="status">${store.t("state.loading")}</p>`;
    }
  }

  #ready(loaded: Loaded): TemplateResult {
    const { store } = this;
    return html`
      ${
        navigator.onLine
          ? nothing
          : html`<p class="alert warn" role="status" part="offline">${store.t("state.offline")}</p>`
      }
      ${
        loaded.error && navigator.onLine
          ? html`<div class="alert bad row" role="alert" part="error">
              <span class="grow">${store.explain(loaded.error)}</span>
              <button @click=${() => store.load()}>${store.t("state.retry")}</button>
            </div>`
          : nothing
      }
      <div role="tablist" part="tabs" aria-label=${store.t("panel.label")} @keydown=${this.#tabKey}>
        ${TABS.map(
          (tab) =>
            html`<button
              role="tab"
              part="tab"
              id="tab-${tab}"
              aria-controls="view-${tab}"
              aria-selected=${this.tab === tab}
              tabindex=${this.tab === tab ? 0 : -1}
              @click=${() => this.#show(tab)}
            >
              ${store.t(`tab.${tab}` as TextName)}
            </button>`,
        )}
      </div>
      <div role="tabpanel" part="view" id="view-${this.tab}" aria-labelledby="tab-${this.tab}" tabindex="0">
        ${this.#view()}
      </div>
      ${saveBar(store, loaded)}
    `;
  }

  #view(): TemplateResult {
    const { store } = this;
    switch (this.tab) {
      case "providers":
        return html`<supa-llm-providers .store=${store}></supa-llm-providers>`;
      case "order":
        return html`<supa-llm-order .store=${store}></supa-llm-order>`;
      case "tasks":
        return html`<supa-llm-tasks .store=${store}></supa-llm-tasks>`;
      case "usage":
        return html`<supa-llm-usage .store=${store}></supa-llm-usage>`;
      case "activity":
        return html`<supa-llm-activity .store=${store}></supa-llm-activity>`;
    }
  }

  #show(tab: Tab): void {
    this.tab = tab;
    // The announcement was about the tab that is gone.
    this.store.loaded.announced = null;
  }

  #tabKey = (event: KeyboardEvent) => {
    const backwards = getComputedStyle(this).direction === "rtl" ? "ArrowRight" : "ArrowLeft";
    const forwards = backwards === "ArrowLeft" ? "ArrowRight" : "ArrowLeft";
    const at = TABS.indexOf(this.tab);
    const to = {
      [forwards]: (at + 1) % TABS.length,
      [backwards]: (at - 1 + TABS.length) % TABS.length,
      Home: 0,
      End: TABS.length - 1,
    }[event.key];
    const tab = to === undefined ? undefined : TABS[to];
    if (!tab) return;
    event.preventDefault();
    this.#show(tab);
    void this.updateComplete.then(() => this.renderRoot.querySelector<HTMLElement>(`#tab-${tab}`)?.focus());
  };
}

declare global {
  interface HTMLElementTagNameMap {
    "supa-llm-settings": SupaLlmSettings;
  }
}
