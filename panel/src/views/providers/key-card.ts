/** One provider's card. A typed key exists in its input field and nowhere else. */

import { html, nothing, type TemplateResult } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import { OutdatedAnswer, type Store } from "../../store.js";
import type { TextName } from "../../texts/index.js";
import type { KeyCheck, Provider, Key } from "../../types.js";
import { icon, pill } from "../icons.js";
import "../mark.js";
import "../menu.js";
import type { MenuItem } from "../menu.js";
import { keyState } from "./key-state.js";
import { View } from "../view.js";

/** How long a revealed key stays visible. */
const SHOWN_SECONDS = 30;

/** Whose keys a card shows. */
export interface KeyHolder {
  keys: ReadonlyMap<string, Key>;
  /** Whether the user may add, check, replace and remove them. */
  editable: boolean;
  /** What to say about a provider without a key, and above the field for one. */
  addHint: TextName;
  input: TextName;
  set(provider: string, key: string): Promise<Key>;
  remove(provider: string): Promise<null>;
  /** Check the stored key. */
  check(provider: string): Promise<KeyCheck>;
  checked(key: Key): void;
  changed(provider: string, key: Key | null): void;
}

function ownKeys(store: Store): KeyHolder {
  const { backend } = store;
  return {
    keys: store.loaded.keys,
    editable: true,
    addHint: "providers.add_hint",
    input: "providers.input",
    set: backend.setKey,
    remove: backend.removeKey,
    check: backend.checkKey,
    checked: (key) => store.keyChecked(key),
    changed: (provider, key) => store.keyChanged(provider, key),
  };
}

type Busy = "saving" | "checking" | "removing" | "showing" | null;
/** The dialog that is open. */
type Dialog = "nothing" | "typing" | "removing" | "showing";

@customElement("supa-llm-key-card")
export class KeyCard extends View {
  @property({ attribute: false }) provider!: Provider;
  /** A team's keys; null: the user's. */
  @property({ attribute: false }) team: KeyHolder | null = null;
  @state() private dialog: Dialog = "nothing";
  @state() private busy: Busy = null;
  @state() private error = "";
  @state() private result: KeyCheck | null = null;
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

