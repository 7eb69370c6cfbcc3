/** The Usage tab: requests, costs and who paid. */

import { html, nothing, type TemplateResult } from "lit";
import { customElement, state } from "lit/decorators.js";
import { usage as english } from "../../texts/en/usage.js";
import { addEnglish, type TextName } from "../../texts/index.js";
import type { Forecast, Hint, Alert, Quota, UsageLine } from "../../types.js";
import { alertInWords } from "./alerts.js";
import { costInWords } from "./costs.js";
import { hintInWords } from "./hints.js";
import { icon } from "../icons.js";
import { Loader } from "../loader.js";
import "../mark.js";
import { pageLine } from "../pages.js";
import { payerInWords } from "../payer.js";
import { quotaBars } from "./quota-bars.js";
import "./requests.js";
import { figureSkeleton } from "../skeleton.js";
import { taskLabel } from "../tasks/names.js";
import "./time.js";
import { View } from "../view.js";
import { usageStyles } from "./styles.js";

const PERIODS = [7, 30, 90] as const;
/** Rows that the breakdown shows at once. */
const ROWS = 10;

interface Report {
  lines: UsageLine[];
  total: UsageLine | null;
  forecast: Forecast;
  hints: Hint[];
  quotas: Quota[];
  alerts: Alert[];
}

addEnglish(english);

/** What the panel adds to its styles when this tab is first shown. */
export const styles = [usageStyles];

@customElement("supa-llm-usage")
export class UsageView extends View {
  @state() private days: (typeof PERIODS)[number] = 30;
  @state() private page = 0;
  #report = new Loader<Report>(() => this.requestUpdate());

  override connectedCallback(): void {
    super.connectedCallback();
    void this.#load();
  }

  override render() {
    const { store } = this;
    const { t } = store;
    const report = this.#report.value;
    return html`<div class="stack sections">
      <div class="stack">
        ${report?.alerts.length ? this.#alerts(report.alerts) : nothing}
        <div class="segments" role="group" aria-label=${t("usage.period")}>
          ${PERIODS.map(
            (days) =>
              html`<button aria-pressed=${days === this.days} @click=${() => this.#choose(days)}>
                ${t(`usage.period.${days}`)}
              </button>`,
          )}
        </div>
        ${this.#report.state(store, this.#load, figureSkeleton())}
        ${report ? (report.total ? this.#figures(report.total, report) : this.#empty()) : nothing}
        ${
          report?.total
            ? html`<supa-llm-usage-time .store=${store} .days=${this.days}></supa-llm-usage-time>`
            : nothing
        }
      </div>
      ${report?.quotas.length ? quotaBars(store, report.quotas) : nothing}
      ${report?.lines.length ? this.#table(report.lines) : nothing}
      ${
        report?.hints.length
          ? html`<section class="card stack tight tips" aria-labelledby="tips-title">
              <h2 id="tips-title">${t("usage.hints")}</h2>
              <ul>
                ${report.hints.map((hint) => html`<li>${icon("coins")}<span>${hintInWords(store, hint)}</span></li>`)}
              </ul>
            </section>`
          : nothing
      }
      <supa-llm-requests .store=${store}></supa-llm-requests>
    </div>`;
  }

  get #since(): string {
    return this.store.formats.dateBefore(Date.now(), this.days - 1);
  }

