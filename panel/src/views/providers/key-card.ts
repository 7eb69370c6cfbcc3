/** One provider's card. A typed key exists in its input field and nowhere else. */

import { html, nothing, type TemplateResult } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import { OutdatedAnswer } from "../../store.js";
import type { TextName } from "../../texts/index.js";
import type { Candidate, KeyCheck, Provider, Key } from "../../types.js";
import { View } from "../view.js";

/** How long a revealed key stays visible. */
const SHOWN_SECONDS = 30;

type Busy = "saving" | "checking" | "removing" | "showing" | null;

@customElement("supa-llm-key-card")
export class KeyCard extends View {
  @property({ attribute: false }) provider!: Pick<Provider, "id" | "name" | "key_url" | "key_example">;
  /** Whether the app no longer offers the provider. Then its key can only be removed. */
  @property({ attribute: false }) withdrawn = false;
  /** Whose key would pay; null while that is unknown. */
  @property({ attribute: false }) payer: Candidate["key_source"] | "nobody" | null = null;
  @state() private doing: "nothing" | "typing" | "removing" = "nothing";
  @state() private busy: Busy = null;
  @state() private error = "";
  @state() private result: KeyCheck | null = null;
  @state() private announcement = "";
  @state() private secondsLeft = 0;
  #timer: ReturnType<typeof setInterval> | undefined;
  #restTimer: ReturnType<typeof setTimeout> | undefined;

  override connectedCallback(): void {
    super.connectedCallback();
    document.addEventListener("visibilitychange", this.#hideWhenAway);
  }

  override disconnectedCallback(): void {
    document.removeEventListener("visibilitychange", this.#hideWhenAway);
    this.#hide();
    this.#clearInput();
    clearTimeout(this.#restTimer);
    super.disconnectedCallback();
  }

  override render() {
    const { store, provider } = this;
    const { t, translator } = store;
    const key = store.loaded.keys.get(provider.id);
    this.#watchRest(key);
    return html`<article class="card stack tight" part="provider" aria-label=${provider.name}>
      <div class="row">
        <span class="mark" aria-hidden="true">${[...provider.name][0] ?? "?"}</span>
        <h2 class="grow">${provider.name}</h2>
        ${this.#state(key)}
      </div>
      ${key ? this.#facts(key) : nothing}
      ${this.withdrawn ? html`<p class="small">${t("providers.withdrawn")}</p>` : key || this.payer !== "nobody" ? this.#paidBy() : nothing}
      ${this.doing === "removing" && key ? this.#question(key) : nothing}
      ${this.doing === "typing" ? this.#form() : nothing}
      ${this.doing === "nothing" || (this.doing === "removing" && !key) ? this.#buttons(key) : nothing}
      <div ?hidden=${!this.secondsLeft} class="stack tight">
        <output class="code shown card" part="shown-key"></output>
        <p class="small muted">${translator.count("providers.showing", this.secondsLeft)}</p>
        <div class="row">
          <button @click=${this.#copy}>${t("providers.copy")}</button>
          <button @click=${this.#hide}>${t("providers.hide")}</button>
        </div>
      </div>
      <div role="status">
        ${this.announcement ? html`<p>${this.announcement}</p>` : nothing}
        ${this.result ? this.#result(this.result) : nothing}
      </div>
      ${this.error ? html`<p class="bad" role="alert">${this.error}</p>` : nothing}
      ${
        provider.key_url.startsWith("https://")
          ? html`<a class="small" href=${provider.key_url} target="_blank" rel="noopener noreferrer"
              >${t("providers.get_key", { provider: provider.name })}</a
            >`
          : nothing
      }
    </article>`;
  }

  #state(key: Key | undefined): TemplateResult {
    const name = key?.status ?? "none";
    const looks = { working: "good", rejected: "bad", rate_limited: "warn", out_of_credit: "bad" };
    const look = looks[name as keyof typeof looks] ?? "muted";
    const time = key?.rests_until ? this.store.formats.time(key.rests_until) : "";
    const models = key?.rate_limited_models.join(", ") ?? "";
    const state = name === "rate_limited" && models ? "models_rate_limited" : name;
    return html`<span class="small ${look}" part="key-state"
      >${this.store.t(`providers.state.${state}` as TextName, { time, models })}</span
    >`;
  }

  #facts(key: Key): TemplateResult {
    const { t, formats } = this.store;
    return html`<dl class="facts small">
      <dt class="muted">${t("providers.key")}</dt>
      <dd class="code">${key.hint}</dd>
      <dt class="muted">${t("providers.stored")}</dt>
      <dd>${formats.time(key.created_at)}</dd>
      <dt class="muted">${t("providers.last_used")}</dt>
      <dd>${key.last_used_at ? formats.time(key.last_used_at) : t("providers.never")}</dd>
    </dl>`;
  }

  #paidBy(): TemplateResult {
    const { t } = this.store;
    if (this.payer === "nobody") return html`<p class="small muted">${t("providers.unused")}</p>`;
    const who = this.payer ? t(`source.${this.payer}`) : "…";
    return html`<p class="small"><span class="muted">${t("providers.paid_by")}:</span> ${who}</p>`;
  }

