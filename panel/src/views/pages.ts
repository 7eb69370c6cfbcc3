/** Rows that arrive newest first, filtered and shown a page at a time. */

import { html, nothing, type TemplateResult } from "lit";
import type { Store } from "../store.js";
import { icon } from "./icons.js";

/** Rows a page shows. */
const SIZE = 20;
/** Rows a request loads, and requests made in a row for matches of a rare filter. */
const LOADED = 100;
const MOST_LOADS = 10;

export class Pages<T> {
  page = 0;
  error: unknown = null;
  busy = false;
  /** Null until the first rows are there. */
  #rows: T[] | null = null;
  #complete = false;
  #filter: (row: T, rows: readonly T[]) => boolean = () => true;
  #turn = 0;

  constructor(
    private readonly changed: () => void,
    private readonly load: (limit: number, last: T | undefined) => Promise<T[]>,
  ) {}

  /** Whether there is any row, filtered or not; null until that is known. */
  get empty(): boolean | null {
    return this.#rows && this.#rows.length === 0 && this.#complete;
  }

  get rows(): readonly T[] {
    return this.#rows ?? [];
  }

  get loaded(): boolean {
    return this.#rows !== null;
  }

  /** The rows of this page. */
  get shown(): readonly T[] {
    return this.#matches.slice(this.page * SIZE, (this.page + 1) * SIZE);
  }

  get #matches(): readonly T[] {
    const rows = this.rows;
    return rows.filter((row) => this.#filter(row, rows));
  }

  get hasNext(): boolean {
    return this.#matches.length > (this.page + 1) * SIZE;
  }

  /** Whether older rows were not searched, because the filter matches few. */
  get stopped(): boolean {
    return this.loaded && !this.#complete && !this.hasNext && !this.busy && !this.error;
  }

  /** Load the first page, or load it again. */
  restart(): Promise<void> {
    this.page = 0;
    this.#complete = false;
    return this.#fill(true);
  }

  filterBy(filter: (row: T, rows: readonly T[]) => boolean): Promise<void> {
    this.#filter = filter;
    this.page = 0;
    return this.#fill();
  }

  turn(step: 1 | -1): Promise<void> {
    this.page = Math.max(0, this.page + step);
    return this.#fill();
  }

  /** Load until the page after this one has a row. */
  more = (): Promise<void> => this.#fill();

  async #fill(afresh = false): Promise<void> {
    const turn = ++this.#turn;
    this.error = null;
    this.busy = true;
    this.changed();
    try {
      for (let loads = 0; loads < MOST_LOADS; loads++) {
        if (!(afresh && loads === 0) && (this.#complete || (this.loaded && this.hasNext))) break;
        const before = afresh && loads === 0 ? [] : this.rows;
        const rows = await this.load(LOADED, before.at(-1));
        if (turn !== this.#turn) return;
        this.#rows = [...before, ...rows];
        this.#complete = rows.length < LOADED;
      }
    } catch (error) {
      if (turn === this.#turn) this.error = error;
    }
    if (turn !== this.#turn) return;
    this.busy = false;
    this.changed();
  }
}

/** The line below a table: which rows it shows, and buttons for the others. */
export function pager<T>(store: Store, pages: Pages<T>): TemplateResult | typeof nothing {
  const { t } = store;
  if (pages.error)
    return html`<div class="alert bad" role="alert" part="error">
      ${icon("warning")}<span class="grow">${store.explain(pages.error)}</span>
      <button @click=${() => (pages.loaded ? pages.more() : pages.restart())}>${t("state.retry")}</button>
    </div>`;
  if (pages.page === 0 && !pages.hasNext && !pages.stopped) return nothing;
  const first = pages.page * SIZE + 1;
  return pageLine(store, {
    first,
    last: first + pages.shown.length - 1,
    hasNext: pages.hasNext,
    turn: (step) => void pages.turn(step),
    more: pages.stopped ? html`<button @click=${pages.more}>${t("pages.search")}</button>` : nothing,
  });
}

/** Which rows of a table are shown, counted from 1, and buttons for the others. */
export function pageLine(
  { t, formats }: Pick<Store, "t" | "formats">,
  page: {
    first: number;
    last: number;
    hasNext: boolean;
    turn: (step: 1 | -1) => void;
    more?: TemplateResult | typeof nothing;
  },
): TemplateResult {
  const { first, last } = page;
  return html`<div class="table-foot small">
    <span class="muted" role="status"
      >${last < first ? "" : t("pages.shown", { first: formats.number(first), last: formats.number(last) })}</span
    >
    <span class="row">
      ${page.more ?? nothing}
      <button ?disabled=${first === 1} @click=${() => page.turn(-1)}>${t("pages.previous")}</button>
      <button ?disabled=${!page.hasNext} @click=${() => page.turn(1)}>${t("pages.next")}</button>
    </span>
  </div>`;
}

/** A filter of a table. An empty value stands for all. */
export function filterSelect(
  label: string,
  all: string,
  value: string,
  choices: readonly (readonly [value: string, text: string])[],
  take: (value: string) => void,
): TemplateResult {
  return html`<select
    aria-label=${label}
    @change=${(event: Event) => take((event.target as HTMLSelectElement).value)}
  >
    <option value="" .selected=${value === ""}>${all}</option>
    ${choices.map(([id, text]) => html`<option value=${id} .selected=${id === value}>${text}</option>`)}
  </select>`;
}
