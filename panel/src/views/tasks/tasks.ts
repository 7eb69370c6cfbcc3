/** The Tasks tab: the provider of each task, known to the app or named by the user. */

import { html, nothing, type TemplateResult } from "lit";
import { customElement, state } from "lit/decorators.js";
import { repeat } from "lit/directives/repeat.js";
import type { TaskOverride } from "../../types.js";
import { ModelLists } from "../models.js";
import { icon } from "../icons.js";
import { focusInTask, overrideForm, type TaskEditor } from "./override-form.js";
import { isTaskName, taskDescription, taskLabel, taskNames } from "./names.js";
import { View } from "../view.js";
import "../route-preview.js";
import { tasksStyles } from "./styles.js";

/** What the panel adds to its styles when this tab is first shown. */
export const styles = [tasksStyles];

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

  get #editor(): TaskEditor {
    const { store } = this;
    return {
      store,
      choices: store,
      models: this.#models,
      preferences: store.loaded.draft.provider_preferences,
      edit: (task, value) => this.#edit(task, value),
      focus: (task, focus) => void this.#focusAfter(task, focus),
    };
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
    const { store } = this;
    const { ordered } = store;
    const usable = ordered.find(({ id }) => store.usable(id));
    const first = store.loaded.draft.default_provider ?? (usable ?? ordered[0])?.id;
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
    this.announcement = this.store.t("tasks.removed", { task: taskLabel(this.store, task) });
    this.#edit(task, undefined);
    const known = taskNames(this.store).includes(task);
    if (!known) this.shown = null;
    await this.updateComplete;
    const next = known ? this.#card(task)?.querySelector<HTMLElement>("button") : null;
    (next ?? this.querySelector<HTMLElement>("#task-name"))?.focus();
  }

  override render() {
    const { store } = this;
    const { t } = store;
    const names = taskNames(store);
    return html`
      <div class="stack sections">
        <section class="stack" aria-labelledby="tasks-title">
          <div class="section-head">
            <h2 id="tasks-title">${t("tasks.title")}</h2>
            <p class="muted small">${t("tasks.about")}</p>
          </div>
          <p class="hidden" role="status">${this.announcement}</p>
          ${
            names.length
              ? html`<ul class="card task-list" part="tasks">
                  ${repeat(
                    names,
                    (task) => task,
                    (task) => html`<li>${this.#task(task)}</li>`,
                  )}
                </ul>`
              : html`<div class="empty" part="empty">
                  ${icon("tasks")}
                  <p>${t("tasks.none")}</p>
                </div>`
          }
          ${store.appTasks ? nothing : this.#newTask()}
        </section>
        <supa-llm-route-preview
          .store=${store}
          .task=${this.shown}
          @task-chosen=${(event: CustomEvent<string | null>) => (this.shown = event.detail)}
        ></supa-llm-route-preview>
      </div>
    `;
  }

  /** If the app does not name its tasks, users can. */
  #newTask(): TemplateResult {
    const { t } = this.store;
    return html`<form class="stack tight" @submit=${this.#add} novalidate>
      <div class="task-add">
        <label class="field grow">
          <span>${t("tasks.name")}</span>
          <input
            id="task-name"
            type="text"
            autocomplete="off"
            autocapitalize="off"
            spellcheck="false"
            aria-invalid=${this.nameError ? "true" : "false"}
            aria-describedby="task-name-about task-name-error"
            .value=${this.newName}
            @input=${(event: Event) => {
              this.newName = (event.target as HTMLInputElement).value;
              this.nameError = "";
            }}
          />
        </label>
        <button type="submit" ?disabled=${!this.newName.trim()}>${t("tasks.add")}</button>
      </div>
      <p class="muted small" id="task-name-about">${t("tasks.name_about")}</p>
      <p class="bad small" id="task-name-error" role="alert">${this.nameError}</p>
    </form>`;
  }

  #task(task: string): TemplateResult {
    const { store } = this;
    const { t } = store;
    const label = taskLabel(store, task);
    const about = taskDescription(store, task);
    const override = this.#override(task);
    return html`<div class="task" data-task=${task} part="task" role="group" aria-label=${label}>
      <div class="task-head">
        <div class="grow">
          <h3>${label}</h3>
          ${about ? html`<p class="muted small">${about}</p>` : nothing}
        </div>
        ${
          override
            ? html`<button class="quiet" @click=${() => this.#remove(task)}>
                ${icon("reset")}${t("tasks.remove")}
              </button>`
            : html`<span class="muted small">${t("tasks.default")}</span>
                <button @click=${() => this.#start(task)}>${t("tasks.override")}</button>`
        }
      </div>
      ${override ? overrideForm(this.#editor, task, override) : nothing}
    </div>`;
  }

  async #focusAfter(task: string, focus: { at: number; what: string }): Promise<void> {
    await this.updateComplete;
    focusInTask(this.#card(task), focus);
  }
}
