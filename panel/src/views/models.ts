/** The model field: suggests a provider's known models, accepts any other name, and warns of it. */

import { css, html, type ReactiveControllerHost, type TemplateResult } from "lit";
import type { Store } from "../store.js";
import type { KnownModel, Preferences } from "../types.js";
import "./combobox.js";
import type { Choice } from "./combobox.js";

export const comboboxStyles = css`
  supa-llm-combobox {
    display: block;
    min-inline-size: 0;
  }
  .combobox {
    position: relative;
  }
  .combobox > input {
    inline-size: 100%;
    padding-inline-end: 2rem;
    text-overflow: ellipsis;
  }
  .combobox > .icon {
    position: absolute;
    inset-inline-end: 0.65rem;
    inset-block-start: calc(50% - 0.5rem);
    transform: rotate(90deg);
    color: var(--_muted);
    pointer-events: none;
  }
  .options {
    inset-inline-start: 0;
    inset-block-start: calc(100% + 4px);
    inline-size: 100%;
    min-inline-size: min(17rem, 80cqi);
    max-block-size: 15rem;
    overflow-y: auto;
  }
  .options > li {
    display: grid;
    padding: 0.3rem 0.6rem;
    border-radius: calc(var(--_radius) - 3px);
    cursor: pointer;
  }
  .options > li:is(:hover, .active) {
    background: var(--_raised);
  }
  .options > li.active {
    outline: 2px solid var(--_accent);
    outline-offset: -2px;
  }
  .options > li[aria-selected="true"] > :first-child {
    font-weight: 600;
  }
  .combobox-warning {
    display: flex;
    gap: 0.35rem;
    align-items: center;
    margin-block-start: 0.3rem;
  }
`;

/** The known models of each provider, loaded when a field of that provider first needs them. */
export class ModelLists {
  #lists = new Map<string, KnownModel[]>();
  #asked = new Set<string>();

  constructor(private readonly host: ReactiveControllerHost) {}

  async want(store: Store, provider: string): Promise<void> {
    if (this.#asked.has(provider)) return;
    this.#asked.add(provider);
    try {
      this.#lists.set(provider, await store.backend.models(provider));
      this.host.requestUpdate();
    } catch {
      // The field works without suggestions; the next focus tries again.
      this.#asked.delete(provider);
    }
  }

  /** A field for a provider's model. An empty field yields undefined, the default model. */
  field(
    store: Store,
    options: {
      provider: string;
      /** The task, if the field belongs to one. */
      task?: string;
      value: string | undefined;
      label: string;
      /** Whose models apply without one; default: the user's. */
      preferences?: Preferences["provider_preferences"];
      edit: (model: string | undefined) => void;
    },
  ): TemplateResult {
    const { provider, task, value, edit } = options;
    const byDefault = defaultModel(store, provider, task, options.preferences);
    // A model of the user's own choice may be misspelled.
    if (value) void this.want(store, provider);
    return html`<supa-llm-combobox
      .free=${true}
      .value=${value ?? ""}
      .label=${options.label}
      .listLabel=${store.t("order.models")}
      .placeholder=${byDefault ? store.t("order.model_default", { model: byDefault }) : store.t("order.model_unset")}
      .choices=${this.#lists.get(provider)?.map((known) => choice(store, known)) ?? null}
      .warning=${store.t("order.model_unknown", { provider: store.providerName(provider) })}
      .wanted=${() => void this.want(store, provider)}
      .pick=${(model: string) => edit(model || undefined)}
    ></supa-llm-combobox>`;
  }
}

/** The model used if the user names none; mirrors llm_private.route(). */
function defaultModel(
  store: Store,
  provider: string,
  task: string | undefined,
  preferences = store.loaded.draft.provider_preferences,
): string {
  const { providers } = store.loaded;
  const row = providers.find(({ id }) => id === provider);
  if (task === undefined || !row) return row?.default_model ?? "";
  return preferences[provider]?.model ?? row.task_models[task] ?? row.default_model;
}

function choice(store: Store, { model, input_price, output_price }: KnownModel): Choice {
  const { formats } = store;
  if (input_price === null || output_price === null) return { value: model };
  return {
    value: model,
    note: store.t("order.model_price", {
      input: formats.money(input_price),
      output: formats.money(output_price),
    }),
  };
}
