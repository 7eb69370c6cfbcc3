/** The Providers tab: a card per provider, with its key. */

import { css, html, nothing, type TemplateResult } from "lit";
import { customElement, state } from "lit/decorators.js";
import { repeat } from "lit/directives/repeat.js";
import type { Candidate, Provider } from "../../types.js";
import "./key-card.js";
import { View } from "../view.js";

export const providersStyles = css`
  .cards {
    display: grid;
    gap: 1rem;
    grid-template-columns: repeat(auto-fill, minmax(min(100%, 21rem), 1fr));
  }
  .mark {
    flex: none;
    inline-size: 2.25rem;
    block-size: 2.25rem;
    border-radius: 50%;
    display: grid;
    place-items: center;
    background: var(--_raised);
    border: 1px solid var(--_line);
    font-weight: 600;
  }
  supa-llm-key-card button {
    font-size: 0.9375rem;
    min-block-size: 2.25rem;
    padding-inline: 0.6rem;
  }
  supa-llm-key-card .row {
    gap: 0.4rem;
  }
  .facts {
    display: grid;
    grid-template-columns: auto minmax(0, 1fr);
    gap: 0.15rem 0.75rem;
  }
  .steps {
    list-style: decimal;
    padding-inline-start: 1.5rem;
  }
`;

@customElement("supa-llm-providers")
export class ProvidersView extends View {
  /** Provider → whose key would pay, on the route of a request without a task. */
  @state() private payers: Map<string, Candidate["key_source"]> | null = null;
  #requested: unknown = null;

  override render() {
    const { store } = this;
    const { keys, providers } = store.loaded;
    void this.#load();
    return html`<div class="stack">
      ${keys.size ? nothing : this.#empty()}
      ${store.backend.runtime === null ? html`<p class="muted small">${store.t("providers.no_checks")}</p>` : nothing}
      <ul class="cards">
        ${repeat(
          providers,
          ({ id }: Provider) => id,
          (provider: Provider) =>
            html`<li>
              <supa-llm-key-card
                .store=${store}
                .provider=${provider}
                .payer=${this.payers ? (this.payers.get(provider.id) ?? "nobody") : null}
              ></supa-llm-key-card>
            </li>`,
        )}
        ${store.withdrawn.map(
          (id) =>
            html`<li>
              <supa-llm-key-card
                .store=${store}
                .provider=${{ id, name: id, key_url: "", key_example: "" }}
                .withdrawn=${true}
              ></supa-llm-key-card>
            </li>`,
        )}
      </ul>
    </div>`;
  }

  #empty(): TemplateResult {
    const { t } = this.store;
    return html`<div class="alert stack tight" part="empty">
      <h2>${t("providers.none.title")}</h2>
      <p>${t("providers.none.text")}</p>
      <ol class="steps">
        <li>${t("providers.none.first")}</li>
        <li>${t("providers.none.second")}</li>
        <li>${t("providers.none.third")}</li>
      </ol>
    </div>`;
  }

  /** Load who would pay, again after each change of keys or settings. */
  async #load(): Promise<void> {
    const { store } = this;
    const { keys, settings } = store.loaded;
    const requested = JSON.stringify([[...keys.values()], settings.version]);
    if (requested === this.#requested) return;
    this.#requested = requested;
    try {
      const { candidates } = await store.backend.explain(null);
      if (requested !== this.#requested) return;
      const payers = new Map<string, Candidate["key_source"]>();
      for (const { provider, key_source } of candidates)
        if (!payers.has(provider)) payers.set(provider, key_source);
      this.payers = payers;
    } catch {
      // The cards work without it; the next change tries again.
      this.payers = null;
    }
  }
}
