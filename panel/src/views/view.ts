/** The base of all views. Views render into the panel's shadow root, so its styles and parts reach them. */

import { LitElement, type PropertyValues } from "lit";
import { property } from "lit/decorators.js";
import type { Store } from "../store.js";

export abstract class View extends LitElement {
  @property({ attribute: false }) store!: Store;

  override createRenderRoot() {
    return this;
  }

  /** After sign-out, or once removed, a view renders nothing. */
  override shouldUpdate(_: PropertyValues): boolean {
    return this.isConnected && this.store.state.status === "ready";
  }

  override update(changed: PropertyValues): void {
    keepFocus(this.getRootNode() as ShadowRoot, () => super.update(changed));
  }

  override connectedCallback(): void {
    super.connectedCallback();
    this.store?.addEventListener("change", this.#update);
  }

  override disconnectedCallback(): void {
    this.store?.removeEventListener("change", this.#update);
    super.disconnectedCallback();
  }

  #update = () => this.requestUpdate();
}

/** Draw. If that removes the focused control, such as Save or a revoked invitation, the focus moves to the tab. */
export function keepFocus(root: ShadowRoot, draw: () => void): void {
  const focused = root.activeElement;
  draw();
  if (focused && !focused.isConnected) root.querySelector<HTMLElement>("[role=tabpanel]")?.focus();
}
