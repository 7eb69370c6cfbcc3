/** What all views share. They are drawn in the panel's own shadow root, so that its styles and parts reach them. */

import { LitElement } from "lit";
import { property } from "lit/decorators.js";
import type { Store } from "../store.js";

export abstract class View extends LitElement {
  @property({ attribute: false }) store!: Store;

  override createRenderRoot() {
    return this;
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
