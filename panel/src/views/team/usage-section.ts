/** The usage of a team's keys: all members' for owners and admins, otherwise the user's own; and the limits on it. */

import { html, nothing, type TemplateResult } from "lit";
import { customElement, state } from "lit/decorators.js";
import type { TextName } from "../../texts/index.js";
import type { Quota, TeamMember, UsageLine } from "../../types.js";
import { icon } from "../icons.js";
import { Loader } from "../loader.js";
import "../mark.js";
import { figureSkeleton } from "../skeleton.js";
import { costInWords } from "../usage/costs.js";
import { quotaBars } from "../usage/quota-bars.js";
import { nameOf } from "./members.js";
import { manages } from "./roles.js";
import { TeamSection } from "./section.js";
import { spendingLimit } from "./spending.js";

const PERIODS = [7, 30, 90] as const;

interface Report {
  total: UsageLine | null;
  byMember: UsageLine[];
  byModel: UsageLine[];
  members: TeamMember[];
}

@customElement("supa-llm-team-usage")
export class TeamUsage extends TeamSection {
  @state() private days: (typeof PERIODS)[number] = 30;
  #report = new Loader<Report>(() => this.requestUpdate());
  #limits = new Loader<Quota[]>(() => this.requestUpdate());

  protected override load(): void {
    void this.#loadReport();
    void this.#loadLimits();
  }

