/** The form of a monthly spending limit. */

import { html, nothing, type TemplateResult } from "lit";
import type { Store } from "../store.js";
import { icon } from "./icons.js";

export interface LimitForm {
  id: string;
  label: string;
  about: string;
  /** More lines below the description. */
  lines?: readonly string[];
  amount: string;
  busy: boolean;
  /** Whether the amount can be saved. */
  ready: boolean;
  /** Whether there is a limit to remove. */
  removable: boolean;
  error: unknown;
  /** Repeats what failed; null if that would not help. */
  retry?: (() => void) | null;
  input: (amount: string) => void;
  save: () => void;
  remove: () => void;
}

export function limitForm(store: Pick<Store, "t" | "explain">, form: LimitForm): TemplateResult {
  const { t } = store;
  const { id, busy, error, retry } = form;
  const submit = (event: Event): void => {
    event.preventDefault();
    form.save();
  };
  return html`<form part="spending-limit" @submit=${submit} novalidate autocomplete="off">
    <div class="setting">
      <div>
        <label class="setting-name" for=${id}>${form.label}</label>
        <p class="muted small" id="${id}-about">${form.about}</p>
        ${form.lines?.map((line) => html`<p class="small">${line}</p>`)}
      </div>
      <div class="limit-form">
        <input
          id=${id}
          type="text"
          inputmode="decimal"
          autocomplete="off"
          placeholder=${t("order.spending_limit_none")}
          aria-describedby="${id}-about"
          .value=${form.amount}
          @input=${(event: Event) => form.input((event.target as HTMLInputElement).value)}
        />
        <button type="submit" ?disabled=${busy || !form.ready || !form.amount.trim()}>
          ${t("order.spending_limit_set")}
        </button>
        ${
          form.removable
            ? html`<button
                type="button"
                class="icon-only"
                title=${t("order.spending_limit_remove")}
                aria-label=${t("order.spending_limit_remove")}
                ?disabled=${busy}
                @click=${form.remove}
              >
                ${icon("trash")}
              </button>`
            : nothing
        }
      </div>
    </div>
    ${
      error
        ? html`<div class="alert bad" role="alert" part="error">
            ${icon("warning")}<span class="grow">${store.explain(error)}</span>
            ${retry ? html`<button type="button" @click=${retry}>${t("state.retry")}</button>` : nothing}
          </div>`
        : nothing
    }
  </form>`;
}
