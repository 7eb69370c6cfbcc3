/** A text field with suggestions, as in the ARIA Authoring Practices. */

import { html, LitElement, nothing, type PropertyValues, type TemplateResult } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import { live } from "lit/directives/live.js";
import { icon } from "./icons.js";
import { matching } from "./matching.js";

export interface Choice {
  value: string;
  /** A second line. */
  note?: string;
}

let count = 0;

@customElement("supa-llm-combobox")
export class Combobox extends LitElement {
  @property() value = "";
  @property() label = "";
  /** Name of the list of suggestions. */
  @property() listLabel = "";
  @property() placeholder = "";
  /** Null while the choices are unknown. */
  @property({ attribute: false }) choices: readonly Choice[] | null = null;
  /** Whether the field accepts any text, which it then reports with every keystroke. */
  @property({ type: Boolean }) free = false;
  /** Id of a text that describes the field. */
  @property() describedBy = "";
  /** What to show below the field if its value is not one of the choices. */
  @property() warning = "";
  @property({ attribute: false }) pick: (value: string) => void = () => {};
  @property({ attribute: false }) wanted: () => void = () => {};
  @state() private open = false;
  @state() private up = false;
  @state() private focused = false;
  /** What the user typed, until it is picked or dropped. */
  @state() private typed: string | null = null;
  @state() private active = -1;
  readonly #id = `supa-llm-combobox-${++count}`;

  override createRenderRoot() {
    return this;
  }

  override render() {
    const found = this.#found;
    const open = this.open && found.length > 0;
    const warn = this.#unknown && !this.focused;
    return html`<div class="combobox">
        <input
          type="text"
          role="combobox"
          class=${this.free ? "code" : ""}
          part=${this.free ? "model" : "combobox"}
          maxlength="200"
          autocomplete="off"
          autocapitalize="off"
          spellcheck="false"
          aria-label=${this.label || nothing}
          aria-autocomplete="list"
          aria-expanded=${open}
          aria-controls="${this.#id}-list"
          aria-activedescendant=${open && this.active >= 0 ? `${this.#id}-${this.active}` : nothing}
          aria-describedby=${[this.describedBy, warn && `${this.#id}-warning`].filter(Boolean).join(" ") || nothing}
          placeholder=${this.placeholder || nothing}
          .value=${live(this.typed ?? this.value)}
          @focus=${() => {
            this.focused = true;
            this.wanted();
          }}
          @blur=${this.#left}
          @click=${this.#show}
          @input=${this.#input}
          @keydown=${this.#key}
        />
        ${icon("chevron")}
        <ul
          id="${this.#id}-list"
          class="options ${this.up ? "up" : ""}"
          role="listbox"
          aria-label=${this.listLabel}
          ?hidden=${!open}
          @pointerdown=${(event: Event) => event.preventDefault()}
        >
          ${found.map((choice, at) => this.#option(choice, at))}
        </ul>
      </div>
      ${
        warn
          ? html`<p class="combobox-warning small warn" id="${this.#id}-warning" role="status">
              ${icon("warning")}<span>${this.warning}</span>
            </p>`
          : nothing
      }`;
  }

  #option({ value, note }: Choice, at: number): TemplateResult {
    return html`<li
      id="${this.#id}-${at}"
      role="option"
      class=${at === this.active ? "active" : ""}
      aria-selected=${value === this.value}
      @click=${() => this.#choose(value)}
    >
      <span class=${this.free ? "code" : ""}>${value}</span>
      ${note ? html`<span class="small muted">${note}</span>` : nothing}
    </li>`;
  }

  override updated(changed: PropertyValues): void {
    if (changed.has("active") && this.open)
      this.querySelector(".options .active")?.scrollIntoView({ block: "nearest" });
  }

  get #found(): readonly Choice[] {
    return this.open ? matching(this.choices ?? [], this.typed) : [];
  }

  get #unknown(): boolean {
    const { choices, value, warning } = this;
    return (
      warning !== "" && value !== "" && !!choices?.length && !choices.some((choice) => choice.value === value)
    );
  }

  #show = () => {
    const { bottom } = this.getBoundingClientRect();
    this.up = window.innerHeight - bottom < 260 && bottom > window.innerHeight / 2;
    this.open = true;
    this.active = this.#found.findIndex(({ value }) => value === this.value);
  };

  #close(): void {
    this.open = false;
    this.typed = null;
    this.active = -1;
  }

  #left = () => {
    this.focused = false;
    if (this.free && this.typed !== null && this.typed !== this.typed.trim()) this.pick(this.typed.trim());
    this.#close();
  };

  #choose(value: string): void {
    this.#close();
    this.pick(value);
  }

  #input = (event: Event) => {
    if (!this.open) this.#show();
    this.typed = (event.target as HTMLInputElement).value;
    this.active = this.free || !this.typed ? -1 : 0;
    if (this.free) this.pick(this.typed);
  };

  #key = (event: KeyboardEvent) => {
    const found = this.#found;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      const step = event.key === "ArrowDown" ? 1 : -1;
      if (!this.open) this.#show();
      else
        this.active =
          (Math.max(this.active + step, this.active < 0 && step < 0 ? -2 : -1) + found.length) %
          (found.length || 1);
    } else if (event.key === "Enter" && this.open && found[this.active])
      this.#choose(found[this.active]!.value);
    else if (event.key === "Escape" && this.open) this.#close();
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
}