  #empty(): TemplateResult {
    const { t } = this.store;
    const longer = this.days < 90 && this.store.loaded.settings.total_requests > 0;
    return html`<div class="empty" part="empty">
      ${icon("usage")}
      <h2>${t("usage.none.title")}</h2>
      <p>${t("usage.none.text")}</p>
      ${longer ? html`<button @click=${() => this.#choose(90)}>${t("usage.none.longer")}</button>` : nothing}
    </div>`;
  }

  #figures(total: UsageLine, { forecast }: Report): TemplateResult {
    const { t, translator, formats } = this.store;
    const figure = (name: TextName, value: string) =>
      html`<div class="card">
        <dt class="small muted">${t(name)}</dt>
        <dd class="figure">${value}</dd>
      </div>`;
    return html`
      <dl class="figures" part="totals">
        ${figure("usage.cost", costInWords(this.store, total))}
        ${figure("usage.requests", formats.number(total.requests))}
        ${figure("usage.tokens", `${formats.short(total.input_tokens)} / ${formats.short(total.output_tokens)}`)}
        ${figure("usage.failures", formats.number(total.failures))}
        ${figure("usage.fallbacks", formats.number(total.fallbacks))}
      </dl>
      <div class="stack tight">
        ${total.unpriced ? html`<p class="muted small">${translator.count("usage.unpriced_attempts", total.unpriced)}</p>` : nothing}
        ${
          total.unreported
            ? html`<p class="muted small">
                ${translator.count("usage.unreported_attempts", total.unreported)}
              </p>`
            : nothing
        }
        ${
          forecast.forecast !== null && forecast.cost_so_far !== null && forecast.days_averaged
            ? html`<p class="small muted">
                ${translator.count("usage.forecast", forecast.days_averaged, {
                  so_far: costInWords(this.store, { ...forecast, cost: forecast.cost_so_far }),
                  forecast: formats.money(forecast.forecast),
                })}
              </p>`
            : nothing
        }
      </div>
    `;
  }

  #table(lines: UsageLine[]): TemplateResult {
    const { store } = this;
    const { t, formats } = store;
    const shown = lines.slice(this.page * ROWS, (this.page + 1) * ROWS);
    const first = this.page * ROWS + 1;
    return html`<section class="stack tight" part="breakdown">
      <h2 id="usage-lines">${t("usage.lines")}</h2>
      <div class="card table-card">
        <div class="scroll" tabindex="0" role="region" aria-labelledby="usage-lines">
          <table>
            <thead>
              <tr>
                <th scope="col">${t("usage.model")}</th>
                <th scope="col">${t("usage.task")}</th>
                <th scope="col" class="roomy">${t("usage.paid")}</th>
                <th scope="col" class="number">${t("usage.requests")}</th>
                <th scope="col" class="number roomy">${t("usage.tokens")}</th>
                <th scope="col" class="number">${t("usage.cost")}</th>
              </tr>
            </thead>
            <tbody>
              ${shown.map((line) => {
                const name = line.provider ? store.providerName(line.provider) : "";
                return html`<tr>
                  <td>
                    <span class="model-cell">
                      <supa-llm-mark small .provider=${line.provider ?? ""} .name=${name}></supa-llm-mark>
                      <span><span class="hidden">${name} </span><span class="code">${line.model}</span></span>
                    </span>
                  </td>
                  <td>${line.task === null ? "" : taskLabel(store, line.task)}</td>
                  <td class="roomy">
                    ${line.key_source ? payerInWords(store, { ...line, key_source: line.key_source }) : ""}
                  </td>
                  <td class="number">${formats.number(line.requests)}</td>
                  <td class="number roomy">
                    ${formats.short(line.input_tokens)} / ${formats.short(line.output_tokens)}
                  </td>
                  <td class="number">${costInWords(store, line)}</td>
                </tr>`;
              })}
            </tbody>
          </table>
        </div>
        ${
          lines.length > ROWS
            ? pageLine(store, {
                first,
                last: first + shown.length - 1,
                hasNext: (this.page + 1) * ROWS < lines.length,
                turn: (step) => (this.page += step),
              })
            : nothing
        }
      </div>
    </section>`;
  }

  #alerts(alerts: Alert[]): TemplateResult {
    const { store } = this;
    return html`<section class="alert warn alerts" part="alerts" aria-label=${store.t("usage.alerts")}>
      <ul>
        ${alerts.map((alert) => html`<li>${icon("warning")} <span>${alertInWords(store, alert)}</span></li>`)}
      </ul>
      <button @click=${() => this.#dismiss(alerts)}>${store.t("usage.alerts.dismiss")}</button>
    </section>`;
  }

  async #dismiss(alerts: Alert[]): Promise<void> {
    try {
      await this.store.backend.dismissAlerts(alerts.map(({ id }) => id));
    } catch {
      // The alerts stay and are shown again.
    }
    void this.#load();
  }

  #choose(days: (typeof PERIODS)[number]): void {
    this.days = days;
    this.page = 0;
    void this.#load();
  }

  #load = () =>
    this.#report.load(async () => {
      const { backend } = this.store;
      const since = this.#since;
      const [lines, totals, forecast, hints, quotas, alerts] = await Promise.all([
        backend.usage({
          since,
          bucket: null,
          by: ["provider", "model", "task", "key_source", "team"],
          order: "cost",
        }),
        backend.usage({ since, bucket: null, by: [] }),
        backend.forecast(),
        backend.hints(),
        backend.quotas(),
        backend.alerts(),
      ]);
      return {
        lines,
        total: totals[0] ?? null,
        forecast,
        hints,
        quotas,
        // The panel cannot set a price; the operator has an alert of their own.
        alerts: alerts.filter(({ kind }) => kind !== "price_missing"),
      };
    });
}
