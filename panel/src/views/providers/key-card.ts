/** One provider's card. What is typed as a key is in its input field and nowhere else. */

import { html, nothing, type TemplateResult } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import { OutdatedAnswer } from "../../store.js";
import type { TextName } from "../../texts/index.js";
import type { Candidate, KeyCheck, Provider, StoredKey } from "../../types.js";
import { View } from "../view.js";

/** How long a key that is shown stays in sight. */
const SHOWN_SECONDS = 30;

type Busy = "saving" | "testing" | "removing" | "showing" | null;

@customElement("supa-llm-key-card")
export class KeyCard extends View {
  @property({ attribute: false }) provider!: Pick<Provider, "id" | "name" | "key_url" | "key_example">;
  /** Whether the app offers the provider no more: then its key can only be removed. */
  @property({ attribute: false }) withdrawn = false;
  /** Whose key would pay; null where it is not known yet. */
  @property({ attribute: false }) payer: Candidate["key_source"] | "nobody" | null = null;
  @state() private doing: "nothing" | "typing" | "removing" = "nothing";
  @state() private busy: Busy = null;
  @state() private error = "";
  @state() private result: KeyCheck | null = null;
  @state() private said = "";
  @state() private secondsLeft = 0;
  #timer: ReturnType<typeof setInterval> | undefined;
  #cooling: ReturnType<typeof setTimeout> | undefined;

