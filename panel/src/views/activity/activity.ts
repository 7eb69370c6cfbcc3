/** The user's audit log. */

import { html, nothing, type TemplateResult } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import { repeat } from "lit/directives/repeat.js";
import type { AuditEntry, AuditVerification } from "../../types.js";
import { icon, pill, type IconName } from "../icons.js";
import { activity as english } from "../../texts/en/activity.js";
import { addEnglish } from "../../texts/index.js";
import { filterSelect, pager, Pages } from "../pages.js";
import { loadingWith, rowSkeleton } from "../skeleton.js";
import { View } from "../view.js";
import { isSuperseded, kindOf, KINDS, wordsFor } from "./entries.js";
import { sealWords, verifyLog } from "./seals.js";
import { activityStyles } from "./styles.js";

/** Where the entries of a team come from, and what to call its users. */
export interface TeamLog {
  load: (limit: number, before: string | null) => Promise<AuditEntry[]>;
  verifyAudit: (after: string | null) => Promise<AuditVerification>;
  userName: (id: string) => string;
}

const ICONS: Record<(typeof KINDS)[number], IconName> = {
  keys: "key",
  settings: "order",
  limits: "coins",
  teams: "team",
  access: "activity",
};

addEnglish(english);

/** What the panel adds to its styles when this tab is first shown. */
export const styles = [activityStyles];

@customElement("supa-llm-activity")
export class ActivityView extends View {
  @state() private kind = "";
  @state() private provider = "";
  @state() private verified: AuditVerification | null = null;
  /** A team's log instead of the user's. */
  @property({ attribute: false }) team: TeamLog | null = null;
  #log = new Pages<AuditEntry>(
    () => this.requestUpdate(),
    (limit, last) => (this.team ? this.team.load : this.store.backend.audit)(limit, last?.id ?? null),
  );

  override connectedCallback(): void {
    super.connectedCallback();
    void this.#filter();
    // The log itself reports that the project is unavailable.
    verifyLog(this.team ?? this.store.backend).then(
      (found) => (this.verified = found),
      () => {},
    );
  }

  override render() {
    const { store } = this;
    const { t } = store;
    const log = this.#log;
    if (log.empty)
      return html`<div class="empty" part="empty">
        ${icon("activity")}
        <h2>${t("activity.none.title")}</h2>
        <p>${t("activity.none")}</p>
      </div>`;
    return html`<div class="stack">
      <div class="row between">
        <div class="section-head">
          <h2 id="activity-title">${t("tab.activity")}</h2>
          <p class="muted small">${t(this.team ? "activity.about_team" : "activity.about")}</p>
          ${this.#seal()}
        </div>
        ${this.#filters()}
      </div>
      ${!log.loaded && !log.error ? loadingWith(store, rowSkeleton(8)) : nothing}
      <div class="card table-card" ?hidden=${!log.loaded && !log.error} part="activity">
        ${log.shown.length ? this.#table(log.shown) : nothing}
        ${log.loaded && !log.shown.length && !log.busy ? this.#none() : nothing} ${pager(store, log)}
      </div>
    </div>`;
  }

  #seal() {
    const { store, verified } = this;
    const words = verified && sealWords(store, verified);
    if (!words) return nothing;
    return verified.first_problem
      ? html`<p role="alert">${pill("bad", "warning", words, "seal")}</p>`
      : html`<p>${pill("good", "check", words, "seal")}</p>`;
  }

  #filters(): TemplateResult {
    const { store } = this;
    const { t } = store;
    const { providers, disabledProviders } = store.loaded;
    const take = (name: "kind" | "provider") => (value: string) => {
      this[name] = value;
      void this.#filter();
    };
    return html`<div class="filters">
      ${filterSelect(
        t("activity.what"),
        t("filter.events"),
        this.kind,
        KINDS.map((kind) => [kind, t(`activity.kind.${kind}`)] as const),
        take("kind"),
      )}
      ${filterSelect(
        t("word.provider"),
        t("filter.providers"),
        this.provider,
        [...providers, ...disabledProviders].map(({ id, name }) => [id, name] as const),
        take("provider"),
      )}
    </div>`;
  }

  #filter(): Promise<void> {
    const { kind, provider } = this;
    return this.#log.filterBy(
      (entry, entries) =>
        (!kind || kindOf(entry) === kind) &&
        (!provider || entry.provider === provider) &&
        !isSuperseded(entry, entries),
    );
  }

  #none(): TemplateResult {
    const { t } = this.store;
    return html`<div class="table-none">
      <p class="muted">${t("filter.none")}</p>
      <button
        @click=${() => {
          this.kind = this.provider = "";
          void this.#filter();
        }}
      >
        ${t("filter.clear")}
      </button>
    </div>`;
  }

  #actor({ actor, detail }: AuditEntry): string {
    const { t } = this.store;
    if (actor === "administrator") return t("activity.actor.administrator");
    if (!this.team) return t(`activity.actor.${actor === "user" ? "user" : "runtime"}`);
    const by = detail["by"];
    return typeof by === "string" ? this.team.userName(by) : t("activity.actor.none");
  }

  #table(entries: readonly AuditEntry[]): TemplateResult {
    const { store } = this;
    const { t, formats } = store;
    return html`<div class="scroll" tabindex="0" role="region" aria-labelledby="activity-title">
      <table>
        <thead>
          <tr>
            <th scope="col">${t("word.time")}</th>
            <th scope="col">${t("activity.what")}</th>
            <th scope="col">${t("activity.who")}</th>
          </tr>
        </thead>
        <tbody>
          ${repeat(
            entries,
            ({ id }) => id,
            (entry) =>
              html`<tr>
                <td class="when" title=${formats.time(entry.at)}>${formats.shortTime(entry.at)}</td>
                <td>
                  <span class="event"
                    >${icon(ICONS[kindOf(entry)])}<span
                      >${wordsFor(store, entry, this.team?.userName)}</span
                    ></span
                  >
                </td>
                <td class="who">${this.#actor(entry)}</td>
              </tr>`,
          )}
        </tbody>
      </table>
    </div>`;
  }
}
