/** A team's open invitations, and the form for new ones. */

import { html, nothing, type TemplateResult } from "lit";
import { customElement, state } from "lit/decorators.js";
import { OutdatedAnswer } from "../../store.js";
import type { TeamRole, TeamInvitation } from "../../types.js";
import { icon } from "../icons.js";
import { Loader } from "../loader.js";
import { invitationLink } from "./link.js";
import { rolesToInvite } from "./roles.js";
import { TeamSection } from "./section.js";

/** How long an invitation can be accepted: a day, a week, or the most that the database allows. */
const HOURS = [24, 168, 720] as const;

@customElement("supa-llm-team-invitations")
export class TeamInvitations extends TeamSection {
  @state() private email = "";
  @state() private wanted: TeamRole = "member";
  @state() private hours: number = 168;
  @state() private busy = false;
  @state() private error = "";
  #open = new Loader<TeamInvitation[]>(() => this.requestUpdate());

  protected override load = () => void this.#load();

  #load = (): Promise<void> => this.#open.load(() => this.teams.invitations(this.team.id));

  override render() {
    const { store } = this;
    const { t } = store;
    const open = this.#open.value;
    return html`<section class="stack tight" aria-labelledby="invitations-title">
      <div class="section-head">
        <h2 id="invitations-title">${t("team.invitations")}</h2>
        <p class="muted small">${t("team.invite.about")}</p>
      </div>
      <div class="card stack">
        ${this.#form()}
        ${this.#open.error ? this.#open.state(store, () => void this.#load(), html``) : nothing}
        ${
          open?.length
            ? html`<ul class="team-open" aria-label=${t("team.invitations.open")} part="invitations">
                ${open.map((invitation) => this.#row(invitation))}
              </ul>`
            : nothing
        }
      </div>
    </section>`;
  }

  #form(): TemplateResult {
    const { t } = this.store;
    return html`<form class="team-invite" @submit=${this.#invite} novalidate autocomplete="off">
        <label class="field">
          <span>${t("team.invite.email")}</span>
          <input
            type="email"
            id="team-invite-email"
            autocomplete="off"
            autocapitalize="off"
            spellcheck="false"
            maxlength="320"
            placeholder=${t("team.invite.anyone")}
            aria-invalid=${this.error ? "true" : "false"}
            aria-describedby="team-invite-error"
            .value=${this.email}
            @input=${(event: Event) => {
              this.email = (event.target as HTMLInputElement).value;
              this.error = "";
            }}
          />
        </label>
        <label class="field">
          <span>${t("team.role")}</span>
          <select
            @change=${(event: Event) => (this.wanted = (event.target as HTMLSelectElement).value as TeamRole)}
          >
            ${rolesToInvite(this.team.role).map(
              (role) =>
                html`<option value=${role} .selected=${role === this.wanted}>
                  ${t(`team.role.${role}`)}
                </option>`,
            )}
          </select>
        </label>
        <label class="field">
          <span>${t("team.invite.valid")}</span>
          <select
            @change=${(event: Event) => (this.hours = Number((event.target as HTMLSelectElement).value))}
          >
            ${HOURS.map(
              (hours) =>
                html`<option value=${hours} .selected=${hours === this.hours}>
                  ${this.store.translator.count("team.days", hours / 24)}
                </option>`,
            )}
          </select>
        </label>
        <button type="submit" aria-disabled=${this.busy}>
          ${icon("plus")}${t(this.email.trim() ? "team.invite.send" : "team.invite.link")}
        </button>
      </form>
      <p class="small muted">${t(`team.role_about.${this.wanted}`)}</p>
      <p class="bad small" id="team-invite-error" role="alert" ?hidden=${!this.error}>${this.error}</p>`;
  }

  #row(invitation: TeamInvitation): TemplateResult {
    const { t, formats } = this.store;
    const who = invitation.email ?? t("team.invitation.link");
    return html`<li class="team-row">
      <div class="team-who">
        <span class="setting-name">${who}</span>
        <span class="small muted"
          >${t("team.invitation.about", {
            role: t(`team.role.${invitation.role}`),
            time: formats.time(invitation.expires_at),
          })}</span
        >
      </div>
      <button
        type="button"
        aria-label=${t("team.invitation.remove_of", { who })}
        @click=${() => this.#askRemoval(invitation, who)}
      >
        ${t("team.invitation.remove")}
      </button>
    </li>`;
  }

  #invite = async (event: Event) => {
    event.preventDefault();
    if (this.busy) return;
    const { store, team, wanted: role } = this;
    const { t } = store;
    const email = this.email.trim() || null;
    Object.assign(this, { busy: true, error: "" });
    try {
      const made = await store.whileSignedIn(this.teams.invite(team.id, role, email, this.hours));
      this.email = "";
      if (made.token)
        this.ask({
          title: t("team.link.title"),
          about: t("team.link.about", {
            role: t(`team.role.${made.role}`),
            time: store.formats.time(made.expires_at),
          }),
          link: { label: t("team.link.label"), value: invitationLink(location.href, made.token) },
          yes: t("team.link.done"),
          run: () => {},
        });
      else store.toast("team", t("team.invited_address", { email: made.email ?? "" }));
      void this.#load();
    } catch (error) {
      if (error instanceof OutdatedAnswer) return;
      this.error = store.explain(error);
      this.querySelector<HTMLElement>("#team-invite-email")?.focus();
    } finally {
      this.busy = false;
    }
  };

  #askRemoval(invitation: TeamInvitation, who: string): void {
    const { store } = this;
    const { t } = store;
    this.ask({
      title: t("team.invitation.remove.title", { who }),
      about: t("team.invitation.remove.about"),
      yes: t("team.invitation.remove"),
      look: "danger",
      run: async () => {
        await store.whileSignedIn(this.teams.removeInvitation(this.team.id, invitation.id));
        store.toast("team", t("team.invitation.removed"));
        await this.#load();
      },
    });
  }
}
