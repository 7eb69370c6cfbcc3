/** Cost or requests per day, stacked. Loaded when it is first shown. The pointer or the arrow keys choose a day. */

import { css, html, LitElement, nothing, svg, type TemplateResult } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import type { Store } from "../../store.js";
import type { UsageLine } from "../../types.js";
import { taskLabel } from "../tasks/names.js";
import { costInWords } from "./costs.js";
import { daysOf, groupsOf, ticks, type Day, type Grouping, type Measure } from "./series.js";

const HEIGHT = 220;
const TOP = 8;
const BOTTOM = 24;

@customElement("supa-llm-usage-chart")
export class UsageChart extends LitElement {
  static override styles = css`
    :host {
      display: block;
      min-inline-size: 0;
    }
    .plot {
      position: relative;
      direction: ltr;
      border-radius: 6px;
      cursor: crosshair;
      touch-action: pan-y;
    }
    .plot:focus-visible {
      outline: 2px solid var(--_accent);
      outline-offset: 2px;
    }
    svg.bars {
      display: block;
      inline-size: 100%;
      block-size: ${HEIGHT}px;
      overflow: visible;
    }
    text {
      fill: var(--_muted);
      font-size: 0.75rem;
      font-variant-numeric: tabular-nums;
    }
    line {
      stroke: var(--_line);
    }
    .chosen {
      fill: currentColor;
      opacity: 0.07;
    }
    .g0 {
      fill: light-dark(#0a8f68, #3fc794);
    }
    .g1 {
      fill: light-dark(#3b6fd4, #7ba2f2);
    }
    .g2 {
      fill: light-dark(#c46a00, #f0a350);
    }
    .g3 {
      fill: light-dark(#a2459c, #d588cf);
    }
    .g4 {
      fill: light-dark(#5b6b00, #b6c64f);
    }
    .g5 {
      fill: light-dark(#c23b4b, #f0808d);
    }
    .g6 {
      fill: light-dark(#6b7480, #99a2ad);
    }
    .tip {
      position: absolute;
      inset-block-start: 0;
      z-index: 3;
      direction: inherit;
      min-inline-size: 10rem;
      max-inline-size: min(18rem, 100%);
      padding: 0.5rem 0.7rem;
      border: 1px solid var(--_line);
      border-radius: var(--_radius);
      background: var(--_surface);
      box-shadow: var(--_float);
      font-size: 0.8125rem;
      pointer-events: none;
    }
    .tip > strong {
      display: flex;
      justify-content: space-between;
      gap: 1rem;
    }
    ul {
      list-style: none;
      margin: 0;
      padding: 0;
    }
    .legend {
      display: flex;
      flex-wrap: wrap;
      gap: 0.25rem 1rem;
      margin-block-start: 0.5rem;
      font-size: 0.8125rem;
    }
    li {
      display: flex;
      align-items: center;
      gap: 0.4rem;
    }
    .tip li > span {
      flex: 1;
      overflow-wrap: anywhere;
    }
    .dot {
      flex: none;
      inline-size: 0.65rem;
      block-size: 0.65rem;
    }
    p {
      margin: 0;
      color: var(--_muted);
    }
  `;

  @property({ attribute: false }) store!: Store;
  /** Lines by day and one dimension. */
  @property({ attribute: false }) lines: UsageLine[] = [];
  /** How many days up to today. */
  @property({ type: Number }) days = 30;
  @property() measure: Measure = "cost";
  @property() grouping: Grouping = "provider";
  /** The chosen day; null while none is. */
  @state() private chosen: number | null = null;
  @state() private width = 600;
  #sized = new ResizeObserver(() => (this.width = Math.max(this.clientWidth, 200)));

  override connectedCallback(): void {
    super.connectedCallback();
    this.#sized.observe(this);
  }

  override disconnectedCallback(): void {
    this.#sized.disconnect();
    super.disconnectedCallback();
  }

