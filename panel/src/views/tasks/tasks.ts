/** The Tasks tab: the provider of each task, known to the app or named by the user. */

import { css, html, nothing, type TemplateResult } from "lit";
import { customElement, state } from "lit/decorators.js";
import { repeat } from "lit/directives/repeat.js";
import type { TaskOverride } from "../../types.js";
import { ModelLists } from "../models.js";
import { fallbackList } from "./fallbacks.js";
import { isTaskName, taskNames } from "./names.js";
import { View } from "../view.js";
import "../route-preview.js";

export const tasksStyles = css`
  supa-llm-tasks {
    display: block;
  }
  .task-choice {
    display: flex;
    flex-wrap: wrap;
    align-items: end;
    gap: 0.5rem 0.75rem;
  }
  .task-fallbacks {
    display: grid;
    gap: 0.75rem;
    padding-inline-start: 0.75rem;
    border-inline-start: 3px solid var(--_line);
  }
  .task-moves {
    display: flex;
    gap: 0.35rem;
  }
  .task-moves button {
    min-inline-size: 2.5rem;
    padding-inline: 0.5rem;
  }
`;

@customElement("supa-llm-tasks")
export class TasksView extends View {
  @state() private newName = "";
  @state() private nameError = "";
  @state() private announcement = "";
  /** The task in the route preview. */
  @state() private shown: string | null = null;
  #models = new ModelLists(this);

