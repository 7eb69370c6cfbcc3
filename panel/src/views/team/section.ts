/** The base of a section of the Team tab: it shows one team, and loads again for another. */

import type { PropertyValues } from "lit";
import { property } from "lit/decorators.js";
import { TeamBackend } from "../../team-backend.js";
import type { Team } from "../../types.js";
import { View } from "../view.js";
import type { Question } from "./ask.js";

export abstract class TeamSection extends View {
  @property({ attribute: false }) team!: Team;
  /** Opens the tab's dialog. */
  @property({ attribute: false }) ask: (question: Question) => void = () => {};

  protected get teams(): TeamBackend {
    return new TeamBackend(this.store.backend);
  }

  /** Load what the section shows. */
  protected abstract load(): void;

  override willUpdate(changed: PropertyValues): void {
    const before = changed.get("team") as Team | undefined;
    if (changed.has("team") && before?.id !== this.team.id) this.load();
  }

  /** Tell the tab that the list of teams may have changed. */
  protected teamsChanged(): void {
    this.dispatchEvent(new Event("teams-changed", { bubbles: true }));
  }
}
