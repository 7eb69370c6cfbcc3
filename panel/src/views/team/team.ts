/** The Team tab: the user's teams and invitations, and a section each for members, keys, policy and usage. */

import { html, nothing, type PropertyValues, type TemplateResult } from "lit";
import { customElement, query, state } from "lit/decorators.js";
import { keyed } from "lit/directives/keyed.js";
import { TeamBackend } from "../../team-backend.js";
import { team as english } from "../../texts/en/team.js";
import { usage } from "../../texts/en/usage.js";
import { addEnglish } from "../../texts/index.js";
import type { Team, TeamDetails, TeamInvitation } from "../../types.js";
import { activityStyles } from "../activity/styles.js";
import { icon, pill } from "../icons.js";
import { Loader } from "../loader.js";
import "../menu.js";
import type { MenuItem } from "../menu.js";
import { rowSkeleton } from "../skeleton.js";
import { tasksStyles } from "../tasks/styles.js";
import { usageStyles } from "../usage/styles.js";
import { View } from "../view.js";
import "./activity-section.js";
import "./ask.js";
import type { Question, TeamAsk } from "./ask.js";
import "./keys.js";
import { tokenIn, withoutInvitation } from "./link.js";
import "./members.js";
import "./policy-section.js";
import { manages } from "./roles.js";
import { SECTIONS, sessionOf, type Section } from "./session.js";
import "./spending.js";
import { teamStyles } from "./styles.js";
import "./usage-section.js";

addEnglish({ ...english, ...usage });

/** What the panel adds to its styles when this tab is first shown. */
export const styles = [tasksStyles, usageStyles, activityStyles, teamStyles];

@customElement("supa-llm-team")
export class TeamView extends View {
  @state() private busy = false;
  @state() private error = "";
  @query("supa-llm-team-ask") private dialog!: TeamAsk;
  #teams = new Loader<true>(() => this.requestUpdate());

  override connectedCallback(): void {
    super.connectedCallback();
    void this.#load();
  }

