/** The Usage tab: requests, costs and who paid. */

import { css, html, nothing, type TemplateResult } from "lit";
import { customElement, state } from "lit/decorators.js";
import type { TextName } from "../../texts/index.js";
import type { Forecast, Hint, Alert, Quota, Receipt, UsageLine } from "../../types.js";
import { costInWords } from "./costs.js";
import { Loader } from "../loader.js";
import { quotaBars } from "./quota-bars.js";
import { receiptList } from "./receipts.js";
import "./time.js";
import { View } from "../view.js";

const PERIODS = [7, 30, 90] as const;
const PAGE = 20;

export const usageStyles = css`
  .figures {
    display: grid;
    gap: 1rem;
    grid-template-columns: repeat(auto-fit, minmax(min(100%, 9rem), 1fr));
  }
  .figure {
    font-size: 1.4rem;
    font-variant-numeric: tabular-nums;
  }
  meter {
    inline-size: 100%;
    block-size: 1rem;
  }
  details.card {
    padding: 0.5rem 0.75rem;
  }
  summary {
    cursor: pointer;
    min-block-size: 1.75rem;
  }
`;

interface Report {
  lines: UsageLine[];
  total: UsageLine | null;
  forecast: Forecast;
  hints: Hint[];
  quotas: Quota[];
  alerts: Alert[];
}

@customElement("supa-llm-usage")
export class UsageView extends View {
  @state() private days: (typeof PERIODS)[number] = 30;
  #report = new Loader<Report>(() => this.requestUpdate());
  #receipts = new Loader<Receipt[]>(() => this.requestUpdate());
  #complete = false;

  override connectedCallback(): void {
    super.connectedCallback();
    void this.#load();
    void this.#loadReceipts();
  }

