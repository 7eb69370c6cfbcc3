/** Usage over time: a chart with its options, and its data as a table. */

import { html, type TemplateResult } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import type { UsageLine } from "../../types.js";
import { Loader } from "../loader.js";
import { rowSkeleton } from "../skeleton.js";
import { taskLabel } from "../tasks/names.js";
import { View } from "../view.js";
import { costInWords } from "./costs.js";
import type { Grouping, Measure } from "./series.js";

const MEASURES: Measure[] = ["cost", "requests"];
const GROUPINGS: Grouping[] = ["provider", "model", "task"];

@customElement("supa-llm-usage-time")
export class UsageTime extends View {
  /** Length of the report up to today. */
  @property({ type: Number }) days = 30;
  /** Null until the user chooses; then the default is cost, or requests if nothing has a cost. */
  @state() private chosen: Measure | null = null;
  @state() private grouping: Grouping = "provider";
  @state() private drawn: "waiting" | "ready" | "failed" = "waiting";
  /** The lines with their grouping and period, which may differ from the ones chosen since. */
  #lines = new Loader<{ lines: UsageLine[]; grouping: Grouping; days: number }>(() => this.requestUpdate());
  #requested = "";

  override render() {
    const { store } = this;
    const { t } = store;
    this.#loadOnce();
    const loaded = this.#lines.value;
    return html`<section class="card stack" aria-labelledby="chart-title" part="chart">
      <div class="row between">
        <h2 id="chart-title">${t("usage.chart.title")}</h2>
        <div class="filters">
          ${this.#select("measure", t("usage.chart.measure"), MEASURES, (value) => (this.chosen = value as Measure))}
          ${this.#select("grouping", t("usage.chart.by"), GROUPINGS, (value) => (this.grouping = value as Grouping))}
        </div>
      </div>
      ${this.#lines.state(store, () => this.#load(), rowSkeleton(4))}
      ${loaded?.lines.length ? this.#chart(loaded.lines, loaded.grouping, loaded.days) : ""}
    </section>`;
  }

  get measure(): Measure {
    return this.chosen ?? (this.#lines.value?.lines.some(({ cost }) => cost) ? "cost" : "requests");
  }

  #select(
    name: "measure" | "grouping",
    label: string,
    values: (Measure | Grouping)[],
    take: (value: string) => void,
  ): TemplateResult {
    const text = (value: Measure | Grouping) =>
      this.store.t(value === "cost" || value === "requests" ? `usage.${value}` : `usage.chart.by.${value}`);
    return html`<select
      aria-label=${label}
      @change=${(event: Event) => take((event.target as HTMLSelectElement).value)}
    >
      ${values.map((value) => html`<option value=${value} .selected=${value === this[name]}>${text(value)}</option>`)}
    </select>`;
  }

  #chart(lines: UsageLine[], grouping: Grouping, days: number): TemplateResult {
    const { store } = this;
    const { t, formats } = store;
    return html`
      ${
        this.drawn === "failed"
          ? html`<p class="warn small">${t("usage.chart.failed")}</p>`
          : html`<supa-llm-usage-chart
              .store=${store}
              .lines=${lines}
              .days=${days}
              .measure=${this.measure}
              .grouping=${grouping}
            ></supa-llm-usage-chart>`
      }
      <details>
        <summary class="small">${t("usage.chart.table")}</summary>
        <div class="scroll low" tabindex="0" role="region" aria-label=${t("usage.chart.table")}>
          <table>
            <thead>
              <tr>
                <th scope="col">${t("usage.chart.day")}</th>
                <th scope="col">${t(grouping === "provider" ? "word.provider" : `usage.${grouping}`)}</th>
                <th scope="col" class="number">${t("usage.requests")}</th>
                <th scope="col" class="number">${t("usage.cost")}</th>
              </tr>
            </thead>
            <tbody>
              ${lines.map(
                (line) =>
                  html`<tr>
                    <td>${formats.day(line.starts_at)}</td>
                    <td>${this.#named(line[grouping], grouping)}</td>
                    <td class="number">${formats.number(line.requests)}</td>
                    <td class="number">${costInWords(store, line)}</td>
                  </tr>`,
              )}
            </tbody>
          </table>
        </div>
      </details>
    `;
  }

  #named(value: string | null, grouping: Grouping): string {
    const { store } = this;
    if (value === null) return store.t("usage.chart.none");
    if (grouping === "task") return taskLabel(store, value);
    return grouping === "provider" ? store.providerName(value) : value;
  }

  #loadOnce(): void {
    const requested = `${this.days} ${this.grouping}`;
    if (requested === this.#requested) return;
    this.#requested = requested;
    void this.#load();
    // Only now, so that other tabs do not load the chart.
    import("./chart.js").then(
      () => (this.drawn = "ready"),
      () => (this.drawn = "failed"),
    );
  }

  #load(): Promise<void> {
    const { days, grouping } = this;
    const since = this.store.formats.dateBefore(Date.now(), days - 1);
    return this.#lines.load(async () => ({
      lines: await this.store.backend.usage({ since, bucket: "day", by: [grouping] }),
      grouping,
      days,
    }));
  }
}
