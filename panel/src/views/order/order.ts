/** The Order tab: the order of providers, their models, defaults and the use of the app's keys. */

import { css, html, nothing, type PropertyValues, type TemplateResult } from "lit";
import { customElement, state } from "lit/decorators.js";
import { repeat } from "lit/directives/repeat.js";
import type Sortable from "sortablejs";
import type { Provider } from "../../types.js";
import { ModelLists } from "../models.js";
import "./spending-limit.js";
import { moveItem } from "../move-item.js";
import { View } from "../view.js";
import "../route-preview.js";
import { routePreviewStyles } from "../route-preview.js";

export const orderStyles = css`
  ${routePreviewStyles}
  supa-llm-order,
  supa-llm-spending-limit {
    display: block;
  }
  .order-row {
    display: flex;
    flex-wrap: wrap;
    align-items: end;
    gap: 0.5rem 0.75rem;
    padding: 0.6rem;
    border: 1px solid var(--_line);
    border-radius: var(--_radius);
    background: var(--_surface);
  }
  .order-row.off .order-name {
    color: var(--_muted);
  }
  .order-head {
    display: flex;
    align-items: center;
    gap: 0.6rem;
    flex: 1 1 12rem;
    min-inline-size: 0;
    min-block-size: 2.5rem;
  }
  .order-handle {
    cursor: grab;
    touch-action: none;
    user-select: none;
    padding: 0.4rem;
    color: var(--_muted);
  }
  .order-name {
    flex: 1 1 auto;
    min-inline-size: 0;
    font-weight: 600;
  }
  .order-moves {
    display: flex;
    gap: 0.35rem;
  }
  .order-moves button {
    min-inline-size: 2.5rem;
    padding-inline: 0.5rem;
  }
  .order-dragged {
    opacity: 0.4;
  }
  .spending-limit {
    align-items: end;
  }
`;

@customElement("supa-llm-order")
export class OrderView extends View {
  /** The last move, for screen readers. */
  @state() private moveAnnouncement = "";
  /** Counts changes of the spending limit, because each may change the route. */
  @state() private limitChanges = 0;
  #models = new ModelLists(this);
  #sortable: Sortable | null = null;
  #dragging = false;

  override disconnectedCallback(): void {
    this.#sortable?.destroy();
    this.#sortable = null;
    super.disconnectedCallback();
  }

