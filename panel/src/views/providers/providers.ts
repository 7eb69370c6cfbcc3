/** The Providers tab: a card per provider, with its key. */

import { css, html, nothing, type TemplateResult } from "lit";
import { customElement } from "lit/decorators.js";
import { repeat } from "lit/directives/repeat.js";
import { icon } from "../icons.js";
import "./key-card.js";
import { View } from "../view.js";

export const providersStyles = css`
  .cards {
    display: grid;
    gap: 1rem;
    grid-auto-rows: 1fr;
    grid-template-columns: repeat(auto-fill, minmax(min(100%, 19rem), 1fr));
  }
  @container supa-llm (inline-size < 41rem) {
    .cards {
      grid-auto-rows: auto;
    }
  }
  .cards > li,
  supa-llm-key-card {
    display: grid;
    grid-template-columns: minmax(0, 1fr);
  }
  .key-card {
    display: grid;
    grid-template-rows: auto 1fr auto;
    gap: 0.75rem;
  }
  .key-head {
    display: flex;
    align-items: center;
    gap: 0.65rem;
  }
  .key-head > h2 {
    flex: 1 1 auto;
    min-inline-size: 0;
  }
  .key-head > .pill {
    min-inline-size: 0;
  }
  .key-body {
    display: grid;
    align-content: start;
    gap: 0.5rem;
  }
  .key-foot {
    display: flex;
    align-items: center;
    justify-content: space-between;
    gap: 0.5rem;
  }
  .facts {
    display: grid;
    grid-template-columns: auto minmax(0, 1fr);
    gap: 0.2rem 0.9rem;
  }
  .welcome {
    display: grid;
    gap: 0.75rem 2rem;
    grid-template-columns: repeat(auto-fit, minmax(min(100%, 17rem), 1fr));
    background: var(--_raised);
  }
  .steps {
    display: grid;
    gap: 0.5rem;
    counter-reset: step;
  }
  .steps > li {
    display: flex;
    gap: 0.6rem;
    counter-increment: step;
  }
  .steps > li::before {
    content: counter(step);
    flex: none;
    inline-size: 1.4rem;
    block-size: 1.4rem;
    display: grid;
    place-items: center;
    border: 1px solid var(--_control-line);
    border-radius: 50%;
    font-size: 0.75rem;
  }
`;

@customElement("supa-llm-providers")
export class ProvidersView extends View {
  override render() {
    const { store } = this;
    const { keys, providers } = store.loaded;
    void store.wantPayers();
    const off = store.switchedOff.filter(({ id }) => keys.has(id));
    return html`<div class="stack">
      ${keys.size ? nothing : this.#empty()}
      ${store.backend.runtime === null ? html`<p class="muted small">${store.t("providers.no_checks")}</p>` : nothing}
      <ul class="cards">
        ${repeat(
          [...providers, ...off],
          ({ id }) => id,
          (provider) =>
            html`<li>
              <supa-llm-key-card
                data-provider=${provider.id}
                .store=${store}
                .provider=${provider}
              ></supa-llm-key-card>
            </li>`,
        )}
      </ul>
    </div>`;
  }

  #empty(): TemplateResult {
    const { t } = this.store;
    return html`<section class="card welcome" part="empty" aria-labelledby="welcome-title">
      <div class="stack tight">
        <h2 id="welcome-title" class="row">${icon("key")}${t("providers.none.title")}</h2>
        <p class="muted">${t("providers.none.text")}</p>
      </div>
      <ol class="steps small">
        <li>${t("providers.none.first")}</li>
        <li>${t("providers.none.second")}</li>
        <li>${t("providers.none.third")}</li>
      </ol>
    </section>`;
  }
}
