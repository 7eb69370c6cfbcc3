/** The Order tab: the order of providers, their models, defaults and the use of the app's keys. */

import { css, html, nothing, type PropertyValues, type TemplateResult } from "lit";
import { customElement, state } from "lit/decorators.js";
import { repeat } from "lit/directives/repeat.js";
import type Sortable from "sortablejs";
import type { Provider } from "../../types.js";
import { icon, pill } from "../icons.js";
import "../mark.js";
import "../menu.js";
import type { MenuItem } from "../menu.js";
import { ModelLists } from "../models.js";
import { moveItem } from "../move-item.js";
import { providerOptions } from "../provider-options.js";
import { keyState } from "../providers/key-state.js";
import "../route-preview.js";
import { View } from "../view.js";
import "./spending-limit.js";

export const orderStyles = css`
  supa-llm-order,
  supa-llm-spending-limit {
    display: block;
  }
  .order-list {
    padding: 0;
  }
  .order-head,
  .order-row {
    display: grid;
    grid-template-columns: 2.25rem minmax(9rem, 1fr) minmax(10rem, 20rem) 3rem 2.25rem;
    gap: 0.25rem 0.75rem;
    align-items: center;
    padding: 0.45rem 0.6rem;
  }
  .order-head {
    padding-block: 0.4rem;
    font-size: 0.8125rem;
    font-weight: 500;
    color: var(--_muted);
    background: var(--_raised);
    border-start-start-radius: inherit;
    border-start-end-radius: inherit;
  }
  .order-row {
    border-block-start: 1px solid var(--_line);
    background: var(--_surface);
  }
  .order-row:last-child {
    border-end-start-radius: var(--_radius);
    border-end-end-radius: var(--_radius);
  }
  .order-row.off .order-title {
    color: var(--_muted);
  }
  .order-handle {
    cursor: grab;
    touch-action: none;
    user-select: none;
  }
  .order-title {
    display: flex;
    flex-wrap: wrap;
    align-items: center;
    gap: 0.25rem 0.6rem;
    min-inline-size: 0;
  }
  .order-name {
    overflow-wrap: break-word;
    font-weight: 500;
  }
  .order-wide {
    grid-column: span 2;
    justify-self: end;
  }
  .order-dragged {
    opacity: 0.4;
  }
  .limit-form {
    display: flex;
    gap: 0.4rem;
    inline-size: 100%;
  }
  .limit-form > input {
    flex: 1;
    min-inline-size: 0;
  }
  supa-llm-spending-limit .setting {
    border-block-start: 1px solid var(--_line);
  }
  supa-llm-spending-limit .alert {
    margin-block-end: 0.75rem;
  }
  @container supa-llm (inline-size < 40rem) {
    .order-head {
      display: none;
    }
    .order-row:first-child {
      border-block-start: 0;
    }
    .order-row {
      grid-template-columns: 2.25rem minmax(0, 1fr) auto 2.25rem;
    }
    .order-row > supa-llm-combobox {
      grid-area: 2 / 2 / auto / 4;
    }
    .order-row > supa-llm-menu {
      grid-area: 1 / 4;
    }
    .order-row > .order-wide {
      grid-area: 2 / 2 / auto / 4;
      justify-self: start;
    }
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

  async #move(id: string, from: number, to: number): Promise<void> {
    const ids = this.store.ordered.map((provider) => provider.id);
    if (to < 0 || to >= ids.length) return;
    const focused = this.querySelector<HTMLElement>(":focus");
    this.#reorder(moveItem(ids, from, to), id);
    await this.updateComplete;
    // A row that moves loses the focus.
    focused?.focus();
  }

  #handleKey(event: KeyboardEvent, id: string, at: number): void {
    const to = { ArrowUp: at - 1, ArrowDown: at + 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    void this.#move(id, at, to);
  }

  override render() {
    const { store } = this;
    const { t, ordered } = store;
    const { draft, operatorProviders } = store.loaded;
    void store.wantPayers();
    return html`
      <div class="stack sections">
        <section class="stack" aria-labelledby="order-title">
          <div class="section-head">
            <h2 id="order-title">${t("order.title")}</h2>
            <p class="muted small">${t("order.about")}</p>
          </div>
          <div class="card order-list">
            <div class="order-head" aria-hidden="true">
              <span></span><span>${t("word.provider")}</span><span>${t("order.model")}</span
              ><span>${t("order.on")}</span><span></span>
            </div>
            <ol id="order-list" part="order">
              ${repeat(
                ordered,
                ({ id }) => id,
                (provider, at) => this.#row(provider, at, ordered.length),
              )}
            </ol>
            ${store.switchedOff.map((provider) => this.#offRow(provider))}
          </div>
          <p class="hidden" id="order-help">${t("order.handle_help")}</p>
          <p class="hidden" role="status" aria-live="polite" data-test="moved">${this.moveAnnouncement}</p>
        </section>
        <section class="stack tight" aria-labelledby="defaults-title">
          <h2 id="defaults-title">${t("order.defaults")}</h2>
          <div class="card settings">
            <div class="setting">
              <div>
                <label class="setting-name" for="default-provider">${t("order.default_provider")}</label>
                <p class="muted small" id="default-about">${t("order.default_provider_about")}</p>
              </div>
              <select
                id="default-provider"
                class="wide"
                aria-describedby="default-about"
                @change=${(event: Event) =>
                  store.edit(["default_provider"], (event.target as HTMLSelectElement).value || undefined)}
              >
                <option value="" .selected=${draft.default_provider === null}>
                  ${t("order.default_provider_none")}
                </option>
                ${providerOptions(store, draft.default_provider)}
              </select>
            </div>
            ${this.#switch("enable_fallbacks", t("order.fallbacks"), t("order.fallbacks_about"))}
            ${this.#zone()}
          </div>
        </section>
        <section class="stack tight" aria-labelledby="operator-title">
          <h2 id="operator-title">${t("order.operator")}</h2>
          <div class="card settings">
            ${
              operatorProviders.length
                ? this.#operator()
                : html`<p class="setting muted">${t("order.operator_none")}</p>`
            }
          </div>
        </section>
        <supa-llm-route-preview .store=${store} .limitChanges=${this.limitChanges}></supa-llm-route-preview>
      </div>
    `;
  }

  #row(provider: Provider, at: number, count: number): TemplateResult {
    const { store } = this;
    const { t } = store;
    const { id, name } = provider;
    const preference = store.loaded.draft.provider_preferences[id];
    const on = preference?.enabled !== false;
    const usable = store.usable(id);
    const place = { provider: name, place: at + 1, count };
    return html`<li class="order-row ${on && usable ? "" : "off"}" data-provider=${id} part="order-row">
      <button
        type="button"
        class="order-handle icon-only"
        title=${t("order.drag")}
        aria-label=${t("order.handle", place)}
        aria-describedby="order-help"
        @keydown=${(event: KeyboardEvent) => this.#handleKey(event, id, at)}
      >
        ${icon("grip")}
      </button>
      <div class="order-title">
        <supa-llm-mark small .provider=${id} .name=${name}></supa-llm-mark>
        <span class="order-name">${name}</span>
        ${this.#state(provider)}
      </div>
      ${
        usable
          ? html`${this.#models.field(store, {
                provider: id,
                value: preference?.model,
                label: t("order.model_of", { provider: name }),
                edit: (model) => store.edit(["provider_preferences", id, "model"], model),
              })}
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
              />`
          : html`<button
              type="button"
              class="order-wide"
              aria-label=${t("providers.add.of", { provider: name })}
              @click=${() => this.dispatchEvent(new CustomEvent("key-wanted", { detail: id, bubbles: true }))}
            >
              ${icon("plus")}${t("providers.add")}
            </button>`
      }
      <supa-llm-menu
        .label=${t("order.more", { provider: name })}
        .items=${
          [
            {
              label: t("order.up"),
              icon: "up",
              disabled: at === 0,
              run: () => void this.#move(id, at, at - 1),
            },
            {
              label: t("order.down"),
              icon: "down",
              disabled: at === count - 1,
              run: () => void this.#move(id, at, at + 1),
            },
            { label: t("order.top"), icon: "top", disabled: at === 0, run: () => void this.#move(id, at, 0) },
          ] satisfies MenuItem[]
        }
      ></supa-llm-menu>
    </li>`;
  }

  /** A provider that the app switched off keeps its settings, but serves nothing. */
  #offRow(provider: Provider): TemplateResult {
    return html`<div class="order-row off" part="order-row">
      <span></span>
      <div class="order-title">
        <supa-llm-mark small .provider=${provider.id} .name=${provider.name}></supa-llm-mark>
        <span class="order-name">${provider.name}</span>
        ${keyState(this.store, provider, undefined)}
      </div>
    </div>`;
  }

  /** What the user should know about the provider; a working key needs no words. */
  #state(provider: Provider): TemplateResult | typeof nothing {
    const { store } = this;
    const key = store.loaded.keys.get(provider.id);
    if (key && (key.status === "working" || key.status === "untested")) return nothing;
    if (!key && store.payers?.get(provider.id) === "team") return keyState(store, provider, key);
    if (!key && store.usable(provider.id))
      return pill("muted", "check", store.t("providers.state.app"), "key-state");
    if (!key) return pill("muted", "dash", store.t("providers.state.none"), "key-state");
    return keyState(store, provider, key);
  }

  #switch(setting: "enable_fallbacks" | "allow_operator_keys", name: string, about: string): TemplateResult {
    const { store } = this;
    return html`<div class="setting switch">
      <div>
        <label class="setting-name" for="setting-${setting}">${name}</label>
        <p class="muted small" id="about-${setting}">${about}</p>
      </div>
      <input
        type="checkbox"
        role="switch"
        id="setting-${setting}"
        aria-describedby="about-${setting}"
        .checked=${store.loaded.draft[setting]}
        @change=${(event: Event) => store.edit([setting], (event.target as HTMLInputElement).checked)}
      />
    </div>`;
  }

  #operator(): TemplateResult {
    const { store } = this;
    const { draft, operatorProviders } = store.loaded;
    const providers = operatorProviders.map((id) => store.providerName(id)).join(", ");
    return html`
      ${this.#switch("allow_operator_keys", store.t("order.consent"), store.t("order.consent_about", { providers }))}
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
    const { t } = store;
    const chosen = store.loaded.draft.time_zone;
    const here = Intl.DateTimeFormat().resolvedOptions().timeZone;
    // Some browsers do not list UTC, or list the stored zone under another name.
    const zones = new Set([here, "UTC", chosen, ...Intl.supportedValuesOf("timeZone")]);
    return html`<div class="setting">
      <div>
        <span class="setting-name">${t("order.time_zone")}</span>
        <p class="muted small" id="zone-about">${t("order.time_zone_about")}</p>
        ${
          here === chosen
            ? nothing
            : html`<button type="button" class="link small" @click=${() => store.edit(["time_zone"], here)}>
                ${t("order.time_zone_here", { zone: here })}
              </button>`
        }
      </div>
      <supa-llm-combobox
        class="wide"
        .value=${chosen}
        .label=${t("order.time_zone")}
        .listLabel=${t("order.time_zones")}
        .describedBy=${"zone-about"}
        .choices=${[...zones].map((value) => ({ value, ...(value === here ? { note: t("order.time_zone_note") } : {}) }))}
        .pick=${(zone: string) => store.edit(["time_zone"], zone)}
      ></supa-llm-combobox>
    </div>`;
  }
}
