/** A team's policy: whose keys come first, the allowed providers and models, their order, and tasks. */

import { html, nothing, type TemplateResult } from "lit";
import { customElement, state } from "lit/decorators.js";
import { repeat } from "lit/directives/repeat.js";
import { assign, merge } from "../../changes.js";
import { asPanelError } from "../../errors.js";
import { OutdatedAnswer } from "../../store.js";
import type { Key, Policy, Provider, TaskOverride, TeamDetails } from "../../types.js";
import { icon, pill } from "../icons.js";
import { Loader } from "../loader.js";
import "../mark.js";
import "../menu.js";
import { ModelLists } from "../models.js";
import { moveItem } from "../move-item.js";
import { providerOptions, type ProviderChoices } from "../provider-options.js";
import "../route-preview.js";
import { rowSkeleton } from "../skeleton.js";
import { taskDescription, taskLabel, taskNames } from "../tasks/names.js";
import { focusInTask, overrideForm, type TaskEditor } from "../tasks/override-form.js";
import {
  allows,
  countPolicyChanges,
  modelsOf,
  policyChanges,
  policyOf,
  setAllowed,
  setModels,
  setOnlyListed,
} from "./policy.js";
import { manages } from "./roles.js";
import { TeamSection } from "./section.js";
import { sessionOf, type PolicyDraft } from "./session.js";

@customElement("supa-llm-team-policy")
export class TeamPolicy extends TeamSection {
  @state() private busy = false;
  @state() private error: unknown = null;
  /** The last move of a provider, for screen readers. */
  @state() private announcement = "";
  #models = new ModelLists(this);
  #loader = new Loader<Set<string>>(() => this.requestUpdate());

  protected override load = () => void this.#load();

