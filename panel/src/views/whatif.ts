/** "What would happen": the route of a task, as the settings are and as they would be once they are saved. */

import { css, html, nothing, type PropertyValues, type TemplateResult } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import type { Changes } from "../backend.js";
import type { TextName } from "../texts/index.js";
import type { Candidate, Skipped, Route } from "../types.js";
import { View } from "./view.js";
import { candidateMarks, skippedMarks, sameRoute, type Mark } from "./whatif-differences.js";
import { taskNames } from "./tasks/names.js";
import { asPanelError } from "../errors.js";

/** Long enough not to ask at every letter, short enough to feel at once. */
const PAUSE_MS = 250;

export const whatifStyles = css`
  supa-llm-whatif {
    display: block;
  }
  /* Fields of the views that show it: a long option must not make its select wider than the view. */
  :is(supa-llm-order, supa-llm-tasks) label.field {
    grid-template-columns: minmax(0, 1fr);
  }
  :is(supa-llm-order, supa-llm-tasks) label.field > :is(input, select) {
    inline-size: 100%;
    min-inline-size: 0;
  }
  :is(supa-llm-order, supa-llm-tasks) label.check > input {
    flex: none;
  }
  .whatif-routes {
    display: grid;
    gap: 1rem;
    grid-template-columns: repeat(auto-fit, minmax(min(100%, 16rem), 1fr));
    align-items: start;
  }
  .whatif-route li {
    padding-block: 0.35rem;
  }
  .whatif-route ol {
    list-style: decimal;
    padding-inline-start: 1.6rem;
  }
  .whatif-mark {
    border: 1px solid currentColor;
    border-radius: var(--_radius);
    padding-inline: 0.4rem;
    font-size: 0.8rem;
    white-space: nowrap;
  }
  .whatif-gone {
    text-decoration: line-through;
  }
`;

@customElement("supa-llm-whatif")
export class WhatIf extends View {
  /** The task whose route is shown; null for a request without one. */
  @property({ attribute: false }) task: string | null = null;
  /** Anything that changes when limits do, which the settings do not tell. */
  @property({ attribute: false }) limits = 0;
  @state() private now: Route | null = null;
  /** With what is not saved yet; null where everything is. */
  @state() private saved: Route | null = null;
  @state() private nowError: unknown = null;
  @state() private thenError: unknown = null;
  @state() private busy = false;
  #asked = "";
  #turn = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  override disconnectedCallback(): void {
    clearTimeout(this.#timer);
    this.#turn++;
    this.#asked = "";
    super.disconnectedCallback();
  }

