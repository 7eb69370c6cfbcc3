/** `<supa-llm-settings>`: connects to a project, follows the session and shows the views. */

import { LitElement, html, nothing, type CSSResult, type PropertyValues, type TemplateResult } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import { Backend, type Session, type SupabaseClientLike } from "./backend.js";
import { Store, type Loaded, type State } from "./store.js";
import { styles } from "./styles.js";
import { languageOf, Translator, type TextName, type Texts } from "./texts/index.js";
import { comboboxStyles } from "./views/models.js";
import { orderStyles } from "./views/order/order.js";
import type { KeyCard } from "./views/providers/key-card.js";
import { providersStyles } from "./views/providers/providers.js";
import { icon } from "./views/icons.js";
import { routePreviewStyles } from "./views/route-preview.js";
import { saveBar } from "./views/save-bar.js";
import { cardSkeleton, loadingWith, rowSkeleton, skeletonStyles } from "./views/skeleton.js";
import { readTasks, type AppTask } from "./views/tasks/names.js";
import { invitationIn } from "./views/team/link.js";
import { keepFocus, type View } from "./views/view.js";

const TABS = ["providers", "order", "tasks", "team", "usage", "activity"] as const;
type Tab = (typeof TABS)[number];

/** Tabs that load when they are first shown, with their styles. */
const LAZY: Partial<Record<Tab, () => Promise<{ styles: CSSResult[] }>>> = {
  tasks: () => import("./views/tasks/tasks.js"),
  team: () => import("./views/team/team.js"),
  usage: () => import("./views/usage/usage.js"),
  activity: () => import("./views/activity/activity.js"),
};

/** How often a visible panel looks for changes made elsewhere. */
const REFRESH_MS = 30_000;

/**
 * A user's LLM settings: keys, order, tasks, usage.
 *
 * Set the property `client` to the app's supabase-js client, or the attributes `url` and `publishable-key`.
 *
 * @fires supa-llm-saved - after settings were saved, or a key was stored or removed. The event carries no data.
 */
@customElement("supa-llm-settings")
export class SupaLlmSettings extends LitElement {
  static override styles = [
    ...styles,
    skeletonStyles,
    comboboxStyles,
    routePreviewStyles,
    providersStyles,
    orderStyles,
  ];

  /** The app's supabase-js client. */
  @property({ attribute: false }) client: SupabaseClientLike | null = null;
  /** URL of the project, if there is no client. */
  @property() url = "";
  /** The project's publishable (or anon) key, if there is no client. */
  @property({ attribute: "publishable-key" }) publishableKey = "";
  /** Base URL of the app's endpoint that checks keys. Without it, the panel cannot check keys. */
  @property() runtime: string | null = null;
  /** The language. Default: the page's, then the browser's. */
  @property() override lang = "";
  /** Texts that replace the panel's, by name. */
  @property({ attribute: false }) texts: Partial<Texts> = {};

  /**
   * The app's tasks, as users should see them: `[{task, label, description}]`. The attribute takes JSON. Without it, the
   * panel shows the catalog's tasks, and users can add others by name.
   */
  @property({ converter: (value) => parsed(value) }) tasks: AppTask[] | Record<string, string> | null = null;

  @state() private tab: Tab = "providers";
  @state() private loadedTabs: ReadonlySet<Tab> = new Set();
  @state() private tabFailed = false;
  private readonly store = new Store();
  #disconnect: (() => void) | null = null;
  #own: { url: string; key: string; client: SupabaseClientLike } | null = null;
  #timer: ReturnType<typeof setInterval> | undefined;
  /** Whether the Team tab was shown because of the link in the address. */
  #invited = false;

  constructor() {
    super();
    this.store.addEventListener("change", () => {
      if (this.store.invitation && !this.#invited && this.store.state.status === "ready") {
        this.#invited = true;
        this.#show("team");
      }
      this.requestUpdate();
    });
    this.store.addEventListener("saved", () =>
      this.dispatchEvent(new Event("supa-llm-saved", { bubbles: true })),
    );
  }

