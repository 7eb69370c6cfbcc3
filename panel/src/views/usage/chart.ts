/** Cost or requests over time, stacked. Loaded with uPlot when it is first shown. */

import { css, html, LitElement, unsafeCSS, type PropertyValues } from "lit";
import { customElement, property } from "lit/decorators.js";
import uPlot from "uplot";
import uplotCss from "uplot/dist/uPlot.min.css?inline";
import type { Store } from "../../store.js";
import type { UsageLine } from "../../types.js";

export type Measure = "cost" | "requests";
export type Grouping = "provider" | "model" | "task";

/** More colors are hard to tell apart; the rest is one series. */
const MOST_SERIES = 6;
const COLORS = ["#0a8f68", "#3b6fd4", "#c46a00", "#a2459c", "#5b6b00", "#c23b4b", "#6b7480"];
const HEIGHT = 220;
/** In seconds, uPlot's unit. */
const DAY = 86_400;

@customElement("supa-llm-usage-chart")
export class UsageChart extends LitElement {
  static override styles = [
    unsafeCSS(uplotCss),
    css`
      :host {
        display: block;
        min-inline-size: 0;
        overflow: hidden;
        /* Its end reports each change of theme, whatever caused it. */
        transition: color 1ms;
      }
      ul {
        display: flex;
        flex-wrap: wrap;
        gap: 0.25rem 1rem;
        list-style: none;
        margin: 0;
        padding: 0;
        font-size: 0.875rem;
      }
      svg {
        inline-size: 0.8em;
        block-size: 0.8em;
      }
    `,
  ];

  @property({ attribute: false }) store!: Store;
  /** Lines by day and one dimension. */
  @property({ attribute: false }) lines: UsageLine[] = [];
  /** First day of the period, as YYYY-MM-DD. */
  @property() since = "";
  @property() measure: Measure = "cost";
  @property() grouping: Grouping = "provider";
  #plot: uPlot | null = null;
  #sized = new ResizeObserver(() => this.#fit());

  override connectedCallback(): void {
    super.connectedCallback();
    this.#sized.observe(this);
    this.addEventListener("transitionend", this.#redraw);
  }

  override disconnectedCallback(): void {
    this.#sized.disconnect();
    this.removeEventListener("transitionend", this.#redraw);
    this.#plot?.destroy();
    this.#plot = null;
    super.disconnectedCallback();
  }

  override render() {
    return html`<div id="plot" role="img" aria-label=${this.store.t("usage.chart")}></div>
      <ul>
        ${this.#groups().map(
          (name, index) =>
            html`<li>
              <svg viewBox="0 0 10 10" aria-hidden="true">
                <rect width="10" height="10" fill=${COLORS[index] ?? ""} />
              </svg>
              ${this.#inWords(name)}
            </li>`,
        )}
      </ul>`;
  }

  override updated(_: PropertyValues<this>): void {
    const place = this.renderRoot.querySelector<HTMLElement>("#plot");
    if (!place) return;
    this.#plot?.destroy();
    const groups = this.#groups();
    const axis = { stroke: () => getComputedStyle(this).color, grid: { stroke: "#80808040", width: 1 } };
    const { formats } = this.store;
    const amount = (value: number) => (this.measure === "cost" ? formats.money(value) : formats.short(value));
    this.#plot = new uPlot(
      {
        width: Math.max(this.clientWidth, 200),
        height: HEIGHT,
        tzDate: (at) => uPlot.tzDate(new Date(at * 1000), this.store.loaded.settings.time_zone),
        legend: { show: false },
        cursor: { show: false },
        scales: {
          // The whole period, with or without usage.
          x: { range: () => [Date.parse(this.since) / 1000 - DAY / 2, Date.now() / 1000 + DAY / 2] },
          y: { range: (_, __, high) => [0, high > 0 ? high * 1.05 : 1] },
        },
        axes: [
          {
            ...axis,
            space: 70,
            incrs: [DAY, 2 * DAY, 7 * DAY, 14 * DAY, 28 * DAY],
            values: (_, moments) => moments.map((at) => formats.monthDay(at * 1000)),
          },
          {
            ...axis,
            size: (_, values) => 25 + 7 * Math.max(4, ...(values ?? []).map((value) => value.length)),
            values: (_, values) => values.map(amount),
          },
        ],
        // Tallest first, so that smaller ones are drawn on top.
        series: [
          {},
          ...groups.map((_, index) => ({
            fill: COLORS[index] ?? "",
            stroke: COLORS[index] ?? "",
            points: { show: false },
            paths: uPlot.paths.bars!({ size: [0.7, 40] }),
          })),
        ],
      },
      this.#stacked(groups),
      place,
    );
  }

  /** Names of the series, largest first; null stands for usage without a name, "" for the rest. */
  #groups(): (string | null)[] {
    const sums = new Map<string | null, number>();
    for (const line of this.lines)
      sums.set(line[this.grouping], (sums.get(line[this.grouping]) ?? 0) + this.#of(line));
    const names = [...sums].sort((a, b) => b[1] - a[1]).map(([name]) => name);
    return names.length > MOST_SERIES ? [...names.slice(0, MOST_SERIES), ""] : names;
  }

  #stacked(groups: (string | null)[]): uPlot.AlignedData {
    const days = [...new Set(this.lines.map(({ starts_at }) => Date.parse(starts_at) / 1000))].sort(
      (a, b) => a - b,
    );
    const at = new Map(days.map((day, index) => [day, index]));
    const rows = groups.map(() => days.map(() => 0));
    for (const line of this.lines) {
      const found = groups.indexOf(line[this.grouping]);
      const row = rows[found < 0 ? groups.length - 1 : found]!;
      row[at.get(Date.parse(line.starts_at) / 1000)!]! += this.#of(line);
    }
    for (let index = rows.length - 2; index >= 0; index--)
      rows[index] = rows[index]!.map((value, day) => value + rows[index + 1]![day]!);
    return [days, ...rows];
  }

  #of(line: UsageLine): number {
    return this.measure === "cost" ? (line.cost ?? 0) : line.requests;
  }

  #inWords(name: string | null): string {
    if (name === null) return this.store.t("usage.chart.none");
    if (name === "") return this.store.t("usage.chart.rest");
    return this.grouping === "provider" ? this.store.providerName(name) : name;
  }

  #redraw = () => this.#plot?.redraw(false);

  #fit(): void {
    if (this.#plot && this.clientWidth) this.#plot.setSize({ width: this.clientWidth, height: HEIGHT });
  }
}
