/** The form for the provider, model and fallbacks of a task: the user's, or a team's. */

import { html, type TemplateResult } from "lit";
import type { Store } from "../../store.js";
import type { Preferences, TaskOverride } from "../../types.js";
import type { ModelLists } from "../models.js";
import { providerOptions, type ProviderChoices } from "../provider-options.js";
import { fallbackList } from "./fallbacks.js";
import { taskLabel } from "./names.js";

export interface TaskEditor {
  store: Store;
  choices: ProviderChoices;
  models: ModelLists;
  /** Name the model that applies if none is chosen here. */
  preferences: Preferences["provider_preferences"];
  edit(task: string, value: TaskOverride): void;
  /** After a fallback was moved or removed, keep the focus near it. */
  focus(task: string, focus: { at: number; what: string }): void;
}

export function overrideForm(editor: TaskEditor, task: string, override: TaskOverride): TemplateResult {
  const { store, models } = editor;
  const { t } = store;
  const { provider, model, fallbacks } = override;
  return html`<div class="task-form">
    <div class="task-choice">
      <label class="field">
        <span>${t("tasks.provider")}</span>
        <select
          @change=${(event: Event) =>
            // A model belongs to one provider, so a change of provider drops it.
            editor.edit(task, {
              provider: (event.target as HTMLSelectElement).value,
              ...(fallbacks ? { fallbacks } : {}),
            })}
        >
          ${providerOptions(editor.choices, provider)}
        </select>
      </label>
      <div class="field">
        <span aria-hidden="true">${t("order.model")}</span>
        ${models.field(store, {
          provider,
          task,
          value: model,
          preferences: editor.preferences,
          label: t("tasks.model_of", { task: taskLabel(store, task) }),
          edit: (typed) =>
            editor.edit(task, {
              provider,
              ...(typed === undefined ? {} : { model: typed }),
              ...(fallbacks ? { fallbacks } : {}),
            }),
        })}
      </div>
    </div>
    <label class="check">
      <input
        type="checkbox"
        role="switch"
        .checked=${fallbacks !== undefined}
        @change=${(event: Event) => {
          const { fallbacks: _, ...rest } = override;
          const own = (event.target as HTMLInputElement).checked;
          editor.edit(task, own ? { ...rest, fallbacks: [] } : rest);
        }}
      />
      <span>${t("tasks.own_fallbacks")}</span>
    </label>
    ${
      fallbacks
        ? fallbackList(editor, task, provider, fallbacks, (changed, focus) => {
            editor.edit(task, { ...override, fallbacks: changed });
            if (focus) editor.focus(task, focus);
          })
        : html`<p class="muted small">${t("tasks.default_fallbacks")}</p>`
    }
  </div>`;
}

/** Focus the part of a fallback, or the button below the list, in the card of a task. */
export function focusInTask(card: HTMLElement | undefined, focus: { at: number; what: string }): void {
  const row = card?.querySelectorAll<HTMLElement>(".task-fallback")[focus.at];
  const wanted = row?.querySelector<HTMLElement>(
    focus.what === "menu" ? "[aria-haspopup]" : `[data-do="${focus.what}"]`,
  );
  (wanted ?? card?.querySelector<HTMLElement>("[data-do=add]"))?.focus();
}
