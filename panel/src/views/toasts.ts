/**
 * Short messages about what happened. A click or Escape dismisses them. They leave by themselves, but not while
 * somebody points at one or focuses it.
 */

import { html } from "lit";
import { customElement } from "lit/decorators.js";
import { repeat } from "lit/directives/repeat.js";
import type { Toast } from "../store.js";
import { icon } from "./icons.js";
import { View } from "./view.js";

/** Success is quickly noticed, and a long text takes longer to read. */
const shownMs = ({ look, text }: Toast) => Math.max(look === "good" ? 3000 : 6000, text.length * 60);

@customElement("supa-llm-toasts")
export class Toasts extends View {
  #timers = new Map<Toast, ReturnType<typeof setTimeout>>();

  override connectedCallback(): void {
    super.connectedCallback();
    // The focus can be anywhere, also outside the panel.
    document.addEventListener("keydown", this.#escape);
  }

  override disconnectedCallback(): void {
    document.removeEventListener("keydown", this.#escape);
    this.#wait();
    super.disconnectedCallback();
  }

  override render() {
    const { store } = this;
    return html`<div
      class="toasts ${store.changeCount || store.teamChanges ? "above" : ""}"
      popover="manual"
      role="status"
      part="status"
      @pointerenter=${this.#wait}
      @focusin=${this.#wait}
      @pointerleave=${this.#go}
      @focusout=${this.#go}
    >
      ${repeat(
        store.toasts,
        (toast) => toast,
        (toast) =>
          html`<div class="toast" part="toast" @click=${() => store.dismissToast(toast)}>
            <span class=${toast.look}>${icon(toast.look === "good" ? "check" : "warning")}</span>
            <span>${toast.text}</span>
            <button type="button" class="icon-only" aria-label=${store.t("toast.dismiss")}>
              ${icon("close")}
            </button>
          </div>`,
      )}
    </div>`;
  }

  override updated(): void {
    const popover = this.querySelector<HTMLElement>("[popover]");
    // Newer dialogs would cover it.
    const dialog = (this.getRootNode() as ParentNode).querySelector("dialog:modal") !== null;
    if (popover?.matches(":popover-open") && dialog && this.store.toasts.length) popover.hidePopover();
    if (!popover?.matches(":popover-open")) popover?.showPopover();
    if (!this.querySelector(":focus, .toasts:hover")) this.#go();
  }

  #go = () => {
    for (const toast of this.store.toasts)
      if (!this.#timers.has(toast))
        this.#timers.set(
          toast,
          setTimeout(() => this.store.dismissToast(toast), shownMs(toast)),
        );
    for (const [toast, timer] of this.#timers)
      if (!this.store.toasts.includes(toast)) {
        clearTimeout(timer);
        this.#timers.delete(toast);
      }
  };

  #escape = (event: KeyboardEvent) => {
    if (event.key === "Escape" && !event.defaultPrevented)
      for (const toast of this.store.toasts) this.store.dismissToast(toast);
  };

  #wait = () => {
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
  };
}