  #override(task: string): TaskOverride | undefined {
    const { task_overrides } = this.store.loaded.draft;
    return Object.hasOwn(task_overrides, task) ? task_overrides[task] : undefined;
  }

  #edit(task: string, value: TaskOverride | undefined): void {
    this.shown = task;
    this.store.edit(["task_overrides", task], value);
  }

  /** The card of a task, whatever its name. */
  #card(task: string): HTMLElement | undefined {
    return [...this.querySelectorAll<HTMLElement>(".task")].find((card) => card.dataset["task"] === task);
  }

  async #start(task: string): Promise<void> {
    const first = this.store.loaded.draft.default_provider ?? this.store.ordered[0]?.id;
    if (first === undefined) return;
    this.#edit(task, { provider: first });
    await this.updateComplete;
    this.#card(task)?.querySelector<HTMLElement>("select")?.focus();
  }

  #add = (event: Event) => {
    event.preventDefault();
    const { t } = this.store;
    const name = this.newName.trim();
    this.nameError = !isTaskName(name)
      ? t("tasks.name_invalid")
      : this.#override(name)
        ? t("tasks.name_taken")
        : "";
    if (this.nameError) return;
    this.newName = "";
    this.announcement = t("tasks.added", { task: name });
    void this.#start(name);
  };

  async #remove(task: string): Promise<void> {
    this.announcement = this.store.t("tasks.removed", { task });
    this.#edit(task, undefined);
    const known = this.store.loaded.tasks.some((other) => other.task === task);
    if (!known) this.shown = null;
    await this.updateComplete;
    const next = known ? this.#card(task)?.querySelector<HTMLElement>("button") : null;
    (next ?? this.querySelector<HTMLElement>("#task-name"))?.focus();
  }

  override render() {
    const { store } = this;
    const { t } = store;
    return html`
      <div class="stack">
        <section class="stack" aria-labelledby="tasks-title">
          <h2 id="tasks-title">${t("tasks.title")}</h2>
          <p class="muted small">${t("tasks.about")}</p>
          <form class="stack tight" @submit=${this.#add} novalidate>
            <div class="task-choice">
              <label class="field grow">
                <span>${t("tasks.name")}</span>
                <input
                  id="task-name"
                  type="text"
                  autocomplete="off"
                  autocapitalize="off"
                  spellcheck="false"
                  aria-invalid=${this.nameError ? "true" : "false"}
                  aria-describedby="task-name-error"
                  .value=${this.newName}
                  @input=${(event: Event) => {
                    this.newName = (event.target as HTMLInputElement).value;
                    this.nameError = "";
                  }}
                />
              </label>
              <button type="submit" ?disabled=${!this.newName.trim()}>${t("tasks.add")}</button>
            </div>
            <p class="bad small" id="task-name-error" role="alert">${this.nameError}</p>
          </form>
          <p class="hidden" role="status">${this.announcement}</p>
          <ul class="stack" part="tasks">
            ${repeat(
              taskNames(store.loaded),
              (task) => task,
              (task) => this.#task(task),
            )}
          </ul>
          ${this.#models.datalists(store)}
        </section>
        <supa-llm-route-preview
          .store=${store}
          .task=${this.shown}
          @task-chosen=${(event: CustomEvent<string | null>) => (this.shown = event.detail)}
        ></supa-llm-route-preview>
      </div>
    `;
  }

  #task(task: string): TemplateResult {
    const { store } = this;
    const { t } = store;
    const known = store.loaded.tasks.find((other) => other.task === task);
    const override = this.#override(task);
    return html`<li>
      <div class="card stack task" data-task=${task} part="task" role="group" aria-label=${task}>
        <div class="row">
          <div class="grow">
            <h3 class="code">${task}</h3>
            ${known?.description ? html`<p class="muted small">${known.description}</p>` : nothing}
          </div>
          ${
            override
              ? html`<button class="quiet" @click=${() => this.#remove(task)}>${t("tasks.remove")}</button>`
              : html`<span class="muted small">${t("tasks.default")}</span>
                  <button @click=${() => this.#start(task)}>${t("tasks.override")}</button>`
          }
        </div>
        ${override ? this.#form(task, override) : nothing}
      </div>
    </li>`;
  }

  #form(task: string, override: TaskOverride): TemplateResult {
    const { store } = this;
    const { t } = store;
    const { provider, model, fallbacks } = override;
    return html`
      <div class="task-choice">
        <label class="field grow">
          <span class="small muted">${t("tasks.provider")}</span>
          <select
            @change=${(event: Event) =>
              // A model belongs to one provider, so a change of provider drops it.
              this.#edit(task, {
                provider: (event.target as HTMLSelectElement).value,
                ...(fallbacks ? { fallbacks } : {}),
              })}
          >
            ${store
              .choicesWith(provider)
              .map(({ id, name }) => html`<option value=${id} .selected=${id === provider}>${name}</option>`)}
          </select>
        </label>
        ${this.#models.field(store, {
          provider,
          task,
          value: model,
          label: t("tasks.model_of", { task }),
          shown: t("order.model"),
          edit: (typed) =>
            this.#edit(task, {
              provider,
              ...(typed === undefined ? {} : { model: typed }),
              ...(fallbacks ? { fallbacks } : {}),
            }),
        })}
      </div>
      <label class="check">
        <input
          type="checkbox"
          role="switch"
          .checked=${fallbacks !== undefined}
          @change=${(event: Event) => {
            const { fallbacks: _, ...rest } = override;
            const own = (event.target as HTMLInputElement).checked;
            this.#edit(task, own ? { ...rest, fallbacks: [] } : rest);
          }}
        />
        <span>${t("tasks.own_fallbacks")}</span>
      </label>
      ${
        fallbacks
          ? fallbackList(store, this.#models, task, fallbacks, (changed, focus) => {
              this.#edit(task, { ...override, fallbacks: changed });
              if (focus) void this.#focusAfter(task, focus);
            })
          : html`<p class="muted small">${t("tasks.default_fallbacks")}</p>`
      }
    `;
  }

  /** After a fallback was moved or removed, keep the focus near it. */
  async #focusAfter(task: string, focus: { at: number; what: string }): Promise<void> {
    await this.updateComplete;
    const card = this.#card(task);
    const row = card?.querySelectorAll<HTMLElement>(".task-fallback")[focus.at];
    const wanted = row?.querySelector<HTMLElement>(`[data-do="${focus.what}"]:not(:disabled)`);
    const other = row?.querySelector<HTMLElement>("button:not(:disabled)");
    (wanted ?? other ?? card?.querySelector<HTMLElement>("[data-do=add]"))?.focus();
  }
}