  #loadReport = (): Promise<void> =>
    this.#report.load(async () => {
      const { teams, team, store } = this;
      const since = store.formats.dateBefore(Date.now(), this.days - 1);
      const all = manages(team.role);
      const [totals, byMember, byModel, members] = await Promise.all([
        teams.usage(team.id, since, []),
        all ? teams.usage(team.id, since, ["user"]) : [],
        teams.usage(team.id, since, ["provider", "model"]),
        all ? teams.members(team.id) : [],
      ]);
      return { total: totals[0] ?? null, byMember, byModel, members };
    });

  #loadLimits = (): Promise<void> => this.#limits.load(() => this.teams.quotas(this.team.id));

  override render() {
    const { store, team } = this;
    const { t } = store;
    const report = this.#report.value;
    const limits = this.#limits.value;
    return html`<div class="stack sections" @limits-changed=${() => void this.#loadLimits()}>
      <section class="stack" aria-labelledby="team-usage-title">
        <div class="row between">
          <div class="section-head">
            <h2 id="team-usage-title">${t("team.usage")}</h2>
            <p class="muted small">
              ${t(manages(team.role) ? "team.usage.about" : "team.usage.about_member")}
            </p>
          </div>
          ${this.#periods()}
        </div>
        ${this.#report.state(store, () => void this.#loadReport(), figureSkeleton())}
        ${report ? this.#shown(report) : nothing}
      </section>
      ${this.#limits.error ? this.#limits.state(store, () => void this.#loadLimits(), html``) : nothing}
      ${limits ? this.#limitsOf(limits) : nothing}
    </div>`;
  }

  #periods(): TemplateResult {
    const { t } = this.store;
    return html`<div class="segments" role="group" aria-label=${t("usage.period")}>
      ${PERIODS.map(
        (days) =>
          html`<button
            aria-pressed=${days === this.days}
            @click=${() => {
              this.days = days;
              void this.#loadReport();
            }}
          >
            ${t(`usage.period.${days}`)}
          </button>`,
      )}
    </div>`;
  }

  #shown({ total, byMember, byModel, members }: Report): TemplateResult {
    const { store } = this;
    const { t, translator, formats } = store;
    if (!total?.attempts)
      return html`<div class="empty" part="empty">
        ${icon("usage")}
        <h3>${t("usage.none.title")}</h3>
        <p>${t("team.usage.none")}</p>
      </div>`;
    const figure = (name: TextName, value: string) =>
      html`<div class="card">
        <dt class="small muted">${t(name)}</dt>
        <dd class="figure">${value}</dd>
      </div>`;
    return html`<dl class="figures" part="totals">
        ${figure("usage.cost", costInWords(store, total))}
        ${figure("usage.requests", formats.number(total.requests))}
        ${figure("usage.tokens", `${formats.short(total.input_tokens)} / ${formats.short(total.output_tokens)}`)}
      </dl>
      ${
        total.unpriced
          ? html`<p class="muted small">${translator.count("usage.unpriced_attempts", total.unpriced)}</p>`
          : nothing
      }
      ${byMember.length ? this.#memberTable(byMember, members) : nothing} ${this.#modelTable(byModel)}`;
  }

  #memberTable(lines: UsageLine[], members: TeamMember[]): TemplateResult {
    const { t } = this.store;
    const who = (id: string | null) => {
      const member = members.find(({ user_id }) => user_id === id);
      return member ? nameOf(member) : t("team.usage.former");
    };
    return this.#table(
      "team-by-member",
      t("team.usage.by_member"),
      t("team.member"),
      lines,
      (line) => html`<span class="team-cell">${who(line.user_id)}</span>`,
    );
  }

  #modelTable(lines: UsageLine[]): TemplateResult {
    const { store } = this;
    return this.#table(
      "team-by-model",
      store.t("team.usage.by_model"),
      store.t("usage.model"),
      lines,
      (line) => {
        const name = line.provider ? store.providerName(line.provider) : "";
        return html`<span class="model-cell">
          <supa-llm-mark small .provider=${line.provider ?? ""} .name=${name}></supa-llm-mark>
          <span><span class="hidden">${name} </span><span class="code">${line.model}</span></span>
        </span>`;
      },
    );
  }

  #table(
    id: string,
    title: string,
    first: string,
    lines: UsageLine[],
    cell: (line: UsageLine) => TemplateResult,
  ): TemplateResult {
    const { store } = this;
    const { t, formats } = store;
    return html`<div class="stack tight">
      <h3 id=${id}>${title}</h3>
      <div class="card table-card">
        <div class="scroll" tabindex="0" role="region" aria-labelledby=${id}>
          <table>
            <thead>
              <tr>
                <th scope="col">${first}</th>
                <th scope="col" class="number">${t("usage.requests")}</th>
                <th scope="col" class="number roomy">${t("usage.tokens")}</th>
                <th scope="col" class="number">${t("usage.cost")}</th>
              </tr>
            </thead>
            <tbody>
              ${lines.map(
                (line) =>
                  html`<tr>
                    <td>${cell(line)}</td>
                    <td class="number">${formats.number(line.requests)}</td>
                    <td class="number roomy">
                      ${formats.short(line.input_tokens)} / ${formats.short(line.output_tokens)}
                    </td>
                    <td class="number">${costInWords(store, line)}</td>
                  </tr>`,
              )}
            </tbody>
          </table>
        </div>
      </div>
    </div>`;
  }

  #limitsOf(quotas: Quota[]): TemplateResult {
    const { store, team } = this;
    const { t } = store;
    const limit = (scope: "whole" | "each") =>
      html`<supa-llm-team-spending-limit
        .store=${store}
        .team=${team}
        .scope=${scope}
        .quota=${spendingLimit(quotas, scope) ?? null}
      ></supa-llm-team-spending-limit>`;
    const managed = manages(team.role);
    // Owners and admins see these two in the form.
    const others = quotas.filter(
      (quota) =>
        !managed || (quota !== spendingLimit(quotas, "whole") && quota !== spendingLimit(quotas, "each")),
    );
    return html`${
      managed
        ? html`<section class="stack tight" aria-labelledby="team-limits-title">
            <div class="section-head">
              <h2 id="team-limits-title">${t("team.limits")}</h2>
              <p class="muted small">${t("team.limits.about")}</p>
            </div>
            <div class="card settings">${limit("whole")} ${limit("each")}</div>
          </section>`
        : nothing
    }
    ${others.length ? quotaBars(store, others) : nothing}`;
  }
}
