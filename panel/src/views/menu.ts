/** A menu button, as in the ARIA Authoring Practices. */

import { html, LitElement, nothing, type TemplateResult } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import { icon, type IconName } from "./icons.js";

export interface MenuItem {
  label: string;
  icon: IconName;
  look?: "danger";
  disabled?: boolean;
  /** What it does, or the page that it opens. */
  run?: () => void;
  href?: string;
}

let count = 0;

@customElement("supa-llm-menu")
export class Menu extends LitElement {
  @property() label = "";
  @property({ attribute: false }) items: MenuItem[] = [];
  @state() private open = false;
  @state() private up = false;
  readonly #id = `supa-llm-menu-${++count}`;

  override createRenderRoot() {
    return this;
  }

  override disconnectedCallback(): void {
    this.#close();
    super.disconnectedCallback();
  }

  override render() {
    return html`
      <button
        type="button"
        class="icon-only"
        part="menu-button"
        aria-label=${this.label}
        aria-haspopup="menu"
        aria-expanded=${this.open}
        aria-controls=${this.open ? this.#id : nothing}
        @click=${() => (this.open ? this.#close() : this.#show(0))}
        @keydown=${this.#buttonKey}
      >
        ${icon("more")}
      </button>
      ${
        this.open
          ? html`<div
              class="menu ${this.up ? "up" : ""}"
              part="menu"
              id=${this.#id}
              role="menu"
              aria-label=${this.label}
              @keydown=${this.#menuKey}
              @focusout=${this.#left}
            >
              ${this.items.map((item) => this.#item(item))}
            </div>`
          : nothing
      }
    `;
  }

  #item(item: MenuItem): TemplateResult {
    if (item.href)
      return html`<a
        class="button"
        role="menuitem"
        tabindex="-1"
        href=${item.href}
        target="_blank"
        rel="noopener noreferrer"
        @click=${() => this.#close(true)}
        >${icon(item.icon)}<span>${item.label}</span></a
      >`;
    return html`<button
      type="button"
      role="menuitem"
      tabindex="-1"
      class=${item.look ?? ""}
      aria-disabled=${item.disabled ? "true" : nothing}
      @click=${() => this.#choose(item)}
    >
      ${icon(item.icon)}<span>${item.label}</span>
    </button>`;
  }

  #choose(item: MenuItem): void {
    if (item.disabled) return;
    // First, so that a dialog that the item opens returns the focus to the button.
    this.#close(true);
    item.run?.();
  }

  get #button(): HTMLElement | null {
    return this.querySelector<HTMLElement>("[aria-haspopup]");
  }

  get #entries(): HTMLElement[] {
    return [...this.querySelectorAll<HTMLElement>("[role=menuitem]")];
  }

  #show(focus: number): void {
    const below = window.innerHeight - (this.#button?.getBoundingClientRect().bottom ?? 0);
    this.up = below < this.items.length * 40 + 24 && below < window.innerHeight / 2;
    this.open = true;
    document.addEventListener("pointerdown", this.#pressed);
    void this.updateComplete.then(() => this.#entries.at(focus)?.focus());
  }

  #close(focus = false): void {
    document.removeEventListener("pointerdown", this.#pressed);
    this.open = false;
    if (focus) this.#button?.focus();
  }

  #pressed = (event: Event) => {
    if (!event.composedPath().includes(this)) this.#close();
  };

  #left = ({ relatedTarget }: FocusEvent) => {
    if (relatedTarget instanceof Node && !this.contains(relatedTarget)) this.#close();
  };

  #buttonKey = (event: KeyboardEvent) => {
    const focus = { ArrowDown: 0, ArrowUp: -1 }[event.key];
    if (focus === undefined) return;
    event.preventDefault();
    this.#show(focus);
  };

  #menuKey = (event: KeyboardEvent) => {
    const entries = this.#entries;
    const at = entries.findIndex((entry) => entry.matches(":focus"));
    const to = {
      ArrowDown: (at + 1) % entries.length,
      ArrowUp: (at - 1 + entries.length) % entries.length,
      Home: 0,
      End: entries.length - 1,
    }[event.key];
    if (event.key === "Escape") this.#close(true);
    else if (event.key === "Tab") return this.#close(true);
    else if (to !== undefined) entries[to]?.focus();
    else if (event.key.length === 1 && event.key !== " ") this.#find(event.key, at);
    else return;
    event.preventDefault();
    event.stopPropagation();
  };

  /** Focus the next item that begins with this letter. */
  #find(letter: string, at: number): void {
    const entries = this.#entries;
    const later = [...entries.slice(at + 1), ...entries.slice(0, at + 1)];
    later.find((entry) => entry.textContent?.trim().toLowerCase().startsWith(letter.toLowerCase()))?.focus();
  }
}