  get #holder(): KeyHolder {
    return this.team ?? ownKeys(this.store);
  }

  override render() {
    const { store, provider, team } = this;
    const key = this.#holder.keys.get(provider.id);
    this.#watchRest(key);
    return html`<article class="card key-card" part="provider" aria-label=${provider.name}>
      <div class="key-head">
        <supa-llm-mark .provider=${provider.id} .name=${provider.name}></supa-llm-mark>
        <h2>${provider.name}</h2>
        ${this.busy === "checking" && this.dialog === "nothing" ? pill("muted", "spinner", store.t("providers.checking"), "key-state") : keyState(store, provider, key, team !== null)}
      </div>
      <div class="key-body small">
        ${key ? this.#facts(key) : this.#invitation()} ${this.#messages("nothing")}
      </div>
      ${
        this.#holder.editable
          ? html`<div class="key-foot">${this.#primary(key)} ${this.#menu(key)}</div>
              ${this.#dialog(key)}`
          : nothing
      }
    </article>`;
  }

  #invitation(): TemplateResult {
    const { store, provider } = this;
    const source = this.team ? undefined : store.payers?.get(provider.id);
    if (source === "team") return html`<p class="muted">${store.t("providers.team_pays")}</p>`;
    return source === "operator"
      ? html`<p class="muted">${store.t("providers.app_pays")}</p>`
      : html`<p class="muted">${store.t(this.#holder.addHint, { provider: provider.name })}</p>`;
  }

  #facts(key: Key): TemplateResult {
    const { t, formats } = this.store;
    const used = key.last_used_at ? formats.ago(key.last_used_at) : t("providers.never");
    const title = key.last_used_at ? formats.time(key.last_used_at) : nothing;
    return html`<dl class="facts">
        <dt class="muted">${t("providers.key")}</dt>
        <dd class="code">${key.hint}</dd>
        <dt class="muted">${t("providers.last_used")}</dt>
        <dd title=${title}>${used}</dd>
        ${this.team ? nothing : this.#payer()}
      </dl>
      ${this.provider.enabled ? nothing : html`<p>${t("providers.withdrawn")}</p>`}`;
  }

  /** Whose key pays. A key that is no candidate for any request is not in use. */
  #payer(): TemplateResult {
    const { t, payers } = this.store;
    const source = payers?.get(this.provider.id);
    const unused = !source && (payers !== null || !this.provider.enabled);
    return html`<dt class="muted">${t(unused ? "providers.in_use" : "providers.paid_by")}</dt>
      <dd>${unused ? t("word.no") : source ? t(`source.${source}`) : "…"}</dd>`;
  }

  /** The one thing to do next. */
  #primary(key: Key | undefined): TemplateResult {
    const { store, provider } = this;
    const { t } = store;
    const of = { provider: provider.name };
    const busy = this.busy !== null;
    if (!provider.enabled)
      return html`<button
        class="danger"
        aria-disabled=${busy}
        aria-label=${t("providers.remove.of", of)}
        @click=${() => this.#open("removing")}
      >
        ${t("providers.remove")}
      </button>`;
    if (!key)
      return html`<button aria-label=${t("providers.add.of", of)} @click=${() => this.#open("typing")}>
        ${icon("plus")}${t("providers.add")}
      </button>`;
    if (store.backend.runtime === null || key.status === "rejected")
      return html`<button
        class=${key.status === "rejected" ? "primary" : ""}
        aria-disabled=${busy}
        aria-label=${t("providers.replace.of", of)}
        @click=${() => this.#open("typing")}
      >
        ${t("providers.replace")}
      </button>`;
    return html`<button
      aria-disabled=${busy}
      aria-label=${t("providers.check.of", of)}
      @click=${() => this.#check()}
    >
      ${t("providers.check")}
    </button>`;
  }

  #menu(key: Key | undefined): TemplateResult | typeof nothing {
    const { store, provider } = this;
    const { t } = store;
    if (!key || !provider.enabled) return nothing;
    const disabled = this.busy !== null;
    const rejected = key.status === "rejected";
    const items: (MenuItem | false)[] = [
      store.backend.runtime !== null &&
        rejected && { label: t("providers.check"), icon: "check", disabled, run: () => void this.#check() },
      !this.team &&
        store.loaded.settings.reveal_allowed && {
          label: t("providers.show"),
          icon: "eye",
          disabled,
          run: () => void this.#show(),
        },
      store.backend.runtime !== null &&
        !rejected && {
          label: t("providers.replace"),
          icon: "swap",
          disabled,
          run: () => this.#open("typing"),
        },
      provider.key_url.startsWith("https://") && {
        label: t("providers.manage", { provider: provider.name }),
        icon: "external",
        href: provider.key_url,
      },
      {
        label: t("providers.remove"),
        icon: "trash",
        look: "danger",
        disabled,
        run: () => this.#open("removing"),
      },
    ];
    return html`<supa-llm-menu
      .label=${t("providers.more", { provider: provider.name })}
      .items=${items.filter((item) => item !== false)}
    ></supa-llm-menu>`;
  }

  #dialog(key: Key | undefined): TemplateResult {
    const { store, provider } = this;
    const titles = {
      typing: `providers.${key ? "replace" : "add"}.of`,
      removing: "providers.remove.of",
      showing: "providers.input",
      nothing: "",
    };
    const title = titles[this.dialog];
    return html`<dialog
      aria-labelledby="dialog-of-${provider.id}"
      part="dialog"
      @cancel=${(event: Event) => {
        if (this.busy) event.preventDefault();
      }}
      @close=${this.#closed}
      @click=${this.#pressed}
    >
      <div class="stack">
        <h2 id="dialog-of-${provider.id}" class="row">
          ${title ? store.t(title as TextName, { provider: provider.name }) : nothing}
        </h2>
        ${this.dialog === "typing" ? this.#form() : nothing}
        ${this.dialog === "removing" && key ? this.#question(key) : nothing}
        <div ?hidden=${this.dialog !== "showing"} class="stack">
          <output class="code shown card" part="shown-key"></output>
          <p class="small muted">${store.translator.count("providers.showing", this.secondsLeft)}</p>
          <div class="actions">
            <button @click=${this.#copy}>${store.t("providers.copy")}</button>
            <button class="primary" @click=${this.#close}>${store.t("providers.hide")}</button>
          </div>
        </div>
      </div>
    </dialog>`;
  }

  /** What happened, in the dialog or, without one, in the card. */
  #messages(where: Dialog): TemplateResult {
    const here = this.dialog === where;
    return html`<div role="status">${here && this.result ? this.#result(this.result) : nothing}</div>
      ${here && this.error ? html`<p class="bad" role="alert">${this.error}</p>` : nothing}`;
  }

  #question(key: Key): TemplateResult {
    const { t } = this.store;
    return html`<p>${t("providers.remove.question", { hint: key.hint })}</p>
      ${this.#messages("removing")}
      <div class="actions">
        <button @click=${this.#close}>${t("word.cancel")}</button>
        <button class="danger" autofocus aria-disabled=${this.busy !== null} @click=${this.#remove}>
          ${t("providers.remove.yes")}
        </button>
      </div>`;
  }

  #form(): TemplateResult {
    const { store, provider } = this;
    const { t } = store;
    const id = `key-of-${provider.id}`;
    return html`<form class="stack" autocomplete="off" @submit=${this.#save}>
      ${
        provider.key_url.startsWith("https://")
          ? html`<p class="small">
              ${t("providers.no_key_yet")}
              <a href=${provider.key_url} target="_blank" rel="noopener noreferrer"
                >${t("providers.get_key", { provider: provider.name })}</a
              >
            </p>`
          : nothing
      }
      <label class="field" for=${id}>
        <span>${t(this.#holder.input, { provider: provider.name })}</span>
        <input
          id=${id}
          class="typed code"
          type="password"
          autofocus
          autocomplete="off"
          autocapitalize="off"
          spellcheck="false"
          data-1p-ignore
          data-lpignore="true"
          data-bwignore
          aria-describedby="${id}-example"
        />
      </label>
      <p class="small muted" id="${id}-example">
        ${provider.key_example ? html`${t("providers.input.example", { example: provider.key_example })}<br />` : nothing}${t("providers.input.stored")}
      </p>
      <label class="check small"
        ><input type="checkbox" @change=${this.#toggleVisible} />${t("providers.input.show")}</label
      >
      ${this.#messages("typing")}
      <div class="actions">
        <button type="button" class="quiet" aria-disabled=${this.busy !== null} @click=${this.#close}>
          ${t("word.cancel")}
        </button>
        ${
          store.backend.runtime === null
            ? nothing
            : html`<button
                type="button"
                aria-disabled=${this.busy !== null}
                @click=${() => this.#check(true)}
              >
                ${this.busy === "checking" ? t("providers.checking") : t("providers.check_typed")}
              </button>`
        }
        <button class="primary" type="submit" aria-disabled=${this.busy !== null}>
          ${this.busy === "saving" ? t("providers.saving") : t("providers.save")}
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

  #open(dialog: Dialog): void {
    if (this.busy) return;
    Object.assign(this, { dialog, error: "", result: null });
    void this.updateComplete.then(() => {
      const shown = this.querySelector("dialog");
      if (shown && !shown.open && this.isConnected) shown.showModal();
    });
  }

  /** Open the form for a key. */
  typeKey(): void {
    this.#open("typing");
  }

  #close = () => {
    if (!this.busy) this.querySelector("dialog")?.close();
  };

  #closed = () => {
    this.#clearInput();
    this.#hide();
    Object.assign(this, { dialog: "nothing", error: "", result: null });
    void this.#focusButton();
  };

  /** A click beside the dialog closes it, unless a key was typed. */
  #pressed = (event: MouseEvent) => {
    if (event.target instanceof HTMLDialogElement && !this.#input?.value) this.#close();
  };

  /** The browser returns the focus to the button that opened the dialog, unless that is gone. */
  async #focusButton(): Promise<void> {
    await this.updateComplete;
    if (!this.querySelector(":focus")) this.querySelector<HTMLElement>(".key-foot button")?.focus();
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
      const holder = this.#holder;
      const stored = await store.whileSignedIn(holder.set(provider.id, input.value.trim()));
      input.value = "";
      holder.changed(provider.id, stored);
      store.toast(provider.id, store.t("providers.saved", { provider: provider.name }));
    });
    if (!saved) return;
    this.#close();
    await this.updateComplete;
    if (this.store.backend.runtime !== null) await this.#check();
  };

  async #check(typed = false): Promise<void> {
    const input = this.#input;
    if (typed && !input?.value) return input?.focus();
    this.result = null;
    await this.#do("checking", async () => {
      const { store, provider } = this;
      const holder = this.#holder;
      const check = await store.whileSignedIn(
        typed ? store.backend.checkKey(provider.id, input?.value.trim()) : holder.check(provider.id),
      );
      // The check of a typed key returns the user's own key.
      if (check.key && !(typed && this.team)) holder.checked(check.key);
      if (check.result === "works" && !typed)
        store.toast(provider.id, store.t("providers.works", { provider: provider.name }));
      else this.result = check;
    });
  }

  #remove = async () => {
    const removed = await this.#do("removing", async () => {
      const { store, provider } = this;
      const holder = this.#holder;
      await store.whileSignedIn(holder.remove(provider.id));
      store.toast(provider.id, store.t("providers.removed", { provider: provider.name }));
      holder.changed(provider.id, null);
    });
    if (removed) this.#close();
  };

  #show = () =>
    this.#do("showing", async () => {
      const shown = await this.store.whileSignedIn(this.store.backend.revealKey(this.provider.id));
      const output = this.querySelector("output.shown");
      if (!output || !this.isConnected || document.visibilityState !== "visible") return;
      output.textContent = shown;
      this.secondsLeft = SHOWN_SECONDS;
      this.busy = null;
      this.#open("showing");
      clearInterval(this.#timer);
      this.#timer = setInterval(() => {
        this.secondsLeft -= 1;
        if (this.secondsLeft <= 0) this.#close();
      }, 1000);
    });

  #hide = () => {
    clearInterval(this.#timer);
    this.querySelector("output.shown")?.replaceChildren();
    this.secondsLeft = 0;
  };

  #hideWhenAway = () => {
    if (document.visibilityState !== "visible" && this.dialog === "showing") this.#close();
  };

  #copy = async () => {
    const { store, provider } = this;
    const shown = this.querySelector("output.shown")?.textContent ?? "";
    // Pages without TLS have no clipboard.
    await Promise.resolve(shown)
      .then((text) => navigator.clipboard.writeText(text))
      .then(
        () => store.toast(provider.id, store.t("providers.copied")),
        () => store.toast(provider.id, store.t("providers.not_copied"), "warn"),
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
    try {
      await what();
      return true;
    } catch (error) {
      if (!(error instanceof OutdatedAnswer)) this.error = this.store.explain(error);
      return false;
    } finally {
      this.busy = null;
      if (focused && !this.querySelector("dialog")?.open) void this.#focusAgain(focused);
    }
  }

  /** If the focused button is gone, focus another button of the card. */
  async #focusAgain(focused: HTMLElement): Promise<void> {
    await this.updateComplete;
    if (!focused.isConnected) await this.#focusButton();
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
