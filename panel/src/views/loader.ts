/** Loads a view's data: shows progress and errors, retries, and drops outdated answers. */

import { html, type TemplateResult } from "lit";
import type { Store } from "../store.js";
import { icon } from "./icons.js";
import { loadingWith } from "./skeleton.js";

export class Loader<T> {
  value: T | null = null;
  error: unknown = null;
  busy = false;
  #latest = 0;

  constructor(private readonly changed: () => void) {}

  async load(ask: () => Promise<T>): Promise<void> {
    const number = ++this.#latest;
    this.busy = true;
    this.error = null;
    this.changed();
    try {
      const value = await ask();
      if (number === this.#latest) this.value = value;
    } catch (error) {
      if (number === this.#latest) this.error = error;
    } finally {
      if (number === this.#latest) {
        this.busy = false;
        this.changed();
      }
    }
  }

  /** The error or progress to show above the value. */
  state(store: Store, retry: () => void, skeleton: TemplateResult): TemplateResult | null {
    if (this.error)
      return html`<div class="alert bad" role="alert" part="error">
        ${icon("warning")}<span class="grow">${store.explain(this.error)}</span>
        <button @click=${retry}>${store.t("state.retry")}</button>
      </div>`;
    return this.value === null ? loadingWith(store, skeleton) : null;
  }
}
