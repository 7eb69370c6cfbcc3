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