  /** Load the policy, and which providers the team has keys for. */
  #load = (): Promise<void> =>
    this.#loader.load(async () => {
      const { store, team } = this;
      const [details, keys] = await store.whileSignedIn(
        Promise.all([this.teams.get(team.id), this.teams.keys(team.id)]),
      );
      this.#take(details);
      return new Set(keys.map(({ provider }: Key) => provider));
    });

  /** Take over a newer policy; the user's unsaved changes stay. */
  #take(details: TeamDetails): void {
    const before = this.#kept;
    const newer = policyOf(details);
    const draft = before ? merge(policyOf(before.team), before.draft, newer).merged : newer;
    sessionOf(this.store).policies.set(details.id, { team: details, draft });
    this.#count();
  }

  get #kept(): PolicyDraft | undefined {
    return sessionOf(this.store).policies.get(this.team.id);
  }

  get #editable(): boolean {
    return manages(this.team.role);
  }

  #edit(draft: Policy): void {
    const kept = this.#kept;
    if (!kept) return;
    kept.draft = draft;
    this.error = null;
    this.#count();
    this.requestUpdate();
  }

  #count(): void {
    this.store.teamChanges = sessionOf(this.store).changes;
  }

  override render() {
    const { store } = this;
    const kept = this.#kept;
    const keys = this.#loader.value;
    return html`<div class="stack sections">
      ${this.#loader.state(store, () => void this.#load(), rowSkeleton(6))}
      ${kept && keys ? this.#policy(kept, keys) : nothing}
    </div>`;
  }

  #policy({ team, draft }: PolicyDraft, keys: ReadonlySet<string>): TemplateResult {
    const { store } = this;
    const { t } = store;
    const count = countPolicyChanges(policyOf(team), draft);
    return html`<section class="stack tight" aria-labelledby="policy-title">
        <div class="section-head">
          <h2 id="policy-title">${t("team.policy")}</h2>
          <p class="muted small">${t("team.policy.about")}</p>
        </div>
        <div class="card settings">${this.#keysFirst(draft)} ${this.#defaultProvider(draft, keys)}</div>
      </section>
      ${this.#providers(draft)} ${this.#tasks(draft, keys)}
      ${count ? html`<p class="small muted" role="status">${t("team.policy.unsaved")}</p>` : nothing}
      <supa-llm-route-preview
        .store=${store}
        .team=${team.id}
        .limitChanges=${team.version}
      ></supa-llm-route-preview>
      ${
        this.error
          ? html`<p class="alert bad" role="alert" part="error">
              ${icon("warning")}<span class="grow">${store.explain(this.error)}</span>
            </p>`
          : nothing
      }
      ${
        count
          ? html`<div class="dock ${store.changeCount ? "team-above" : ""}">
              <div class="save-bar" part="save-bar">
                <span>${store.translator.count("save.changes", count)}</span>
                <button class="quiet" ?disabled=${this.busy} @click=${() => this.#edit(policyOf(team))}>
                  ${t("save.discard")}
                </button>
                <button class="primary" aria-disabled=${this.busy} @click=${this.#save}>
                  ${t(this.busy ? "save.saving" : "team.policy.save")}
                </button>
              </div>
            </div>`
          : nothing
      }`;
  }

  #keysFirst(draft: Policy): TemplateResult {
    const { t } = this.store;
    return html`<div class="setting">
      <div>
        <label class="setting-name" for="team-keys-first">${t("team.keys_first")}</label>
        <p class="muted small" id="team-keys-first-about">${t("team.keys_first.about")}</p>
      </div>
      ${
        this.#editable
          ? html`<select
              id="team-keys-first"
              class="wide"
              aria-describedby="team-keys-first-about"
              @change=${(event: Event) =>
                this.#edit({
                  ...draft,
                  keys_first: (event.target as HTMLSelectElement).value as Policy["keys_first"],
                })}
            >
              ${(["team", "member"] as const).map(
                (whose) =>
                  html`<option value=${whose} .selected=${draft.keys_first === whose}>
                    ${t(`team.keys_first.${whose}`)}
                  </option>`,
              )}
            </select>`
          : html`<span>${t(`team.keys_first.${draft.keys_first}`)}</span>`
      }
    </div>`;
  }

  #defaultProvider(draft: Policy, keys: ReadonlySet<string>): TemplateResult {
    const { t } = this.store;
    const chosen = draft.default_provider;
    return html`<div class="setting">
      <div>
        <label class="setting-name" for="team-default-provider">${t("order.default_provider")}</label>
        <p class="muted small" id="team-default-about">${t("team.default_provider.about")}</p>
      </div>
      ${
        this.#editable
          ? html`<select
              id="team-default-provider"
              class="wide"
              aria-describedby="team-default-about"
              @change=${(event: Event) =>
                this.#edit({ ...draft, default_provider: (event.target as HTMLSelectElement).value || null })}
            >
              <option value="" .selected=${chosen === null}>${t("team.default_provider.none")}</option>
              ${providerOptions(this.#choices(draft, keys), chosen)}
            </select>`
          : html`<span>${chosen ? this.store.providerName(chosen) : t("team.default_provider.none")}</span>`
      }
    </div>`;
  }

  #ordered(draft: Policy): Provider[] {
    return this.store.orderIn(draft);
  }

  /** The providers that the policy allows; those with a team key first. */
  #choices(draft: Policy, keys: ReadonlySet<string>): ProviderChoices {
    const { store } = this;
    const { t } = store;
    const ordered = this.#ordered(draft).filter(({ id }) => allows(draft, id));
    return {
      t,
      ordered,
      usable: (id) => keys.has(id),
      choicesWith: (id) =>
        ordered.some((provider) => provider.id === id)
          ? ordered
          : [...ordered, { id, name: t("team.choice_off", { provider: store.providerName(id) }) }],
    };
  }

  // Providers ---------------------------------------------------------------------------------------------------------

  #providers(draft: Policy): TemplateResult {
    const { t } = this.store;
    const ordered = this.#ordered(draft);
    const ids = ordered.map(({ id }) => id);
    return html`<section class="stack tight" aria-labelledby="policy-providers-title">
      <div class="section-head">
        <h2 id="policy-providers-title">${t("team.policy.providers")}</h2>
        <p class="muted small">
          ${t(this.#editable ? "team.policy.providers_about" : "team.policy.providers_member")}
        </p>
      </div>
      <div class="card order-list">
        <ol part="order">
          ${repeat(
            ordered,
            ({ id }) => id,
            (provider, at) => this.#providerRow(draft, provider, at, ids),
          )}
        </ol>
        ${
          this.#editable
            ? html`<div class="setting switch team-only">
                <div>
                  <label class="setting-name" for="team-only">${t("team.only")}</label>
                  <p class="muted small" id="team-only-about">${t("team.only.about")}</p>
                </div>
                <input
                  type="checkbox"
                  role="switch"
                  id="team-only"
                  aria-describedby="team-only-about"
                  .checked=${draft.allowed_providers !== null}
                  @change=${(event: Event) =>
                    this.#edit(setOnlyListed(draft, (event.target as HTMLInputElement).checked, ids))}
                />
              </div>`
            : nothing
        }
      </div>
      <p class="hidden" role="status">${this.announcement}</p>
    </section>`;
  }

  #providerRow(draft: Policy, provider: Provider, at: number, ids: string[]): TemplateResult {
    const { t } = this.store;
    const { id, name } = provider;
    const on = allows(draft, id);
    const move = (to: number) => void this.#move(draft, ids, at, to, name);
    return html`<li class="order-row team-provider ${on ? "" : "off"}" data-provider=${id} part="order-row">
      <div class="order-title">
        <supa-llm-mark small .provider=${id} .name=${name}></supa-llm-mark>
        <span class="order-name">${name}</span>
      </div>
      <div class="team-models">${on ? this.#modelsOf(draft, provider, ids) : nothing}</div>
      ${
        this.#editable
          ? html`<input
                type="checkbox"
                role="switch"
                aria-label=${t("team.allow", { provider: name })}
                .checked=${on}
                @change=${(event: Event) => {
                  const wanted = (event.target as HTMLInputElement).checked;
                  this.#edit(setAllowed(draft, id, wanted));
                }}
              />
              <supa-llm-menu
                .label=${t("order.more", { provider: name })}
                .items=${[
                  { label: t("order.up"), icon: "up", disabled: at === 0, run: () => move(at - 1) },
                  {
                    label: t("order.down"),
                    icon: "down",
                    disabled: at === ids.length - 1,
                    run: () => move(at + 1),
                  },
                  { label: t("order.top"), icon: "top", disabled: at === 0, run: () => move(0) },
                ]}
              ></supa-llm-menu>`
          : pill(on ? "good" : "muted", on ? "check" : "dash", t(on ? "team.allowed" : "team.not_allowed"))
      }
    </li>`;
  }

  async #move(draft: Policy, ids: string[], from: number, to: number, name: string): Promise<void> {
    const edited = structuredClone(draft);
    moveItem(ids, from, to).forEach((id, index) =>
      assign(edited, ["provider_preferences", id, "priority"], index + 1),
    );
    this.#edit(edited);
    this.announcement = this.store.t("order.moved", { provider: name, place: to + 1, count: ids.length });
    await this.updateComplete;
    this.querySelector<HTMLElement>(`[data-provider="${ids[from]}"] [aria-haspopup]`)?.focus();
  }

  /** All models of a provider, or those that are allowed. */
  #modelsOf(draft: Policy, { id, name }: Provider, ids: string[]): TemplateResult {
    const { t } = this.store;
    const models = modelsOf(draft, id);
    const put = (changed: string[] | null) => this.#edit(setModels(draft, id, changed, ids));
    if (!this.#editable)
      return html`<span class="small muted">${models ? models.join(", ") : t("team.models.all")}</span>`;
    if (!models)
      return html`<button
        type="button"
        class="link"
        aria-label=${t("team.models.limit_of", { provider: name })}
        @click=${() => this.ask(this.#askModel(id, name, (model) => put([model])))}
      >
        ${t("team.models.all")}
      </button>`;
    return html`<ul class="team-chips" aria-label=${t("team.models.of", { provider: name })}>
      ${models.map(
        (model) =>
          html`<li class="pill muted">
            <span class="code">${model}</span>
            <button
              type="button"
              class="icon-only"
              aria-label=${t("team.models.remove", { model })}
              @click=${() => {
                const rest = models.filter((other) => other !== model);
                put(rest.length ? rest : null);
              }}
            >
              ${icon("close")}
            </button>
          </li>`,
      )}
      <li>
        <button
          type="button"
          class="link"
          aria-label=${t("team.models.add_of", { provider: name })}
          @click=${() => this.ask(this.#askModel(id, name, (model) => put([...new Set([...models, model])])))}
        >
          ${t("team.models.add")}
        </button>
      </li>
    </ul>`;
  }

  #askModel(provider: string, name: string, take: (model: string) => void) {
    const { store } = this;
    const { t } = store;
    return {
      title: t("team.models.title", { provider: name }),
      about: t("team.models.about"),
      field: {
        label: t("order.model"),
        maxLength: 200,
        suggestions: () =>
          store.backend.models(provider).then(
            (known) => known.map(({ model }) => model),
            () => [],
          ),
      },
      yes: t("team.models.allow"),
      run: take,
    };
  }

  // Tasks -------------------------------------------------------------------------------------------------------------

  #tasks(draft: Policy, keys: ReadonlySet<string>): TemplateResult | typeof nothing {
    const { store } = this;
    const { t } = store;
    const names = taskNames({ appTasks: store.appTasks, loaded: { tasks: store.loaded.tasks, draft } });
    if (!names.length) return nothing;
    return html`<section class="stack tight" aria-labelledby="policy-tasks-title">
      <div class="section-head">
        <h2 id="policy-tasks-title">${t("tasks.title")}</h2>
        <p class="muted small">
          ${t(this.#editable ? "team.policy.tasks_about" : "team.policy.tasks_member")}
        </p>
      </div>
      <ul class="card task-list" part="tasks">
        ${repeat(
          names,
          (task) => task,
          (task) => html`<li>${this.#task(draft, keys, task)}</li>`,
        )}
      </ul>
    </section>`;
  }

  #task(draft: Policy, keys: ReadonlySet<string>, task: string): TemplateResult {
    const { store } = this;
    const { t } = store;
    const label = taskLabel(store, task);
    const about = taskDescription(store, task);
    const override = Object.hasOwn(draft.task_overrides, task) ? draft.task_overrides[task] : undefined;
    const choices = this.#choices(draft, keys);
    const first = (choices.ordered.find(({ id }) => choices.usable(id)) ?? choices.ordered[0])?.id;
    return html`<div class="task" data-task=${task} part="task" role="group" aria-label=${label}>
      <div class="task-head">
        <div class="grow">
          <h3>${label}</h3>
          ${about ? html`<p class="muted small">${about}</p>` : nothing}
        </div>
        ${
          !this.#editable
            ? html`<span class="small ${override ? "" : "muted"}">${this.#inWords(override)}</span>`
            : override
              ? html`<button class="quiet" @click=${() => void this.#setTask(draft, task, undefined)}>
                  ${icon("reset")}${t("tasks.remove")}
                </button>`
              : html`<span class="muted small">${t("team.policy.no_task")}</span>
                  <button
                    ?disabled=${first === undefined}
                    @click=${() => void this.#setTask(draft, task, { provider: first ?? "" })}
                  >
                    ${t("tasks.override")}
                  </button>`
        }
      </div>
      ${override && this.#editable ? overrideForm(this.#editor(draft, choices), task, override) : nothing}
    </div>`;
  }

  #inWords(override: TaskOverride | undefined): string {
    const { store } = this;
    if (!override) return store.t("team.policy.no_task");
    return [override, ...(override.fallbacks ?? [])]
      .map(({ provider, model }) => [store.providerName(provider), model].filter(Boolean).join(" "))
      .join(", ");
  }

  #editor(draft: Policy, choices: ProviderChoices): TaskEditor {
    return {
      store: this.store,
      choices,
      models: this.#models,
      preferences: draft.provider_preferences,
      edit: (task, value) => void this.#setTask(draft, task, value, false),
      focus: async (task, focus) => {
        await this.updateComplete;
        focusInTask(this.#card(task), focus);
      },
    };
  }

  #card(task: string): HTMLElement | undefined {
    return [...this.querySelectorAll<HTMLElement>(".task")].find((card) => card.dataset["task"] === task);
  }

  async #setTask(draft: Policy, task: string, value: TaskOverride | undefined, focus = true): Promise<void> {
    const edited = structuredClone(draft);
    assign(edited, ["task_overrides", task], value);
    this.#edit(edited);
    if (!focus) return;
    await this.updateComplete;
    this.#card(task)?.querySelector<HTMLElement>("select, button:not(:disabled)")?.focus();
  }

  // Saving ------------------------------------------------------------------------------------------------------------

  #save = async () => {
    const { store } = this;
    const kept = this.#kept;
    const changes = kept && policyChanges(policyOf(kept.team), kept.draft);
    if (!kept || !changes || this.busy) return;
    const sent = kept.draft;
    Object.assign(this, { busy: true, error: null });
    try {
      const saved = await store.whileSignedIn(this.teams.set(this.team.id, changes, kept.team.version));
      // Edits made during the save stay unsaved.
      const draft = merge(sent, kept.draft, policyOf(saved)).merged;
      sessionOf(store).policies.set(saved.id, { team: saved, draft });
      store.toast("team", store.t("team.policy.saved"));
      store.teamChanged();
      this.teamsChanged();
    } catch (error) {
      if (error instanceof OutdatedAnswer) return;
      this.error = error;
      if (asPanelError(error).code === "settings_changed") await this.#theirs();
    } finally {
      this.busy = false;
      this.#count();
    }
  };

  /** Somebody else changed the policy: show their version with the user's changes on top, to be saved again. */
  async #theirs(): Promise<void> {
    const { store } = this;
    try {
      this.#take(await store.whileSignedIn(this.teams.get(this.team.id)));
      this.error = null;
      store.toast("team", store.t("team.policy.merged"), "warn");
    } catch (error) {
      if (!(error instanceof OutdatedAnswer)) this.error = error;
    }
  }
}