  override connectedCallback(): void {
    super.connectedCallback();
    void this.updateComplete.then(() => this.#makeSortable());
  }

  /** Lit must not move rows during a drag. */
  override shouldUpdate(changed: PropertyValues): boolean {
    return !this.#dragging && super.shouldUpdate(changed);
  }

  async #makeSortable(): Promise<void> {
    const { default: Library } = await import("sortablejs");
    const list = this.querySelector<HTMLElement>("#order-list");
    if (!list || !this.isConnected || this.#sortable) return;
    let after: Node | null = null;
    this.#sortable = new Library(list, {
      handle: ".order-handle",
      draggable: ".order-row",
      ghostClass: "order-dragged",
      // The browser's own dragging supports neither touch nor the shadow root's styles.
      forceFallback: true,
      animation: 120,
      onChoose: ({ item }) => {
        after = item.nextSibling;
      },
      onStart: () => {
        this.#dragging = true;
      },
      onEnd: ({ item }) => {
        const ids = [...list.querySelectorAll<HTMLElement>(":scope > .order-row")].map(
          (row) => row.dataset["provider"] ?? "",
        );
        // Undo the move, because Lit owns the list and renders the new order itself.
        list.insertBefore(item, after);
        this.#dragging = false;
        this.#reorder(ids, item.dataset["provider"] ?? "");
        this.requestUpdate();
      },
    });
  }

  #reorder(ids: string[], id: string): void {
    if (ids.join() === this.store.ordered.map((provider) => provider.id).join()) return;
    this.store.reorder(ids);
    this.moveAnnouncement = this.store.t("order.moved", {
      provider: this.store.providerName(id),
      place: ids.indexOf(id) + 1,
      count: ids.length,
    });
  }

  async #move(id: string, from: number, step: -1 | 1): Promise<void> {
    const ids = this.store.ordered.map((provider) => provider.id);
    this.#reorder(moveItem(ids, from, from + step), id);
    await this.updateComplete;
    const row = [...this.querySelectorAll<HTMLElement>(".order-row")].find(
      (other) => other.dataset["provider"] === id,
    );
    const buttons = [...(row?.querySelectorAll<HTMLButtonElement>(".order-moves button") ?? [])];
    const same = buttons[step === -1 ? 0 : 1];
    // At either end of the list that button is disabled; focus the row's other one.
    (same?.disabled ? buttons.find((button) => !button.disabled) : same)?.focus();
  }

  override render() {
    const { store } = this;
    const { t, ordered } = store;
    const { draft, providers, operatorProviders } = store.loaded;
    return html`
      <div class="stack">
        <section class="stack" aria-labelledby="order-title">
          <h2 id="order-title">${t("order.title")}</h2>
          <p class="muted small">${t("order.about")}</p>
          <ol id="order-list" class="stack tight" part="order">
            ${repeat(
              ordered,
              ({ id }) => id,
              (provider, at) => this.#row(provider, at, ordered.length),
            )}
          </ol>
          <p class="hidden" role="status" aria-live="polite" data-test="moved">${this.moveAnnouncement}</p>
          ${this.#models.datalists(store)}
        </section>
        <section class="card stack" aria-labelledby="defaults-title">
          <h2 id="defaults-title">${t("order.defaults")}</h2>
          <label class="field">
            <span>${t("order.default_provider")}</span>
            <select
              aria-describedby="default-about"
              @change=${(event: Event) =>
                store.edit(["default_provider"], (event.target as HTMLSelectElement).value || undefined)}
            >
              <option value="" .selected=${draft.default_provider === null}>
                ${t("order.default_provider_none")}
              </option>
              ${providers.map(
                ({ id, name }) =>
                  html`<option value=${id} .selected=${draft.default_provider === id}>${name}</option>`,
              )}
            </select>
          </label>
          <p class="muted small" id="default-about">${t("order.default_provider_about")}</p>
          <label class="check">
            <input
              type="checkbox"
              role="switch"
              aria-describedby="fallbacks-about"
              .checked=${draft.enable_fallbacks}
              @change=${(event: Event) =>
                store.edit(["enable_fallbacks"], (event.target as HTMLInputElement).checked)}
            />
            <span>${t("order.fallbacks")}</span>
          </label>
          <p class="muted small" id="fallbacks-about">${t("order.fallbacks_about")}</p>
          ${this.#zone()}
        </section>
        <section class="card stack" aria-labelledby="operator-title">
          <h2 id="operator-title">${t("order.operator")}</h2>
          ${operatorProviders.length ? this.#operator() : html`<p>${t("order.operator_none")}</p>`}
        </section>
        <supa-llm-route-preview .store=${store} .limitChanges=${this.limitChanges}></supa-llm-route-preview>
      </div>
    `;
  }

  #row({ id, name }: Provider, at: number, count: number): TemplateResult {
    const { store } = this;
    const { t } = store;
    const preference = store.loaded.draft.provider_preferences[id];
    const on = preference?.enabled !== false;
    const place = { provider: name, place: at + 1, count };
    return html`<li class="order-row ${on ? "" : "off"}" data-provider=${id} part="order-row">
      <div class="order-head">
        <span class="order-handle" aria-hidden="true" title=${t("order.drag")}>⠿</span>
        <span class="muted">${at + 1}</span>
        <span class="order-name">${name}</span>
        <label class="check small">
          <input
            type="checkbox"
            role="switch"
            aria-label=${t("order.use", { provider: name })}
            .checked=${on}
            @change=${(event: Event) =>
              store.edit(
                ["provider_preferences", id, "enabled"],
                (event.target as HTMLInputElement).checked ? undefined : false,
              )}
          />
          <span aria-hidden="true">${t(on ? "word.on" : "word.off")}</span>
        </label>
      </div>
      ${this.#models.field(store, {
        provider: id,
        value: preference?.model,
        label: t("order.model_of", { provider: name }),
        shown: t("order.model"),
        edit: (model) => store.edit(["provider_preferences", id, "model"], model),
      })}
      <div class="order-moves">
        <button
          ?disabled=${at === 0}
          aria-label=${t("order.up", place)}
          @click=${() => this.#move(id, at, -1)}
        >
          <span aria-hidden="true">↑</span>
        </button>
        <button
          ?disabled=${at === count - 1}
          aria-label=${t("order.down", place)}
          @click=${() => this.#move(id, at, 1)}
        >
          <span aria-hidden="true">↓</span>
        </button>
      </div>
    </li>`;
  }

  #operator(): TemplateResult {
    const { store } = this;
    const { t } = store;
    const { draft, operatorProviders } = store.loaded;
    const providers = operatorProviders.map((id) => store.providerName(id)).join(", ");
    return html`
      <label class="check">
        <input
          type="checkbox"
          role="switch"
          aria-describedby="operator-about"
          .checked=${draft.allow_operator_keys}
          @change=${(event: Event) =>
            store.edit(["allow_operator_keys"], (event.target as HTMLInputElement).checked)}
        />
        <span>${t("order.consent")}</span>
      </label>
      <p class="muted small" id="operator-about">${t("order.consent_about", { providers })}</p>
      ${
        draft.allow_operator_keys
          ? html`<supa-llm-spending-limit
              .store=${store}
              @spending-limit-changed=${() => this.limitChanges++}
            ></supa-llm-spending-limit>`
          : nothing
      }
    `;
  }

  #zone(): TemplateResult {
    const { store } = this;
    const chosen = store.loaded.draft.time_zone;
    // Some browsers do not list UTC, or list the stored zone under another name.
    const zones = new Set(["UTC", chosen, ...Intl.supportedValuesOf("timeZone")]);
    return html`<label class="field">
        <span>${store.t("order.time_zone")}</span>
        <select
          aria-describedby="zone-about"
          @change=${(event: Event) => store.edit(["time_zone"], (event.target as HTMLSelectElement).value)}
        >
          ${[...zones].map(
            (zone) => html`<option value=${zone} .selected=${zone === chosen}>${zone}</option>`,
          )}
        </select>
      </label>
      <p class="muted small" id="zone-about">${store.t("order.time_zone_about")}</p>`;
  }
}
