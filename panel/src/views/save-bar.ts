/** The bar for unsaved changes, conflicts and errors of saving; toasts appear above it. */

import { html, nothing, type TemplateResult } from "lit";
import { isPlace, type Conflict } from "../changes.js";
import type { Loaded, Store } from "../store.js";
import type { TextName } from "../texts/index.js";
import type { TaskOverride } from "../types.js";
import { icon } from "./icons.js";
import { taskLabel } from "./tasks/names.js";
import "./toasts.js";

export function saveBar(store: Store, loaded: Loaded): TemplateResult {
  const { t, changeCount: count } = store;
  return html`
    ${questions(loaded.conflicts).map((conflict) => question(store, conflict))}
    ${
      loaded.saveError
        ? html`<p class="alert bad" role="alert" part="error">
            ${icon("warning")}<span class="grow">${store.explain(loaded.saveError)}</span>
          </p>`
        : nothing
    }
    <div class="dock">
      <supa-llm-toasts .store=${store}></supa-llm-toasts>
      ${
        count
          ? html`<div class="save-bar" part="save-bar">
              <span>${store.translator.count("save.changes", count)}</span>
              <button class="quiet" ?disabled=${loaded.saving} @click=${() => store.discard()}>
                ${t("save.discard")}
              </button>
              <button
                class="primary"
                ?disabled=${loaded.conflicts.length > 0}
                aria-disabled=${loaded.saving}
                @click=${() => store.save()}
              >
                ${loaded.saving ? t("save.saving") : t("save.save")}
              </button>
            </div>`
          : nothing
      }
    </div>
  `;
}

/** The order is one question, however many providers moved. */
function questions(conflicts: Conflict[]): Conflict[] {
  const place = conflicts.find(isPlace);
  return conflicts.filter((conflict) => conflict === place || !isPlace(conflict));
}

function question(store: Store, conflict: Conflict): TemplateResult {
  const { t } = store;
  const choice = (which: "mine" | "theirs") =>
    html`<button @click=${() => store.settle(conflict, which)}>
      ${t(`save.${which}` as TextName, { value: valueInWords(store, conflict, which) })}
    </button>`;
  return html`<div class="alert warn row" role="group" part="conflict" aria-label=${subject(store, conflict)}>
    <span class="grow">${t("save.conflict", { what: subject(store, conflict) })}</span>
    ${choice("mine")} ${choice("theirs")}
  </div>`;
}

function subject(store: Store, { path }: Conflict): string {
  const [group, name = "", field = ""] = path;
  if (group === "task_overrides") return store.t("leaf.task", { task: taskLabel(store, name) });
  if (field === "priority") return store.t("leaf.order");
  if (group === "provider_preferences")
    return store.t(`leaf.${field}` as TextName, { provider: store.providerName(name) });
  return store.t(`leaf.${group}` as TextName);
}

function valueInWords(store: Store, conflict: Conflict, which: "mine" | "theirs"): string {
  if (conflict.path[0] === "default_team" && conflict[which])
    return store.teamName(String(conflict[which])) ?? String(conflict[which]);
  if (!isPlace(conflict)) return inWords(store, conflict[which]);
  const order = store.orderIn(which === "mine" ? store.loaded.draft : store.loaded.settings);
  return order.map(({ name }) => name).join(", ");
}

function inWords(store: Store, value: unknown): string {
  if (value === null || value === undefined) return store.t("save.default");
  if (typeof value === "boolean") return store.t(value ? "word.on" : "word.off");
  if (typeof value === "object") {
    const { provider, model, fallbacks } = value as TaskOverride;
    const places = [{ provider, model }, ...(fallbacks ?? [])].map((choice) =>
      [store.providerName(choice.provider), choice.model].filter(Boolean).join(" "),
    );
    return places.join(", ");
  }
  return store.providerName(String(value));
}
