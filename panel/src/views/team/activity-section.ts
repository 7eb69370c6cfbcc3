/** The audit log of a team, for its owners and admins. */

import { html } from "lit";
import { customElement } from "lit/decorators.js";
import type { TeamMember } from "../../types.js";
import "../activity/activity.js";
import type { TeamLog } from "../activity/activity.js";
import { Loader } from "../loader.js";
import { rowSkeleton } from "../skeleton.js";
import { nameOf } from "./members.js";
import { TeamSection } from "./section.js";

@customElement("supa-llm-team-activity")
export class TeamActivity extends TeamSection {
  #members = new Loader<TeamMember[]>(() => this.requestUpdate());
  #log: TeamLog = {
    load: (limit, before) => this.teams.audit(this.team.id, limit, before),
    verifyAudit: (after) => this.teams.verifyAudit(this.team.id, after),
    userName: (id) => {
      const { settings } = this.store.loaded;
      if (id === settings.user_id) return this.store.t("activity.actor.user");
      const member = this.#members.value?.find(({ user_id }) => user_id === id);
      return member ? nameOf(member) : this.store.t("activity.actor.former");
    },
  };

  protected override load = () => void this.#load();

  #load = (): Promise<void> => this.#members.load(() => this.teams.members(this.team.id));

  override render() {
    const { store } = this;
    return this.#members.value
      ? html`<supa-llm-activity .store=${store} .team=${this.#log}></supa-llm-activity>`
      : this.#members.state(store, () => void this.#load(), rowSkeleton(8));
  }
}
