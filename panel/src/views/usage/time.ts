/** Usage over time: a chart with its options, and its data as a table. */

import { html, nothing, type TemplateResult } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import type { UsageLine } from "../../types.js";
import { Loader } from "../loader.js";
import type { Grouping, Measure } from "./chart.js";
import { costInWords } from "./costs.js";
import { View } from "../view.js";

const MEASURES: Measure[] = ["cost", "requests"];
const GROUPINGS: Grouping[] = ["provider", "model", "task"];

@customElement("supa-llm-usage-time")
export class UsageTime extends View {
  /** First day of the report, as YYYY-MM-DD. */
  @property() since = "";
  /** Null until the user chooses; then the default is cost, or requests if nothing has a cost. */
  @state() private chosen: Measure | null = null;
  @state() private grouping: Grouping = "provider";
  @state() private drawn: "waiting" | "ready" | "failed" = "waiting";
  /** The lines with their grouping, which may differ from the one chosen since. */
  #lines = new Loader<{ lines: UsageLine[]; grouping: Grouping }>(() => this.requestUpdate());
  #requested = "";

  override render() {
    const { store } = this;
    const { t } = store;
    this.#loadOnce();
    const loaded = this.#lines.value;
    return html`<section class="stack tight">
      <h2>${t("usage.chart.title")}</h2>
      <div class="row">
        ${this.#select("measure", t("usage.chart.measure"), MEASURES, (value) => (this.chosen = value as Measure))}
        ${this.#select("grouping", t("usage.chart.by"), GROUPINGS, (value) => (this.grouping = value as Grouping))}
      </div>
      ${this.#lines.state(store, () => this.#load())}
      ${loaded?.lines.length ? this.#chart(loaded.lines, loaded.grouping) : nothing}
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
    return html`<label class="row small" for="usage-${name}"
      >${label}
      <select id="usage-${name}" @change=${(event: Event) => take((event.target as HTMLSelectElement).value)}>
        ${values.map((value) => html`<option value=${value} ?selected=${value === this[name]}>${this.store.t(`usage.${value}`)}</option>`)}
      </select></label
    >`;
  }

  #chart(lines: UsageLine[], grouping: Grouping): TemplateResult {
    const { store } = this;
    const { t, formats } = store;
    return html`
      ${
        this.drawn === "failed"
          ? html`<p class="warn small">${t("usage.chart.failed")}</p>`
          : html`<supa-llm-usage-chart
              .store=${store}
              .lines=${lines}
              .since=${this.since}
              .measure=${this.measure}
              .grouping=${grouping}
            ></supa-llm-usage-chart>`
      }
      <details class="card">
        <summary>${t("usage.chart.table")}</summary>
        <div class="scroll" tabindex="0" role="region" aria-label=${t("usage.chart.table")}>
          <table>
            <thead>
              <tr>
                <th scope="col">${t("usage.chart.day")}</th>
                <th scope="col">${t(`usage.${grouping}`)}</th>
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
    if (value === null) return this.store.t("usage.chart.none");
    return grouping === "provider" ? this.store.providerName(value) : value;
  }

  #loadOnce(): void {
    const requested = `${this.since} ${this.grouping}`;
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
    const { since, grouping } = this;
    return this.#lines.load(async () => ({
      lines: await this.store.backend.usage({ since, bucket: "day", by: [grouping] }),
      grouping,
    }));
  }
}