  #buttons(key: Key | undefined): TemplateResult {
    const { store, provider } = this;
    const { t } = store;
    const of = { provider: provider.name };
    const busy = this.busy !== null;
    const remove = html`<button
      class="danger"
      aria-disabled=${busy}
      aria-label=${t("providers.remove.of", of)}
      @click=${() => this.#turn("removing", "button")}
    >
      ${t("providers.remove")}
    </button>`;
    if (this.withdrawn) return html`<div class="row">${key ? remove : nothing}</div>`;
    if (!key)
      return html`<div class="row">
        <button class="primary" aria-label=${t("providers.add.of", of)} @click=${this.#type}>
          ${t("providers.add")}
        </button>
      </div>`;
    return html`<div class="row">
      ${
        store.backend.runtime === null
          ? nothing
          : html`<button
              aria-disabled=${busy}
              aria-label=${t("providers.check.of", of)}
              @click=${() => this.#check()}
            >
              ${this.busy === "checking" ? t("providers.checking") : t("providers.check")}
            </button>`
      }
      ${
        store.loaded.settings.reveal_allowed && !this.secondsLeft
          ? html`<button aria-disabled=${busy} aria-label=${t("providers.show.of", of)} @click=${this.#show}>
              ${t("providers.show")}
            </button>`
          : nothing
      }
      <button aria-disabled=${busy} aria-label=${t("providers.replace.of", of)} @click=${this.#type}>
        ${t("providers.replace")}
      </button>
      ${remove}
    </div>`;
  }

  #question(key: Key): TemplateResult {
    const { t } = this.store;
    return html`<div class="alert warn stack tight question" role="group">
      <p>${t("providers.remove.question", { hint: key.hint })}</p>
      <div class="row">
        <button class="danger" aria-disabled=${this.busy !== null} @click=${this.#remove}>
          ${t("providers.remove.yes")}
        </button>
        <button @click=${this.#cancel}>${t("word.cancel")}</button>
      </div>
    </div>`;
  }

  #form(): TemplateResult {
    const { store, provider } = this;
    const { t } = store;
    const id = `key-of-${provider.id}`;
    return html`<form class="stack tight question" autocomplete="off" @submit=${this.#save}>
      <label class="field" for=${id}>${t("providers.input", { provider: provider.name })}</label>
      <input
        id=${id}
        class="typed"
        type="password"
        autocomplete="off"
        autocapitalize="off"
        spellcheck="false"
        data-1p-ignore
        data-lpignore="true"
        data-bwignore
        aria-describedby="${id}-example"
      />
      <p class="small muted" id="${id}-example">
        ${provider.key_example ? t("providers.input.example", { example: provider.key_example }) : nothing}
      </p>
      <label class="check small"
        ><input type="checkbox" @change=${this.#toggleVisible} />${t("providers.input.show")}</label
      >
      <div class="row">
        <button class="primary" type="submit" aria-disabled=${this.busy !== null}>
          ${this.busy === "saving" ? t("providers.saving") : t("providers.save")}
        </button>
        ${
          store.backend.runtime === null
            ? nothing
            : html`<button
                type="button"
                aria-disabled=${this.busy !== null}
                @click=${() => this.#check(true)}
              >
                ${this.busy === "checking" ? t("providers.checking") : t("providers.check")}
              </button>`
        }
        <button type="button" aria-disabled=${this.busy !== null} @click=${this.#cancel}>
          ${t("word.cancel")}
        </button>
      </div>
    </form>`;
  }

