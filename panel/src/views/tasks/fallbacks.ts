/** A task's own fallbacks, in order. */

import { html, nothing, type TemplateResult } from "lit";
import type { Choice } from "../../types.js";
import { icon } from "../icons.js";
import "../menu.js";
import type { MenuItem } from "../menu.js";
import { moveItem } from "../move-item.js";
import { providerOptions } from "../provider-options.js";
import type { TaskEditor } from "./override-form.js";
import { taskLabel } from "./names.js";

/** The database accepts no more. */
const MOST = 20;

export function fallbackList(
  { store, choices, models, preferences }: TaskEditor,
  task: string,
  provider: string,
  fallbacks: Choice[],
  change: (fallbacks: Choice[], focus?: { at: number; what: string }) => void,
): TemplateResult {
  const { t } = store;
  const put = (at: number, choice: Choice) =>
    change(fallbacks.map((other, place) => (place === at ? choice : other)));
  const add = () => {
    const taken = new Set([provider, ...fallbacks.map((choice) => choice.provider)]);
    const free = choices.ordered.filter(({ id }) => !taken.has(id));
    const next = free.find(({ id }) => choices.usable(id)) ?? free[0] ?? choices.ordered[0];
    if (next) change([...fallbacks, { provider: next.id }], { at: fallbacks.length, what: "provider" });
  };
  return html`<div
    class="stack tight"
    role="group"
    aria-label=${t("tasks.fallbacks_of", { task: taskLabel(store, task) })}
  >
    ${fallbacks.length ? nothing : html`<p class="muted small">${t("tasks.no_fallbacks")}</p>`}
    <ol class="stack tight">
      ${fallbacks.map((choice, at) => row(choice, at))}
    </ol>
    <div>
      <button data-do="add" ?disabled=${fallbacks.length >= MOST} @click=${add}>
        ${icon("plus")}${t("tasks.fallback_add")}
      </button>
    </div>
  </div>`;

  function row({ provider, model }: Choice, at: number): TemplateResult {
    const place = { place: at + 1, provider: store.providerName(provider) };
    const move = (to: number) => change(moveItem(fallbacks, at, to), { at: to, what: "menu" });
    const items: MenuItem[] = [
      { label: t("order.up"), icon: "up", disabled: at === 0, run: () => move(at - 1) },
      {
        label: t("order.down"),
        icon: "down",
        disabled: at === fallbacks.length - 1,
        run: () => move(at + 1),
      },
      {
        label: t("tasks.fallback_remove"),
        icon: "trash",
        look: "danger",
        run: () =>
          change(
            fallbacks.filter((_, other) => other !== at),
            { at: Math.min(at, fallbacks.length - 2), what: "menu" },
          ),
      },
    ];
    return html`<li class="task-choice task-fallback">
      <span class="preview-place" aria-hidden="true">${at + 1}</span>
      <select
        data-do="provider"
        aria-label=${t("tasks.fallback", { place: at + 1 })}
        @change=${(event: Event) => put(at, { provider: (event.target as HTMLSelectElement).value })}
      >
        ${providerOptions(choices, provider)}
      </select>
      ${models.field(store, {
        provider,
        task,
        value: model,
        preferences,
        label: t("tasks.fallback_model", place),
        edit: (typed) => put(at, { provider, ...(typed === undefined ? {} : { model: typed }) }),
      })}
      <supa-llm-menu .label=${t("tasks.fallback_more", place)} .items=${items}></supa-llm-menu>
    </li>`;
  }
}