  override render() {
    const { store } = this;
    const { t } = store;
    const report = this.#report.value;
    return html`<div class="stack">
      ${report?.alerts.length ? this.#alerts(report.alerts) : nothing}
      <div class="row">
        <label class="field" for="usage-period">${t("usage.period")}</label>
        <select id="usage-period" @change=${this.#choose}>
          ${PERIODS.map(
            (days) =>
              html`<option value=${days} ?selected=${days === this.days}>
                ${t(`usage.period.${days}`)}
              </option>`,
          )}
        </select>
      </div>
      ${this.#report.state(store, this.#load)}
      ${report ? (report.total ? this.#figures(report.total, report) : this.#empty()) : nothing}
      ${
        report?.total
          ? html`<supa-llm-usage-time .store=${store} .since=${this.#since}></supa-llm-usage-time>`
          : nothing
      }
      ${report?.lines.length ? this.#table(report.lines) : nothing}
      ${report?.quotas.length ? quotaBars(store, report.quotas) : nothing}
      ${
        report?.hints.length
          ? html`<section class="stack tight">
              <h2>${t("usage.hints")}</h2>
              <ul>
                ${report.hints.map((hint) => html`<li>${hint.message}</li>`)}
              </ul>
            </section>`
          : nothing
      }
      ${receiptList(store, this.#receipts, this.#complete ? null : this.#moreReceipts, this.#loadReceipts)}
    </div>`;
  }

  get #since(): string {
    return this.store.formats.dateBefore(Date.now(), this.days - 1);
  }

  #empty(): TemplateResult {
    const { t } = this.store;
    return html`<div class="alert stack tight" part="empty">
      <h2>${t("usage.none.title")}</h2>
      <p>${t("usage.none.text")}</p>
    </div>`;
  }

  #figures(total: UsageLine, { forecast }: Report): TemplateResult {
    const { t, translator, formats } = this.store;
    const figure = (name: TextName, value: string) =>
      html`<div>
        <dt class="small muted">${t(name)}</dt>
        <dd class="figure">${value}</dd>
      </div>`;
    return html`
      <dl class="figures" part="totals">
        ${figure("usage.requests", formats.number(total.requests))}
        ${figure("usage.cost", costInWords(this.store, total))}
        ${figure("usage.tokens", `${formats.short(total.input_tokens)} / ${formats.short(total.output_tokens)}`)}
        ${figure("usage.failures", formats.number(total.failures))}
        ${figure("usage.fallbacks", formats.number(total.fallbacks))}
      </dl>
      ${total.unpriced ? html`<p class="warn small">${translator.count("usage.unpriced_attempts", total.unpriced)}</p>` : nothing}
      ${
        total.unreported
          ? html`<p class="warn small">${translator.count("usage.unreported_attempts", total.unreported)}</p>`
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
    `;
  }

  #table(lines: UsageLine[]): TemplateResult {
    const { store } = this;
    const { t, formats } = store;
    const heads: TextName[] = ["usage.provider", "usage.model", "usage.task", "usage.paid"];
    const numbers: TextName[] = ["usage.requests", "usage.tokens", "usage.cost"];
    return html`<section class="stack tight">
      <h2 id="usage-lines">${t("usage.lines")}</h2>
      <div class="scroll" tabindex="0" role="region" aria-labelledby="usage-lines">
        <table>
          <thead>
            <tr>
              ${heads.map((name) => html`<th scope="col">${t(name)}</th>`)}
              ${numbers.map((name) => html`<th scope="col" class="number">${t(name)}</th>`)}
            </tr>
          </thead>
          <tbody>
            ${lines.map(
              (line) =>
                html`<tr>
                  <td>${line.provider ? store.providerName(line.provider) : ""}</td>
                  <td class="code">${line.model}</td>
                  <td>${line.task}</td>
                  <td>${line.key_source ? t(`source.${line.key_source}`) : ""}</td>
                  <td class="number">${formats.number(line.requests)}</td>
                  <td class="number">
                    ${formats.short(line.input_tokens)} / ${formats.short(line.output_tokens)}
                  </td>
                  <td class="number">${costInWords(store, line)}</td>
                </tr>`,
            )}
          </tbody>
        </table>
      </div>
    </section>`;
  }

  #alerts(alerts: Alert[]): TemplateResult {
    const { store } = this;
    return html`<section class="alert warn stack tight" part="alerts" aria-label=${store.t("usage.alerts")}>
      <ul>
        ${alerts.map(({ kind, detail }) => {
          const provider = String(detail["provider"] ?? "");
          return html`<li>
            ${store.translator.find(`usage.alert.${kind}`, kind, {
              provider: store.providerName(provider),
              hint: String(detail["hint"] ?? ""),
              model: String(detail["model"] ?? ""),
            })}
          </li>`;
        })}
      </ul>
      <div><button @click=${() => this.#dismiss(alerts)}>${store.t("usage.alerts.dismiss")}</button></div>
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

  #choose = (event: Event) => {
    this.days = Number((event.target as HTMLSelectElement).value) as (typeof PERIODS)[number];
    void this.#load();
  };

  #load = () =>
    this.#report.load(async () => {
      const { backend } = this.store;
      const since = this.#since;
      const [lines, totals, forecast, hints, quotas, alerts] = await Promise.all([
        backend.usage({
          since,
          bucket: null,
          by: ["provider", "model", "task", "key_source"],
          order: "cost",
        }),
        backend.usage({ since, bucket: null, by: [] }),
        backend.forecast(),
        backend.hints(),
        backend.quotas(),
        backend.alerts(),
      ]);
      return { lines, total: totals[0] ?? null, forecast, hints, quotas, alerts };
    });

  #loadReceipts = () =>
    this.#receipts.load(async () => {
      const page = await this.store.backend.receipts(PAGE);
      this.#complete = page.length < PAGE;
      return page;
    });

  #moreReceipts = () =>
    this.#receipts.load(async () => {
      const before = this.#receipts.value ?? [];
      const page = await this.store.backend.receipts(PAGE, before.at(-1)?.request_id);
      this.#complete = page.length < PAGE;
      return [...before, ...page];
    });
}
