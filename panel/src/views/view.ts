/** What all views share. They are drawn in the panel's own shadow root, so that its styles and parts reach them. */

import { LitElement, type PropertyValues } from "lit";
import { property } from "lit/decorators.js";
import type { Store } from "../store.js";

export abstract class View extends LitElement {
  @property({ attribute: false }) store!: Store;

  override createRenderRoot() {
    return this;
  }

  /** Nothing is left to be drawn of a user who has signed out, or by a view that was taken away. */
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