  override updated(_: PropertyValues<this>): void {
    const { store } = this;
    const { changes } = store;
    const { settings } = store.loaded;
    const keys = [...store.loaded.keys.values()].map((key) => [key.id, key.status, key.rate_limited_until]);
    const wanted = JSON.stringify([
      this.task,
      this.limits,
      settings.version,
      keys,
      ...(changes ? [changes] : []),
    ]);
    if (wanted === this.#asked) return;
    const first = this.#asked === "";
    this.#asked = wanted;
    clearTimeout(this.#timer);
    const turn = ++this.#turn; // what is under way is of no interest any more
    this.#timer = setTimeout(() => void this.#ask(turn, this.task, changes), first ? 0 : PAUSE_MS);
  }

  async #ask(turn: number, task: string | null, changes: Changes | null): Promise<void> {
    const { backend } = this.store;
    this.busy = true;
    const [before, after] = await Promise.allSettled([
      backend.explain(task),
      changes ? backend.explain(task, changes) : Promise.resolve(null),
    ]);
    if (turn !== this.#turn) return;
    this.busy = false;
    // At an error the former answer stays in sight, unless it is of another task.
    if (before.status === "fulfilled") this.now = before.value;
    else if (this.now && this.now.task !== task) this.now = null;
    if (after.status === "fulfilled") this.saved = after.value;
    else if (this.saved && this.saved.task !== task) this.saved = null;
    this.nowError = before.status === "rejected" ? before.reason : null;
    this.thenError = after.status === "rejected" ? after.reason : null;
  }

  #again = () => {
    this.#asked = "";
    this.requestUpdate();
  };

  override render() {
    const { store, now: before, saved: after } = this;
    const { t } = store;
    const unsaved = store.changeCount > 0 && before && after;
    return html`
      <section class="card stack" part="whatif" aria-labelledby="whatif-title" aria-busy=${this.busy}>
        <h2 id="whatif-title">${t("whatif.title")}</h2>
        <p class="muted small">${t("whatif.about")}</p>
        <label class="field">
          <span>${t("whatif.task")}</span>
          <select
            @change=${(event: Event) => {
              const chosen = (event.target as HTMLSelectElement).value;
              this.task = chosen === "" ? null : chosen;
              this.dispatchEvent(new CustomEvent("task-chosen", { detail: this.task }));
            }}
          >
            <option value="" .selected=${this.task === null}>${t("whatif.no_task")}</option>
            ${taskNames(store.loaded).map(
              (task) => html`<option value=${task} .selected=${this.task === task}>${task}</option>`,
            )}
          </select>
        </label>
        ${this.#failure(this.nowError ?? this.thenError)}
        <div class="whatif-routes" role="status">
          ${before ? this.#route(before, unsaved ? after : null, "before") : nothing}
          ${unsaved ? this.#route(after, before, "after") : nothing}
        </div>
      </section>
    `;
  }

  #failure(error: unknown): TemplateResult | typeof nothing {
    if (!error) return nothing;
    return html`<div class="alert bad row" role="alert" part="error">
      <span class="grow">${this.store.explain(error)}</span>
      ${
        asPanelError(error).passing
          ? html`<button @click=${this.#again}>${this.store.t("state.retry")}</button>`
          : nothing
      }
    </div>`;
  }

  #route(route: Route, other: Route | null, which: "before" | "after"): TemplateResult {
    const { t } = this.store;
    const marks = other ? candidateMarks(route, other, which) : [];
    const news = other && which === "after" ? skippedMarks(route, other) : [];
    return html`<div class="whatif-route stack tight" data-test="route-${which}">
      <h3>${t(which === "after" ? "whatif.after" : "whatif.now")}</h3>
      ${
        other && which === "after" && sameRoute(route, other)
          ? html`<p class="muted small">${t("whatif.unchanged")}</p>`
          : nothing
      }
      ${
        route.candidates.length
          ? html`<ol aria-label=${t("whatif.candidates")}>
              ${route.candidates.map((line, at) => this.#candidate(line, marks[at] ?? "same"))}
            </ol>`
          : html`<p class="alert warn">${t("whatif.empty")} ${this.#advice(route)}</p>`
      }
      ${
        route.skipped.length
          ? html`<details>
              <summary>${t("whatif.skipped", { count: route.skipped.length })}</summary>
              <ul aria-label=${t("whatif.skipped_label")}>
                ${route.skipped.map((line, at) => this.#skipped(line, news[at] ?? false))}
              </ul>
            </details>`
          : nothing
      }
    </div>`;
  }

  #candidate(line: Candidate, mark: Mark): TemplateResult {
    const { store } = this;
    const { t } = store;
    const source = t(`source.${line.key_source}` as TextName);
    return html`<li>
      <span class=${mark === "gone" ? "whatif-gone" : ""}
        ><strong>${store.providerName(line.provider)}</strong> <span class="code">${line.model}</span></span
      >
      ${
        mark === "same"
          ? nothing
          : html`<span class="whatif-mark ${mark === "new" || mark === "earlier" ? "good" : "warn"}"
              >${t(`whatif.mark.${mark}` as TextName)}</span
            >`
      }
      <div class="small muted">
        ${line.key_hint ? t("whatif.key", { source, hint: line.key_hint }) : source} ·
        ${store.translator.find(`whatif.reason.${line.reason}`, line.reason)}
      </div>
    </li>`;
  }

  #skipped(line: Skipped, isNew: boolean): TemplateResult {
    const { t } = this.store;
    return html`<li>
      <strong>${this.store.providerName(line.provider)}</strong>
      <span class="muted small">(${t(`source.${line.key_source}` as TextName)})</span>
      ${isNew ? html`<span class="whatif-mark warn">${t("whatif.mark.new")}</span>` : nothing}
      <div class="small">${this.#why(line)}</div>
    </li>`;
  }

  #why(line: Skipped): string {
    const { store } = this;
    const { t, formats } = store;
    const provider = store.providerName(line.provider);
    const key = store.loaded.keys.get(line.provider);
    if (line.reason === "key_rate_limited" && key?.rate_limited_until)
      return t("whatif.left.key_rate_limited_until", {
        provider,
        time: formats.time(key.rate_limited_until),
      });
    const text = store.translator.find(`whatif.left.${line.reason}`, line.message, { provider });
    const quota = line.quota;
    if (line.reason !== "quota_exceeded" || !quota || typeof quota.used !== "number") return text;
    const amount = (value: number) => (quota.unit === "cost" ? formats.money(value) : formats.number(value));
    const figures = t("whatif.quota", {
      used: amount(quota.used + (quota.reserved ?? 0)),
      limit: amount(quota.limit),
      unit: quota.unit === "cost" ? "" : store.translator.find(`whatif.unit.${quota.unit}`, quota.unit),
    }).trim();
    const resets = quota.resets_at ? t("whatif.resets", { time: formats.time(quota.resets_at) }) : "";
    return [text, `${figures}.`, resets].filter(Boolean).join(" ");
  }

  /** What to do where nothing can serve: storing a key is what helps most; else what the database says. */
  #advice(route: Route): string {
    const keyless = route.skipped
      .filter((line) => line.reason === "no_key" && line.key_source === "user")
      .map((line) => this.store.providerName(line.provider));
    if (!keyless.length) return this.store.t("whatif.see_skipped");
    return this.store.t("whatif.advice_keys", { providers: [...new Set(keyless)].join(", ") });
  }
}
