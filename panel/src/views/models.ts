/** The model field: suggests a provider's known models and accepts any other name. */

import { html, nothing, type ReactiveControllerHost, type TemplateResult } from "lit";
import { live } from "lit/directives/live.js";
import type { Store } from "../store.js";
import type { KnownModel } from "../types.js";

/** The known models of each provider, loaded when a field of that provider first gets focus. */
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

  /** The suggestions, which fields refer to by id. */
  datalists(store: Store): TemplateResult[] {
    return [...this.#lists].map(
      ([provider, models]) =>
        html`<datalist id=${listId(provider)}>
          ${models.map((known) => html`<option value=${known.model} label=${label(store, known)}></option>`)}
        </datalist>`,
    );
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
      /** The short visible label; screen readers read `label` instead. */
      shown: string;
      edit: (model: string | undefined) => void;
    },
  ): TemplateResult {
    const { provider, task, value, edit } = options;
    const byDefault = defaultModel(store, provider, task);
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
        placeholder=${byDefault ? store.t("order.model_default", { model: byDefault }) : store.t("order.model_unset")}
        .value=${live(value ?? "")}
        @focus=${() => this.want(store, provider)}
        @input=${(event: Event) => take((event.target as HTMLInputElement).value)}
        @change=${(event: Event) => take((event.target as HTMLInputElement).value.trim())}
      />
    </label>`;
  }
}

/** The model used if the user names none; mirrors llm_private.route(). */
function defaultModel(store: Store, provider: string, task: string | undefined): string {
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