  override connectedCallback(): void {
    super.connectedCallback();
    document.addEventListener("visibilitychange", this.#hideWhenAway);
  }

  override disconnectedCallback(): void {
    document.removeEventListener("visibilitychange", this.#hideWhenAway);
    this.#hide();
    this.#clearInput();
    clearTimeout(this.#cooling);
    super.disconnectedCallback();
  }

  override render() {
    const { store, provider } = this;
    const { t } = store;
    const key = store.loaded.keys.get(provider.id);
    this.#watchRateLimit(key);
    return html`<article class="card stack tight" part="provider" aria-label=${provider.name}>
      <div class="row">
        <span class="mark" aria-hidden="true">${[...provider.name][0] ?? "?"}</span>
        <h2 class="grow">${provider.name}</h2>
        ${this.#state(key)}
      </div>
      ${key ? this.#facts(key) : nothing}
      ${this.withdrawn ? html`<p class="small">${t("providers.withdrawn")}</p>` : key || this.payer !== "nobody" ? this.#pays() : nothing}
      ${this.doing === "removing" && key ? this.#question(key) : nothing}
      ${this.doing === "typing" ? this.#form() : nothing}
      ${this.doing === "nothing" || (this.doing === "removing" && !key) ? this.#buttons(key) : nothing}
      <div ?hidden=${!this.secondsLeft} class="stack tight">
        <output class="code shown card" part="shown-key"></output>
        <p class="small muted">${t("providers.showing", { seconds: this.secondsLeft })}</p>
        <div class="row">
          <button @click=${this.#copy}>${t("providers.copy")}</button>
          <button @click=${this.#hide}>${t("providers.hide")}</button>
        </div>
      </div>
      <div role="status">
        ${this.said ? html`<p>${this.said}</p>` : nothing}
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

  #state(key: StoredKey | undefined): TemplateResult {
    const name = key?.status ?? "none";
    const look = { working: "good", rejected: "bad", rate_limited: "warn" }[name as string] ?? "muted";
    const time = key?.rate_limited_until ? this.store.formats.time(key.rate_limited_until) : "";
    return html`<span class="small ${look}" part="key-state"
      >${this.store.t(`providers.state.${name}` as TextName, { time })}</span
    >`;
  }

  #facts(key: StoredKey): TemplateResult {
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

  #pays(): TemplateResult {
    const { t } = this.store;
    const name = this.payer === "nobody" ? "providers.pays.nobody" : `source.${this.payer}`;
    const who = this.payer ? t(name as TextName) : "…";
    return html`<p class="small"><span class="muted">${t("providers.pays")}:</span> ${who}</p>`;
  }

  #buttons(key: StoredKey | undefined): TemplateResult {
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
              aria-label=${t("providers.test.of", of)}
              @click=${() => this.#test()}
            >
              ${this.busy === "testing" ? t("providers.testing") : t("providers.test")}
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

  #question(key: StoredKey): TemplateResult {
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
        ><input type="checkbox" @change=${this.#look} />${t("providers.input.show")}</label
      >
      <div class="row">
        <button class="primary" type="submit" aria-disabled=${this.busy !== null}>
          ${this.busy === "saving" ? t("providers.saving") : t("providers.save")}
        </button>
        ${
          store.backend.runtime === null
            ? nothing
            : html`<button type="button" aria-disabled=${this.busy !== null} @click=${() => this.#test(true)}>
                ${this.busy === "testing" ? t("providers.testing") : t("providers.test")}
              </button>`
        }
        <button type="button" aria-disabled=${this.busy !== null} @click=${this.#cancel}>
          ${t("word.cancel")}
        </button>
      </div>
    </form>`;
  }

  #result({ result, reason, message, said }: KeyCheck): TemplateResult {
    const { t, translator } = this.store;
    const look = { works: "good", rejected: "bad", unknown: "warn" }[result];
    const why = [result === "unknown" ? translator.find(`providers.why.${reason}`, message) : "", said];
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

  /** Show a question or the form, and put the cursor into it. */
  #turn(doing: "typing" | "removing", focus: string): void {
    if (this.busy) return;
    this.#hide();
    Object.assign(this, { doing, error: "", said: "", result: null });
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

  #look = (event: Event) => {
    if (this.#input) this.#input.type = (event.target as HTMLInputElement).checked ? "text" : "password";
  };

  #save = async (event: Event) => {
    event.preventDefault();
    const input = this.#input;
    if (!input?.value) return input?.focus();
    const saved = await this.#do("saving", async () => {
      const { store, provider } = this;
      const stored = await store.ours(store.backend.setKey(provider.id, input.value.trim()));
      input.value = "";
      store.keyChanged(provider.id, stored);
      this.#stop();
      this.said = store.t("providers.saved", { provider: provider.name });
    });
    if (saved && this.store.backend.runtime !== null) await this.#test();
  };

  async #test(typed = false): Promise<void> {
    const input = this.#input;
    if (typed && !input?.value) return input?.focus();
    this.result = null;
    await this.#do("testing", async () => {
      const { store, provider } = this;
      const check = await store.ours(
        store.backend.testKey(provider.id, typed ? input?.value.trim() : undefined),
      );
      this.result = check;
      if (check.key) store.keyChecked(check.key);
    });
  }

  #remove = () =>
    this.#do("removing", async () => {
      const { store, provider } = this;
      await store.ours(store.backend.removeKey(provider.id));
      store.keyChanged(provider.id, null);
      this.#stop();
      this.said = store.t("providers.removed", { provider: provider.name });
    });

  #show = () =>
    this.#do("showing", async () => {
      const output = this.querySelector("output.shown");
      const shown = await this.store.ours(this.store.backend.revealKey(this.provider.id));
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
    // There is no clipboard on a page without TLS.
    await Promise.resolve(shown)
      .then((text) => navigator.clipboard.writeText(text))
      .then(
        () => (this.said = this.store.t("providers.copied")),
        () => (this.error = this.store.t("error.unexpected")),
      );
  };

  /**
   * Do something for which there is a busy state (buttons keep the keyboard: a disabled one would lose it).
   * Says what went wrong, and tells whether it was done.
   */
  async #do(busy: Busy, what: () => Promise<void>): Promise<boolean> {
    if (this.busy) return false;
    const focused = this.querySelector<HTMLElement>(":focus");
    Object.assign(this, { busy, error: "" });
    // A key is tested once it is saved, which is still worth knowing.
    if (busy !== "testing") this.said = "";
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

  /** Where the button that was used is gone, the keyboard goes on at another one of the card. */
  async #focusAgain(focused: HTMLElement): Promise<void> {
    await this.updateComplete;
    if (!focused.isConnected && !this.querySelector(":focus")) await this.#focusButton();
  }

  /** Read the keys again when a provider has waited long enough. */
  #watchRateLimit(key: StoredKey | undefined): void {
    clearTimeout(this.#cooling);
    if (!key?.rate_limited_until) return;
    const left = new Date(key.rate_limited_until).getTime() - Date.now();
    // This clock may be ahead of the database's: what should be over by now is asked for now and then.
    const wait = left > 0 ? left + 1000 : 30_000;
    if (wait < 86_400_000) this.#cooling = setTimeout(() => void this.store.refresh(), wait);
  }
}
