/** A task's own fallbacks, in order. */

import { html, nothing, type TemplateResult } from "lit";
import type { Store } from "../../store.js";
import type { Choice } from "../../types.js";
import type { ModelLists } from "../models.js";
import { moveItem } from "../move-item.js";

/** The database accepts no more. */
const MOST = 20;

export function fallbackList(
  store: Store,
  models: ModelLists,
  task: string,
  fallbacks: Choice[],
  change: (fallbacks: Choice[], focus?: { at: number; what: string }) => void,
): TemplateResult {
  const { t } = store;
  const put = (at: number, choice: Choice) =>
    change(fallbacks.map((other, place) => (place === at ? choice : other)));
  const add = () => {
    const taken = new Set([
      store.loaded.draft.task_overrides[task]?.provider,
      ...fallbacks.map(({ provider }) => provider),
    ]);
    const next = store.ordered.find(({ id }) => !taken.has(id)) ?? store.ordered[0];
    if (next) change([...fallbacks, { provider: next.id }], { at: fallbacks.length, what: "provider" });
  };
  return html`<div class="task-fallbacks" role="group" aria-label=${t("tasks.fallbacks_of", { task })}>
    ${fallbacks.length ? nothing : html`<p class="muted small">${t("tasks.no_fallbacks")}</p>`}
    <ol class="stack tight">
      ${fallbacks.map((choice, at) => row(choice, at))}
    </ol>
    <div>
      <button data-do="add" ?disabled=${fallbacks.length >= MOST} @click=${add}>
        ${t("tasks.fallback_add")}
      </button>
    </div>
  </div>`;

  function row({ provider, model }: Choice, at: number): TemplateResult {
    const place = { place: at + 1, provider: store.providerName(provider) };
    return html`<li class="task-choice task-fallback">
      <label class="field grow">
        <span class="small muted">${t("tasks.fallback", { place: at + 1 })}</span>
        <select
          data-do="provider"
          @change=${(event: Event) => put(at, { provider: (event.target as HTMLSelectElement).value })}
        >
          ${store
            .choicesWith(provider)
            .map(({ id, name }) => html`<option value=${id} .selected=${id === provider}>${name}</option>`)}
        </select>
      </label>
      ${models.field(store, {
        provider,
        task,
        value: model,
        label: t("tasks.fallback_model", place),
        shown: t("order.model"),
        edit: (typed) => put(at, { provider, ...(typed === undefined ? {} : { model: typed }) }),
      })}
      <div class="task-moves">
        <button
          data-do="up"
          ?disabled=${at === 0}
          aria-label=${t("tasks.fallback_up", place)}
          @click=${() => change(moveItem(fallbacks, at, at - 1), { at: at - 1, what: "up" })}
        >
          <span aria-hidden="true">↑</span>
        </button>
        <button
          data-do="down"
          ?disabled=${at === fallbacks.length - 1}
          aria-label=${t("tasks.fallback_down", place)}
          @click=${() => change(moveItem(fallbacks, at, at + 1), { at: at + 1, what: "down" })}
        >
          <span aria-hidden="true">↓</span>
        </button>
        <button
          data-do="remove"
          aria-label=${t("tasks.fallback_remove", place)}
          @click=${() =>
            change(
              fallbacks.filter((_, other) => other !== at),
              { at: Math.min(at, fallbacks.length - 2), what: "remove" },
            )}
        >
          <span aria-hidden="true">✕</span>
        </button>
      </div>
    </li>`;
  }
}
