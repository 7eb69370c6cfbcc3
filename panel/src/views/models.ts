/** Where a model is typed: what is known of a provider's models is suggested, anything else may be typed. */

import { html, nothing, type ReactiveControllerHost, type TemplateResult } from "lit";
import { live } from "lit/directives/live.js";
import type { Store } from "../store.js";
import type { KnownModel } from "../types.js";

/** The known models of providers, each asked for when its field is first used. */
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
      // One can type without suggestions; the next visit of the field asks again.
      this.#asked.delete(provider);
    }
  }

  /** The suggestions that fields refer to by their id. */
  datalists(store: Store): TemplateResult[] {
    return [...this.#lists].map(
      ([provider, models]) =>
        html`<datalist id=${listId(provider)}>
          ${models.map((known) => html`<option value=${known.model} label=${label(store, known)}></option>`)}
        </datalist>`,
    );
  }

  /** A field for a model of a provider; an empty one gives undefined, which means the usual model. */
  field(
    store: Store,
    options: {
      provider: string;
      /** Where the field is for one task, that task. */
      task?: string;
      value: string | undefined;
      label: string;
      /** The visible label is enough where the field stands for itself; else only the long one is read out. */
      shown: string;
      edit: (model: string | undefined) => void;
    },
  ): TemplateResult {
    const { provider, task, value, edit } = options;
    const usual = usualModel(store, provider, task);
    const take = (text: string) => edit(text || undefined);
    return html`<label class="field grow">
      <span class="small muted" aria-hidden="true">${options.shown}</span>
      <input
        type="text"
        class="code"
        part="model"
        maxlength="200"
        autocomplete="off"
        autocapitalize="off"
        spellcheck="false"
        list=${this.#lists.has(provider) ? listId(provider) : nothing}
        aria-label=${options.label}
        placeholder=${usual ? store.t("order.model_usual", { model: usual }) : store.t("order.model_any")}
        .value=${live(value ?? "")}
        @focus=${() => this.want(store, provider)}
        @input=${(event: Event) => take((event.target as HTMLInputElement).value)}
        @change=${(event: Event) => take((event.target as HTMLInputElement).value.trim())}
      />
    </label>`;
  }
}

/** The model that a provider is asked for where none is named: as llm_private.route() has it. */
function usualModel(store: Store, provider: string, task: string | undefined): string {
  const { providers, draft } = store.loaded;
  const row = providers.find(({ id }) => id === provider);
  if (task === undefined || !row) return row?.default_model ?? "";
  return draft.provider_preferences[provider]?.model ?? row.task_models[task] ?? row.default_model;
}

function listId(provider: string): string {
  return `supa-llm-models-${provider}`;
}

function label(store: Store, { model, input_price, output_price }: KnownModel): string {
  const { formats } = store;
  if (input_price === null || output_price === null) return store.t("order.model_unpriced", { model });
  return store.t("order.model_priced", {
    model,
    input: formats.money(input_price),
    output: formats.money(output_price),
  });
}