  override connectedCallback(): void {
    super.connectedCallback();
    window.addEventListener("focus", this.#refresh);
    window.addEventListener("online", this.#refresh);
    window.addEventListener("offline", this.#redraw);
    window.addEventListener("beforeunload", this.#beforeUnload);
    window.addEventListener("hashchange", this.#readAddress);
    this.#readAddress();
    this.#timer = setInterval(this.#refresh, REFRESH_MS);
    if (this.hasUpdated) void this.#reconnect();
  }

  override disconnectedCallback(): void {
    window.removeEventListener("focus", this.#refresh);
    window.removeEventListener("online", this.#refresh);
    window.removeEventListener("offline", this.#redraw);
    window.removeEventListener("beforeunload", this.#beforeUnload);
    window.removeEventListener("hashchange", this.#readAddress);
    clearInterval(this.#timer);
    this.#disconnect?.();
    this.#disconnect = null;
    this.store.connect(null);
    super.disconnectedCallback();
  }

  override willUpdate(changed: PropertyValues<SupaLlmSettings>): void {
    if (
      ["client", "url", "publishableKey", "runtime"].some((name) =>
        changed.has(name as keyof SupaLlmSettings),
      )
    )
      void this.#reconnect();
    if (changed.has("tasks")) {
      this.store.appTasks = readTasks(this.tasks);
      this.store.changed();
    }
    if (changed.has("texts") || !this.hasUpdated || this.store.translator.lang !== this.#language)
      void this.#translate();
  }

  override update(changed: PropertyValues<SupaLlmSettings>): void {
    keepFocus(this.renderRoot as ShadowRoot, () => super.update(changed));
  }

  get #language(): string {
    const tag = this.lang || this.closest("[lang]")?.getAttribute("lang") || navigator.language || "en";
    try {
      return Intl.getCanonicalLocales(tag)[0] ?? "en";
    } catch {
      return "en"; // an invalid tag must not break the panel
    }
  }

  async #translate(): Promise<void> {
    const language = this.#language;
    // English first, so that the panel can render while the language's texts load.
    this.store.translator = new Translator(language, undefined, this.texts);
    const texts = await languageOf(language).catch(() => undefined);
    if (!texts || language !== this.#language) return;
    this.store.translator = new Translator(language, texts, this.texts);
    this.store.changed();
  }

  async #reconnect(): Promise<void> {
    this.#disconnect?.();
    this.#disconnect = null;
    // A detached element connects when it is attached again.
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
      // The developer needs the details; the user gets a short text.
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
    // In a separate task, because supabase-js holds a lock during the callback and a request would wait for it.
    const { data } = client.auth.onAuthStateChange((_, session) => void setTimeout(() => take(session)));
    atEnd(() => data.subscription.unsubscribe());
    // Not every client reports the session that it starts with.
    const { data: now } = await client.auth.getSession();
    take(now.session);
  }

  /** The panel's own client. It loads supabase-js only if the page provides no client. */
  async #ownClient(): Promise<SupabaseClientLike | null> {
    const [url, key] = [this.url, this.publishableKey];
    if (!url || !key) return null;
    if (this.#own?.url === url && this.#own.key === key) return this.#own.client;
    const { createClient } = await import("@supabase/supabase-js");
    const client: SupabaseClientLike = createClient(url, key);
    this.#own = { url, key, client };
    return client;
  }

  #refresh = () => {
    if (document.visibilityState === "visible") void this.store.refresh();
  };

  #redraw = () => this.requestUpdate();

  #beforeUnload = (event: BeforeUnloadEvent) => {
    if (this.store.changeCount || this.store.teamChanges) event.preventDefault();
  };

  /** The address of an invitation link has a token. */
  #readAddress = () => {
    const token = invitationIn(location.hash);
    if (!token || token === this.store.invitation) return;
    this.#invited = false;
    this.store.invitation = token;
    this.store.changed();
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
        return html`<div class="alert bad" role="alert" part="error">
          ${icon("warning")}<span class="grow">${store.explain(state.error)}</span>
          <button @click=${() => (store.connected ? store.load() : this.#reconnect())}>
            ${store.t("state.retry")}
          </button>
        </div>`;
      case "signed_out":
        return html`<div class="empty" role="status" part="empty">
          ${icon("key")}
          <p>${store.t("state.signed_out")}</p>
        </div>`;
      case "not_connected":
        // The panel may still be connecting.
        return this.client || (this.url && this.publishableKey)
          ? this.#skeleton()
          : html`<p class="muted" role="status">${store.t("state.not_connected")}</p>`;
      case "loading":
        return this.#skeleton();
    }
  }

  #skeleton(): TemplateResult {
    return loadingWith(
      this.store,
      html`<div class="bone bone-tabs" aria-hidden="true"></div>
        ${cardSkeleton(6)}`,
    );
  }

  #ready(loaded: Loaded): TemplateResult {
    const { store } = this;
    return html`
      ${
        navigator.onLine
          ? nothing
          : html`<p class="alert warn" role="status" part="offline">
              ${icon("warning")}<span class="grow">${store.t("state.offline")}</span>
            </p>`
      }
      ${
        loaded.error && navigator.onLine
          ? html`<div class="alert bad" role="alert" part="error">
              ${icon("warning")}<span class="grow">${store.explain(loaded.error)}</span>
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
              ${icon(tab)}<span>${store.t(`tab.${tab}` as TextName)}</span>
              ${tab === "team" && loaded.invitations.length ? this.#badge(loaded.invitations.length) : nothing}
            </button>`,
        )}
      </div>
      <div role="tabpanel" part="view" id="view-${this.tab}" aria-labelledby="tab-${this.tab}" tabindex="0">
        ${this.#view()}
      </div>
      ${saveBar(store, loaded)}
    `;
  }

  #badge(count: number): TemplateResult {
    return html`<span class="badge"
      ><span aria-hidden="true">${count}</span
      ><span class="hidden">${this.store.translator.count("team.invited", count)}</span></span
    >`;
  }

  #view(): TemplateResult {
    const { store } = this;
    if (LAZY[this.tab] && !this.loadedTabs.has(this.tab))
      return this.tabFailed
        ? // Browsers do not load a failed module again.
          html`<p class="alert bad" role="alert" part="error">
            ${icon("warning")}<span class="grow">${store.t("state.tab_failed")}</span>
          </p>`
        : loadingWith(store, rowSkeleton(8));
    switch (this.tab) {
      case "providers":
        return html`<supa-llm-providers .store=${store}></supa-llm-providers>`;
      case "order":
        return html`<supa-llm-order
          .store=${store}
          @key-wanted=${(event: CustomEvent<string>) => void this.#typeKey(event.detail)}
        ></supa-llm-order>`;
      case "tasks":
        return html`<supa-llm-tasks .store=${store}></supa-llm-tasks>`;
      case "team":
        return html`<supa-llm-team .store=${store}></supa-llm-team>`;
      case "usage":
        return html`<supa-llm-usage .store=${store}></supa-llm-usage>`;
      case "activity":
        return html`<supa-llm-activity .store=${store}></supa-llm-activity>`;
    }
  }

  #show(tab: Tab): void {
    this.tab = tab;
    void this.#loadTab(tab);
  }

  async #loadTab(tab: Tab): Promise<void> {
    this.tabFailed = false;
    try {
      const loaded = await LAZY[tab]?.();
      if (loaded && !this.loadedTabs.has(tab)) this.#adopt(loaded.styles);
      this.loadedTabs = new Set([...this.loadedTabs, tab]);
    } catch {
      this.tabFailed = this.tab === tab;
    }
  }

  #adopt(styles: CSSResult[]): void {
    const root = this.renderRoot as ShadowRoot;
    const sheets = styles.map(({ styleSheet }) => styleSheet!);
    root.adoptedStyleSheets = [...new Set([...root.adoptedStyleSheets, ...sheets])];
  }

  /** Show the Providers tab with the form for a provider's key. */
  async #typeKey(provider: string): Promise<void> {
    this.#show("providers");
    await this.updateComplete;
    await this.renderRoot.querySelector<View>("supa-llm-providers")?.updateComplete;
    const cards = [...this.renderRoot.querySelectorAll<KeyCard>("supa-llm-key-card")];
    cards.find((card) => card.provider.id === provider)?.typeKey();
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

/** The value of a JSON attribute. The developer sees what is wrong with it; users see the panel without it. */
function parsed(value: string | null): AppTask[] | null {
  try {
    return value ? (JSON.parse(value) as AppTask[]) : null;
  } catch (error) {
    console.error("supa-llm-settings: the attribute tasks is not JSON.", error);
    return null;
  }
}

declare global {
  interface HTMLElementTagNameMap {
    "supa-llm-settings": SupaLlmSettings;
  }
}