  #result({ result, reason, message, detail }: KeyCheck): TemplateResult {
    const { t, translator } = this.store;
    const look = { works: "good", rejected: "bad", unknown: "warn" }[result];
    const why = [result === "unknown" ? translator.find(`providers.why.${reason}`, message) : "", detail];
    return html`<p class=${look} part="result">
      ${t(`providers.result.${result}` as TextName, { why: why.filter(Boolean).join(" ") })}
    </p>`;
  }

  get #input(): HTMLInputElement | null {
    return this.querySelector<HTMLInputElement>("input.typed");
  }

  #clearInput(): void {
    if (this.#input) this.#input.value = "";
  }

  #type = () => this.#turn("typing", "input.typed");

  /** Show the question or the form, and focus it. */
  #turn(doing: "typing" | "removing", focus: string): void {
    if (this.busy) return;
    this.#hide();
    Object.assign(this, { doing, error: "", announcement: "", result: null });
    void this.updateComplete.then(() => this.querySelector<HTMLElement>(`.question ${focus}`)?.focus());
  }

  #cancel = () => {
    if (!this.busy) this.#stop();
  };

  #stop = () => {
    this.#clearInput();
    Object.assign(this, { doing: "nothing", error: "", result: null });
    void this.#focusButton();
  };

  async #focusButton(): Promise<void> {
    await this.updateComplete;
    this.querySelector<HTMLElement>("button:not([hidden] *)")?.focus();
  }

  #toggleVisible = (event: Event) => {
    if (this.#input) this.#input.type = (event.target as HTMLInputElement).checked ? "text" : "password";
  };

  #save = async (event: Event) => {
    event.preventDefault();
    const input = this.#input;
    if (!input?.value) return input?.focus();
    const saved = await this.#do("saving", async () => {
      const { store, provider } = this;
      const stored = await store.whileSignedIn(store.backend.setKey(provider.id, input.value.trim()));
      input.value = "";
      store.keyChanged(provider.id, stored);
      this.#stop();
      this.announcement = store.t("providers.saved", { provider: provider.name });
    });
    if (saved && this.store.backend.runtime !== null) await this.#check();
  };

  async #check(typed = false): Promise<void> {
    const input = this.#input;
    if (typed && !input?.value) return input?.focus();
    this.result = null;
    await this.#do("checking", async () => {
      const { store, provider } = this;
      const check = await store.whileSignedIn(
        store.backend.checkKey(provider.id, typed ? input?.value.trim() : undefined),
      );
      this.result = check;
      if (check.key) store.keyChecked(check.key);
    });
  }

  #remove = () =>
    this.#do("removing", async () => {
      const { store, provider } = this;
      await store.whileSignedIn(store.backend.removeKey(provider.id));
      store.keyChanged(provider.id, null);
      this.#stop();
      this.announcement = store.t("providers.removed", { provider: provider.name });
    });

  #show = () =>
    this.#do("showing", async () => {
      const output = this.querySelector("output.shown");
      const shown = await this.store.whileSignedIn(this.store.backend.revealKey(this.provider.id));
      if (!output || !this.isConnected || document.visibilityState !== "visible") return;
      output.textContent = shown;
      this.secondsLeft = SHOWN_SECONDS;
      clearInterval(this.#timer);
      this.#timer = setInterval(() => {
        this.secondsLeft -= 1;
        if (this.secondsLeft <= 0) this.#hide();
      }, 1000);
    });

  #hide = () => {
    clearInterval(this.#timer);
    this.querySelector("output.shown")?.replaceChildren();
    this.secondsLeft = 0;
  };

  #hideWhenAway = () => {
    if (document.visibilityState !== "visible") this.#hide();
  };

  #copy = async () => {
    const shown = this.querySelector("output.shown")?.textContent ?? "";
    // Pages without TLS have no clipboard.
    await Promise.resolve(shown)
      .then((text) => navigator.clipboard.writeText(text))
      .then(
        () => (this.announcement = this.store.t("providers.copied")),
        () => (this.error = this.store.t("error.unexpected")),
      );
  };

  /**
   * Run an action, show its error, and return whether it succeeded. Meanwhile buttons are aria-disabled, because a
   * disabled button would lose the focus.
   */
  async #do(busy: Busy, what: () => Promise<void>): Promise<boolean> {
    if (this.busy) return false;
    const focused = this.querySelector<HTMLElement>(":focus");
    Object.assign(this, { busy, error: "" });
    // The check that follows a save must not hide that the key was saved.
    if (busy !== "checking") this.announcement = "";
    try {
      await what();
      return true;
    } catch (error) {
      if (!(error instanceof OutdatedAnswer)) this.error = this.store.explain(error);
      return false;
    } finally {
      this.busy = null;
      if (focused) void this.#focusAgain(focused);
    }
  }

  /** If the focused button is gone, focus another button of the card. */
  async #focusAgain(focused: HTMLElement): Promise<void> {
    await this.updateComplete;
    if (!focused.isConnected && !this.querySelector(":focus")) await this.#focusButton();
  }

  /** Read the keys again when the key or its models no longer rest. */
  #watchRest(key: Key | undefined): void {
    clearTimeout(this.#restTimer);
    if (!key?.rests_until) return;
    const left = new Date(key.rests_until).getTime() - Date.now();
    // This clock may be ahead of the database's, so an expired limit is read again every 30 seconds.
    const wait = left > 0 ? left + 1000 : 30_000;
    if (wait < 86_400_000) this.#restTimer = setTimeout(() => void this.store.refresh(), wait);
  }
}