  override render() {
    const { store } = this;
    const groups = groupsOf(this.lines, this.grouping, this.measure);
    const days = this.#days(groups);
    const chosen = this.chosen === null ? undefined : days[this.chosen];
    return html`<div
        class="plot"
        role="slider"
        tabindex="0"
        aria-label=${store.t("usage.chart")}
        aria-orientation="horizontal"
        aria-valuemin="1"
        aria-valuemax=${days.length}
        aria-valuenow=${(this.chosen ?? days.length - 1) + 1}
        aria-valuetext=${this.#inWords(chosen ?? days.at(-1)!)}
        @keydown=${(event: KeyboardEvent) => this.#key(event, days.length)}
        @pointermove=${(event: PointerEvent) => this.#point(event, days.length)}
        @pointerdown=${(event: PointerEvent) => this.#point(event, days.length)}
        @pointerleave=${this.#leave}
        @focus=${(event: FocusEvent) => {
          if ((event.target as Element).matches(":focus-visible")) this.chosen ??= days.length - 1;
        }}
        @blur=${this.#leave}
      >
        ${this.#bars(days)} ${chosen ? this.#tip(chosen, groups) : nothing}
      </div>
      <ul class="legend">
        ${groups.map((name, index) => html`<li>${dot(index)}${this.#named(name)}</li>`)}
      </ul>`;
  }

  #days(groups: (string | null)[]): Day[] {
    const { formats } = this.store;
    const now = Date.now();
    const dates = Array.from({ length: this.days }, (_, at) => formats.dateBefore(now, this.days - 1 - at));
    return daysOf(this.lines, dates, groups, {
      grouping: this.grouping,
      measure: this.measure,
      dateOf: ({ starts_at }) => formats.dateBefore(Date.parse(starts_at), 0),
    });
  }

  /** Where the plot begins, right of the labels of its axis. */
  #start(marks: number[]): number {
    return 14 + 7 * Math.max(...marks.map((mark) => this.#amount(mark).length));
  }

  #bars(days: Day[]): TemplateResult {
    const marks = ticks(Math.max(...days.map(({ value }) => value)), this.measure === "requests");
    const top = marks.at(-1)!;
    const start = this.#start(marks);
    this.#left = start;
    const slot = (this.width - start) / days.length;
    const bar = Math.max(1, Math.min(slot * 0.7, 36));
    const y = (value: number) => TOP + (1 - value / top) * (HEIGHT - TOP - BOTTOM);
    const every = Math.max(1, Math.ceil(64 / slot));
    return html`<svg class="bars" viewBox="0 0 ${this.width} ${HEIGHT}" aria-hidden="true">
      ${marks.map(
        (mark) =>
          svg`<line x1=${start} x2=${this.width} y1=${y(mark)} y2=${y(mark)} />
            <text x=${start - 8} y=${y(mark) + 4} text-anchor="end">${this.#amount(mark)}</text>`,
      )}
      ${
        this.chosen === null
          ? nothing
          : svg`<rect class="chosen" x=${start + this.chosen * slot} y=${TOP} width=${slot} height=${HEIGHT - TOP - BOTTOM} />`
      }
      ${days.map((day, at) => {
        let below = 0;
        const x = start + at * slot + (slot - bar) / 2;
        return day.parts.map(({ value }, group) => {
          const high = y(below) - y(below + value);
          below += value;
          return value
            ? svg`<rect class="g${group}" x=${x} y=${y(below)} width=${bar} height=${high} />`
            : nothing;
        });
      })}
      ${days.map((day, at) =>
        // Counted from today, which always has its label.
        (days.length - 1 - at) % every
          ? nothing
          : svg`<text x=${Math.min(start + (at + 0.5) * slot, this.width - 18)} y=${HEIGHT - 6} text-anchor="middle">${this.#label(day)}</text>`,
      )}
    </svg>`;
  }

  #tip(day: Day, groups: (string | null)[]): TemplateResult {
    const { t, translator } = this.store;
    const used = day.parts.filter(({ value }) => value);
    return html`<div class="tip">
      <strong><span>${this.#date(day)}</span><span>${this.#total(day)}</span></strong>
      <ul>
        ${used.map(
          ({ group, value }) =>
            html`<li>
              ${dot(groups.indexOf(group))}<span>${this.#named(group)}</span>${this.#amount(value)}
            </li>`,
        )}
      </ul>
      <p>
        ${day.requests ? translator.count("usage.chart.requests", day.requests) : t("usage.chart.nothing")}
      </p>
    </div>`;
  }

  override updated(): void {
    const tip = this.renderRoot.querySelector<HTMLElement>(".tip");
    if (!tip || this.chosen === null) return;
    const middle = this.#left + ((this.chosen + 0.5) * (this.width - this.#left)) / this.days;
    const beside = middle + 16;
    const fits = beside + tip.offsetWidth <= this.width;
    // Through the CSSOM, because a style attribute breaks the content security policy.
    tip.style.left = `${fits ? beside : Math.max(0, middle - 16 - tip.offsetWidth)}px`;
  }

  #left = 0;

  #point(event: PointerEvent, count: number): void {
    const { left, width } = (event.currentTarget as Element).getBoundingClientRect();
    const at = Math.floor(((event.clientX - left - this.#left) / (width - this.#left)) * count);
    this.chosen = Math.max(0, Math.min(count - 1, at));
  }

  #leave = () => {
    if (!this.renderRoot.querySelector(".plot:focus-visible")) this.chosen = null;
  };

  #key(event: KeyboardEvent, count: number): void {
    const at = this.chosen ?? count - 1;
    const to = {
      ArrowLeft: at - 1,
      ArrowDown: at - 1,
      ArrowRight: at + 1,
      ArrowUp: at + 1,
      PageDown: at - 7,
      PageUp: at + 7,
      Home: 0,
      End: count - 1,
    }[event.key];
    if (event.key === "Escape" && this.chosen !== null) this.chosen = null;
    else if (to === undefined) return;
    else this.chosen = Math.max(0, Math.min(count - 1, to));
    event.preventDefault();
  }

  #inWords(day: Day): string {
    const parts = day.parts.filter(({ value }) => value);
    const figures = parts.map(({ group, value }) => `${this.#named(group)} ${this.#amount(value)}`);
    return [`${this.#date(day)}: ${this.#total(day)}`, ...figures].join(", ");
  }

  #date(day: Day): string {
    return this.store.formats.dateInWords(day.date);
  }

  #label(day: Day): string {
    return this.store.formats.monthDay(day.date);
  }

  #total(day: Day): string {
    if (this.measure === "requests" || !day.requests) return this.#amount(day.value);
    return costInWords(this.store, day);
  }

  #amount(value: number): string {
    const { formats } = this.store;
    return this.measure === "cost" ? formats.money(value) : formats.short(value);
  }

  #named(name: string | null): string {
    const { store } = this;
    if (name === null) return store.t("usage.chart.none");
    if (name === "") return store.t("usage.chart.rest");
    if (this.grouping === "task") return taskLabel(store, name);
    return this.grouping === "provider" ? store.providerName(name) : name;
  }
}

function dot(group: number): TemplateResult {
  return html`<svg class="dot" viewBox="0 0 10 10" aria-hidden="true">
    <rect class="g${group}" width="10" height="10" rx="2" />
  </svg>`;
}
