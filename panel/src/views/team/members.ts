/** The members of a team and their roles. */

import { html, nothing, type TemplateResult } from "lit";
import { customElement } from "lit/decorators.js";
import { repeat } from "lit/directives/repeat.js";
import type { TeamRole, TeamMember } from "../../types.js";
import { pill, type IconName } from "../icons.js";
import { Loader } from "../loader.js";
import "../menu.js";
import type { MenuItem } from "../menu.js";
import { rowSkeleton } from "../skeleton.js";
import "./invitations.js";
import { isLastOwner, manages, removable, rolesToSet } from "./roles.js";
import { TeamSection } from "./section.js";

const ROLE_ICONS: Record<TeamRole, IconName> = { owner: "key", admin: "order", member: "team" };

@customElement("supa-llm-team-members")
export class TeamMembers extends TeamSection {
  #members = new Loader<TeamMember[]>(() => this.requestUpdate());

  protected override load = () => void this.#load();

  #load = (): Promise<void> => this.#members.load(() => this.teams.members(this.team.id));

  override render() {
    const { store, team } = this;
    const { t } = store;
    const members = this.#members.value;
    return html`<div class="stack sections">
      <section class="stack tight" aria-labelledby="members-title">
        <h2 id="members-title">${t("team.members")}</h2>
        ${this.#members.state(store, () => void this.#load(), rowSkeleton(3))}
        ${
          members
            ? html`<ul class="card team-list" part="members">
                ${repeat(
                  members,
                  ({ user_id }) => user_id,
                  (member) => this.#row(member, members),
                )}
              </ul>`
            : nothing
        }
        ${members ? this.#lastOwner(members) : nothing}
      </section>
      ${
        manages(team.role)
          ? html`<supa-llm-team-invitations
              .store=${store}
              .team=${team}
              .ask=${this.ask}
            ></supa-llm-team-invitations>`
          : nothing
      }
    </div>`;
  }

  get #me(): string {
    return this.store.loaded.settings.user_id;
  }

  /** Why the only owner cannot leave. */
  #lastOwner(members: readonly TeamMember[]): TemplateResult | typeof nothing {
    const own = members.find(({ user_id }) => user_id === this.#me);
    if (!own || !isLastOwner(own, members)) return nothing;
    const about = members.length > 1 ? "team.last_owner" : "team.only_member";
    return html`<p class="small muted">${this.store.t(about)}</p>`;
  }

  #row(member: TeamMember, members: readonly TeamMember[]): TemplateResult {
    const { store } = this;
    const { t, formats } = store;
    const who = nameOf(member);
    const me = member.user_id === this.#me;
    const items = this.#items(member, members);
    return html`<li class="team-row" data-member=${member.user_id}>
      <div class="team-who">
        <span class="setting-name">${me ? t("team.you", { who }) : who}</span>
        ${member.name && member.email ? html`<span class="small muted">${member.email}</span>` : nothing}
      </div>
      <span class="small muted team-when">${t("team.joined", { day: formats.day(member.joined_at) })}</span>
      ${pill("muted", ROLE_ICONS[member.role], t(`team.role.${member.role}`))}
      ${
        items.length
          ? html`<supa-llm-menu .label=${t("team.more_of", { who })} .items=${items}></supa-llm-menu>`
          : html`<span class="team-no-menu"></span>`
      }
    </li>`;
  }

  #items(member: TeamMember, members: readonly TeamMember[]): MenuItem[] {
    const { t } = this.store;
    const { role } = this.team;
    const me = member.user_id === this.#me;
    const items: MenuItem[] = rolesToSet(role, member, members).map((wanted) => ({
      label: t(`team.make.${wanted}`),
      icon: ROLE_ICONS[wanted],
      run: () => this.#askRole(member, wanted),
    }));
    if (!removable(role, this.#me, member, members)) return items;
    return [
      ...items,
      {
        label: t(me ? "team.leave" : "team.remove_member"),
        icon: me ? "leave" : "trash",
        look: "danger",
        run: () => this.#askRemoval(member),
      },
    ];
  }

  /** Ask before somebody becomes an owner or the user gives up their own role; other changes are easily undone. */
  #askRole(member: TeamMember, role: TeamRole): void {
    const { t } = this.store;
    const who = nameOf(member);
    const me = member.user_id === this.#me;
    const run = () => this.#setRole(member, role);
    if (role === "owner")
      this.ask({
        title: t("team.make_owner.title", { who }),
        about: t("team.make_owner.about"),
        yes: t("team.make.owner"),
        run,
      });
    else if (me)
      this.ask({
        title: t("team.step_down.title"),
        about: t("team.step_down.about", { role: t(`team.role.${role}`) }),
        yes: t(`team.make.${role}`),
        run,
      });
    else run().catch((error: unknown) => this.store.toast("team", this.store.explain(error), "warn"));
  }

  async #setRole(member: TeamMember, role: TeamRole): Promise<void> {
    const { store } = this;
    await store.whileSignedIn(this.teams.setMember(this.team.id, member.user_id, role));
    store.toast(
      "team",
      store.t("team.role_set", { who: nameOf(member), role: store.t(`team.role.${role}`) }),
    );
    await this.#load();
    this.teamsChanged();
  }

  #askRemoval(member: TeamMember): void {
    const { store, team } = this;
    const { t } = store;
    const me = member.user_id === this.#me;
    const who = nameOf(member);
    this.ask({
      title: me ? t("team.leave.title", { team: team.name }) : t("team.remove_member.title", { who }),
      about: t(me ? "team.leave.about" : "team.remove_member.about"),
      yes: t(me ? "team.leave" : "team.remove_member"),
      look: "danger",
      run: async () => {
        await store.whileSignedIn(this.teams.removeMember(team.id, member.user_id));
        store.toast("team", me ? t("team.left", { team: team.name }) : t("team.member_removed", { who }));
        if (!me) await this.#load();
        this.teamsChanged();
      },
    });
  }
}

/** What to call a member. */
export function nameOf({ name, email, user_id }: Pick<TeamMember, "name" | "email" | "user_id">): string {
  return name?.trim() || email || user_id;
}