  #load = (): Promise<void> =>
    this.#teams.load(async () => {
      const { store } = this;
      const { backend } = store;
      const [teams, invitations] = await store.whileSignedIn(
        Promise.all([backend.teams(), backend.invitations()]),
      );
      Object.assign(store.loaded, { teams, invitations });
      store.changed();
      return true as const;
    });

  get #backend(): TeamBackend {
    return new TeamBackend(this.store.backend);
  }

  get #ask(): (question: Question) => void {
    return (question) => void this.dialog.ask(question);
  }

  /** The chosen team: the one that was selected, the default team, or the first. */
  get #team(): Team | undefined {
    const { teams, settings } = this.store.loaded;
    const { selected } = sessionOf(this.store);
    return (
      teams.find(({ id }) => id === selected) ??
      teams.find(({ id }) => id === settings.default_team) ??
      teams[0]
    );
  }

  override updated(_: PropertyValues): void {
    const { store } = this;
    const known = new Set(store.loaded.teams.map(({ id }) => id));
    const session = sessionOf(store);
    // Nobody can save changes of a team that they left.
    for (const id of session.policies.keys()) if (!known.has(id)) session.policies.delete(id);
    store.teamChanges = session.changes;
  }

  override render() {
    const { store } = this;
    const team = this.#team;
    const loading = this.#teams.value === null && !store.loaded.teams.length;
    return html`<div class="stack sections" @teams-changed=${() => void this.#changed()}>
      ${store.invitation ? this.#link() : nothing}
      ${store.loaded.invitations.map((it) => this.#invitation(it))}
      ${this.error ? html`<p class="alert bad" role="alert" part="error">${icon("warning")}<span class="grow">${this.error}</span></p>` : nothing}
      ${this.#teams.error || loading ? this.#teams.state(store, () => void this.#load(), rowSkeleton(6)) : nothing}
      ${team ? this.#shown(team) : loading || this.#teams.error ? nothing : this.#empty()}
      <supa-llm-team-ask .store=${store}></supa-llm-team-ask>
    </div>`;
  }

  /** A role or a membership changed: that may change the settings, too. */
  async #changed(): Promise<void> {
    this.store.teamChanged();
    await Promise.all([this.#load(), this.store.refresh()]);
  }

  // Invitations to the user -------------------------------------------------------------------------------------------

  /** The invitation link that the user opened. Joining needs a click, because the team's policy then applies. */
  #link(): TemplateResult {
    const { t } = this.store;
    const token = this.store.invitation ?? "";
    return this.#invited(
      t("team.link.opened"),
      t("team.join.about"),
      () => void this.#accept(token),
      () => this.#dropLink(),
      t("team.link.ignore"),
    );
  }

  #invitation(invitation: TeamInvitation): TemplateResult {
    const { t, formats } = this.store;
    const about = t("team.invitation.until", { time: formats.time(invitation.expires_at) });
    return this.#invited(
      t("team.invited_to", { team: invitation.team_name, role: t(`team.role.${invitation.role}`) }),
      `${t("team.join.about")} ${about}`,
      () => void this.#accept(invitation.id),
      () => void this.#decline(invitation),
      t("team.decline"),
      invitation.team_name,
    );
  }

  #invited(
    title: string,
    about: string,
    join: () => void,
    drop: () => void,
    no: string,
    of = "",
  ): TemplateResult {
    const { t } = this.store;
    return html`<section class="card team-invitation" part="invitation" aria-label=${title}>
      ${icon("team")}
      <div class="grow stack tight">
        <h2>${title}</h2>
        <p class="small muted">${about}</p>
      </div>
      <div class="row">
        <button aria-disabled=${this.busy} aria-label=${of ? `${no}: ${of}` : no} @click=${drop}>
          ${no}
        </button>
        <button
          class="primary"
          aria-disabled=${this.busy}
          aria-label=${of ? `${t("team.join")}: ${of}` : t("team.join")}
          @click=${join}
        >
          ${t("team.join")}
        </button>
      </div>
    </section>`;
  }

  async #accept(invitation: string): Promise<void> {
    await this.#do(async () =>
      this.#joined(await this.store.whileSignedIn(this.#backend.accept(invitation))),
    );
  }

  async #joined(team: TeamDetails): Promise<void> {
    const { store } = this;
    if (store.invitation) this.#dropLink();
    store.toast("team", store.t("team.joined_team", { team: team.name }));
    await this.#select(team.id);
  }

  async #decline(invitation: TeamInvitation): Promise<void> {
    const { store } = this;
    await this.#do(async () => {
      await store.whileSignedIn(this.#backend.removeInvitation(invitation.team_id, invitation.id));
      store.toast("team", store.t("team.declined"));
      await this.#load();
    });
  }

  /** Forget the link, and take its token out of the address. */
  #dropLink(): void {
    this.store.invitation = null;
    history.replaceState(history.state, "", withoutInvitation(location.href));
    this.error = "";
    this.store.changed();
  }

  async #do(what: () => Promise<void>): Promise<void> {
    if (this.busy) return;
    Object.assign(this, { busy: true, error: "" });
    try {
      await what();
    } catch (error) {
      this.error = this.store.explain(error);
    } finally {
      this.busy = false;
    }
  }

  // Teams -------------------------------------------------------------------------------------------------------------

  /** Show a team that the user just created or joined. */
  async #select(id: string): Promise<void> {
    const session = sessionOf(this.store);
    Object.assign(session, { selected: id, section: "members" satisfies Section });
    await this.#changed();
    await this.updateComplete;
    this.querySelector<HTMLElement>(".team-name")?.focus();
  }

  #create = () => {
    const { t } = this.store;
    this.#ask({
      title: t("team.create"),
      about: t("team.create.about"),
      field: { label: t("team.name"), maxLength: 100 },
      yes: t("team.create"),
      run: async (name) => {
        const team = await this.store.whileSignedIn(this.#backend.create(name));
        this.store.toast("team", this.store.t("team.created", { team: team.name }));
        await this.#select(team.id);
      },
    });
  };

  #join = () => {
    const { t } = this.store;
    this.#ask({
      title: t("team.join_with"),
      about: t("team.join.about"),
      field: { label: t("team.join.field"), maxLength: 2000 },
      yes: t("team.join"),
      run: async (text) => this.#joined(await this.store.whileSignedIn(this.#backend.accept(tokenIn(text)))),
    });
  };

  #empty(): TemplateResult {
    const { t } = this.store;
    return html`<div class="empty" part="empty">
      ${icon("team")}
      <h2>${t("team.none.title")}</h2>
      <p>${t("team.none.text")}</p>
      <div class="row team-empty-actions">
        ${
          this.#mayCreate
            ? html`<button class="primary" @click=${this.#create}>${icon("plus")}${t("team.create")}</button>`
            : nothing
        }
        <button @click=${this.#join}>${t("team.join_with")}</button>
      </div>
    </div>`;
  }

  get #mayCreate(): boolean {
    return this.store.loaded.settings.may_create_teams;
  }

  #shown(team: Team): TemplateResult {
    const { store } = this;
    const { t } = store;
    const { teams } = store.loaded;
    const session = sessionOf(store);
    const sections = SECTIONS.filter((section) => section !== "activity" || manages(team.role));
    const chosen = sections.includes(session.section) ? session.section : "members";
    return html`<section class="stack" aria-label=${team.name}>
        <div class="team-head">
          <div class="row">
            ${
              teams.length > 1
                ? html`<select
                    class="team-name"
                    aria-label=${t("team.choose")}
                    @change=${(event: Event) => {
                      session.selected = (event.target as HTMLSelectElement).value;
                      this.requestUpdate();
                    }}
                  >
                    ${teams.map(
                      ({ id, name }) =>
                        html`<option value=${id} .selected=${id === team.id}>${name}</option>`,
                    )}
                  </select>`
                : html`<h2 class="team-name" tabindex="-1">${team.name}</h2>`
            }
            ${pill("muted", "team", t("team.your_role", { role: t(`team.role.${team.role}`) }))}
          </div>
          <supa-llm-menu .label=${t("team.more")} .items=${this.#menu(team)}></supa-llm-menu>
        </div>
        ${this.#default(team)}
        <div class="segments team-sections" role="group" aria-label=${t("team.sections")}>
          ${sections.map(
            (section) =>
              html`<button
                aria-pressed=${section === chosen}
                @click=${() => {
                  session.section = section;
                  this.requestUpdate();
                }}
              >
                ${t(`team.section.${section}`)}
              </button>`,
          )}
        </div>
      </section>
      ${keyed(team.id, this.#section(team, chosen))}`;
  }

  #section(team: Team, section: Section): TemplateResult {
    const { store } = this;
    const ask = this.#ask;
    switch (section) {
      case "members":
        return html`<supa-llm-team-members
          .store=${store}
          .team=${team}
          .ask=${ask}
        ></supa-llm-team-members>`;
      case "keys":
        return html`<supa-llm-team-keys .store=${store} .team=${team} .ask=${ask}></supa-llm-team-keys>`;
      case "policy":
        return html`<supa-llm-team-policy .store=${store} .team=${team} .ask=${ask}></supa-llm-team-policy>`;
      case "usage":
        return html`<supa-llm-team-usage .store=${store} .team=${team} .ask=${ask}></supa-llm-team-usage>`;
      case "activity":
        return html`<supa-llm-team-activity .store=${store} .team=${team}></supa-llm-team-activity>`;
    }
  }

  /** Whether the user's requests use this team: a setting, saved with the others. */
  #default(team: Team): TemplateResult {
    const { store } = this;
    const { t } = store;
    const { default_team: chosen } = store.loaded.draft;
    const other = chosen !== null && chosen !== team.id ? store.teamName(chosen) : null;
    return html`<div class="card settings">
      <div class="setting switch">
        <div>
          <label class="setting-name" for="team-default">${t("team.default")}</label>
          <p class="muted small" id="team-default-about-tab">
            ${t("team.default.about")} ${other ? t("team.default.instead", { team: other }) : ""}
          </p>
        </div>
        <input
          type="checkbox"
          role="switch"
          id="team-default"
          aria-describedby="team-default-about-tab"
          .checked=${chosen === team.id}
          @change=${(event: Event) =>
            store.edit(["default_team"], (event.target as HTMLInputElement).checked ? team.id : null)}
        />
      </div>
    </div>`;
  }

  #menu(team: Team): MenuItem[] {
    const { t } = this.store;
    const items: (MenuItem | false)[] = [
      manages(team.role) && { label: t("team.rename"), icon: "pencil", run: () => this.#rename(team) },
      this.#mayCreate && { label: t("team.create"), icon: "plus", run: this.#create },
      { label: t("team.join_with"), icon: "key", run: this.#join },
      // The only owner cannot; the list of members explains it.
      (team.role !== "owner" || team.owners.length > 1) && {
        label: t("team.leave"),
        icon: "leave",
        look: "danger",
        run: () => this.#leave(team),
      },
      team.role === "owner" && {
        label: t("team.remove"),
        icon: "trash",
        look: "danger",
        run: () => this.#remove(team),
      },
    ];
    return items.filter((item) => item !== false);
  }

  #rename(team: Team): void {
    const { store } = this;
    const { t } = store;
    this.#ask({
      title: t("team.rename"),
      field: { label: t("team.name"), value: team.name, maxLength: 100 },
      yes: t("team.rename.yes"),
      run: async (name) => {
        await store.whileSignedIn(this.#backend.set(team.id, { name }));
        store.toast("team", t("team.renamed"));
        await this.#load();
      },
    });
  }

  #leave(team: Team): void {
    const { store } = this;
    const { t } = store;
    this.#ask({
      title: t("team.leave.title", { team: team.name }),
      about: t("team.leave.about"),
      yes: t("team.leave"),
      look: "danger",
      run: async () => {
        const { user_id } = store.loaded.settings;
        await store.whileSignedIn(this.#backend.removeMember(team.id, user_id));
        store.toast("team", t("team.left", { team: team.name }));
        await this.#changed();
      },
    });
  }

  #remove(team: Team): void {
    const { store } = this;
    const { t } = store;
    this.#ask({
      title: t("team.remove.title", { team: team.name }),
      about: t("team.remove.about"),
      yes: t("team.remove"),
      look: "danger",
      run: async () => {
        await store.whileSignedIn(this.#backend.remove(team.id));
        store.toast("team", t("team.removed", { team: team.name }));
        await this.#changed();
      },
    });
  }
}
