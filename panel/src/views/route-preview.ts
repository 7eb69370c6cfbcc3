/** The route of a task with the saved settings, and with the unsaved ones. */

import { css, html, nothing, type PropertyValues, type TemplateResult } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import type { Changes } from "../backend.js";
import type { Candidate, Skipped, Route } from "../types.js";
import { View } from "./view.js";
import { candidateMarks, newlySkipped, sameRoute, type Mark } from "./route-differences.js";
import { icon, pill } from "./icons.js";
import "./mark.js";
import { payerInWords } from "./payer.js";
import { rowSkeleton } from "./skeleton.js";
import { taskLabel, taskNames } from "./tasks/names.js";
import { asPanelError } from "../errors.js";

/** Long enough to skip single keystrokes, short enough to feel instant. */
const DEBOUNCE_MS = 250;

export const routePreviewStyles = css`
  supa-llm-route-preview {
    display: block;
  }
  .preview-head {
    display: flex;
    flex-wrap: wrap;
    align-items: start;
    justify-content: space-between;
    gap: 0.75rem 1.5rem;
  }
  .preview-routes {
    display: grid;
    gap: 1.5rem;
    grid-template-columns: repeat(auto-fit, minmax(min(100%, 17rem), 1fr));
    align-items: start;
  }
  .preview-route > ol > li,
  .preview-route details li {
    display: flex;
    align-items: start;
    gap: 0.7rem;
    padding-block: 0.45rem;
  }
  .preview-route > ol > li + li,
  .preview-route details li + li {
    border-block-start: 1px solid var(--_line);
  }
  .preview-line {
    flex: 1;
    min-inline-size: 0;
  }
  .preview-place {
    min-inline-size: 1rem;
    line-height: 1.4rem;
    text-align: end;
    color: var(--_muted);
    font-size: 0.8125rem;
    font-variant-numeric: tabular-nums;
  }
  .preview-gone {
    text-decoration: line-through;
  }
`;

@customElement("supa-llm-route-preview")
export class RoutePreview extends View {
  /** The task to preview; null for a request without one. */
  @property({ attribute: false }) task: string | null = null;
  /** Changes with the spending limit, which is no part of the settings. */
  @property({ attribute: false }) limitChanges = 0;
  /** The team of the request; null: the user's default team. */
  @property({ attribute: false }) team: string | null = null;
  @state() private routeBefore: Route | null = null;
  /** The route with the unsaved changes; null if there are none. */
  @state() private routeAfter: Route | null = null;
  @state() private beforeError: unknown = null;
  @state() private afterError: unknown = null;
  @state() private busy = false;
  #requested = "";
  #turn = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  override disconnectedCallback(): void {
    clearTimeout(this.#timer);
    this.#turn++;
    this.#requested = "";
    super.disconnectedCallback();
  }

  override updated(_: PropertyValues<this>): void {
    const { store } = this;
    const { changes } = store;
    const { settings } = store.loaded;
    const keys = [...store.loaded.keys.values()].map((key) => [key.id, key.status, key.rests_until]);
    const wanted = JSON.stringify([
      this.task,
      this.limitChanges,
      this.team,
      settings.version,
      keys,
      ...(changes ? [changes] : []),
    ]);
    if (wanted === this.#requested) return;
    const first = this.#requested === "";
    this.#requested = wanted;
    clearTimeout(this.#timer);
    const turn = ++this.#turn; // drops answers that are under way
    this.#timer = setTimeout(() => void this.#load(turn, this.task, changes), first ? 0 : DEBOUNCE_MS);
  }

  async #load(turn: number, task: string | null, changes: Changes | null): Promise<void> {
    const { backend } = this.store;
    this.busy = true;
    const [before, after] = await Promise.allSettled([
      backend.explain(task, null, this.team),
      changes ? backend.explain(task, changes, this.team) : Promise.resolve(null),
    ]);
    if (turn !== this.#turn) return;
    this.busy = false;
    // After an error the previous route stays, unless it belongs to another task.
    if (before.status === "fulfilled") this.routeBefore = before.value;
    else if (this.routeBefore && this.routeBefore.task !== task) this.routeBefore = null;
    if (after.status === "fulfilled") this.routeAfter = after.value;
    else if (this.routeAfter && this.routeAfter.task !== task) this.routeAfter = null;
    this.beforeError = before.status === "rejected" ? before.reason : null;
    this.afterError = after.status === "rejected" ? after.reason : null;
  }

  #retry = () => {
    this.#requested = "";
    this.requestUpdate();
  };

  override render() {
    const { store, routeBefore: before, routeAfter: after } = this;
    const { t } = store;
    const unsaved = store.changeCount > 0 && before && after;
    return html`
      <section
        class="card stack"
        part="route-preview"
        aria-labelledby="route-preview-title"
        aria-busy=${this.busy}
      >
        <div class="preview-head">
          <div class="section-head">
            <h2 id="route-preview-title">${t("preview.title")}</h2>
            <p class="muted small">${t("preview.about")}</p>
          </div>
          <label class="field">
            <span>${t("preview.task")}</span>
            <select
              @change=${(event: Event) => {
                const chosen = (event.target as HTMLSelectElement).value;
                this.task = chosen === "" ? null : chosen;
                this.dispatchEvent(new CustomEvent("task-chosen", { detail: this.task }));
              }}
            >
              <option value="" .selected=${this.task === null}>${t("preview.no_task")}</option>
              ${taskNames(store).map(
                (task) =>
                  html`<option value=${task} .selected=${this.task === task}>
                    ${taskLabel(store, task)}
                  </option>`,
              )}
            </select>
          </label>
        </div>
        ${this.#failure(this.beforeError ?? this.afterError)}
        <div class="preview-routes" role="status">
          ${before ? this.#route(before, unsaved ? after : null, "before") : this.beforeError ? nothing : rowSkeleton(3)}
          ${unsaved ? this.#route(after, before, "after") : nothing}
        </div>
      </section>
    `;
  }

  #failure(error: unknown): TemplateResult | typeof nothing {
    if (!error) return nothing;
    return html`<div class="alert bad" role="alert" part="error">
      ${icon("warning")}<span class="grow">${this.store.explain(error)}</span>
      ${
        asPanelError(error).transient
          ? html`<button @click=${this.#retry}>${this.store.t("state.retry")}</button>`
          : nothing
      }
    </div>`;
  }

  #route(route: Route, other: Route | null, which: "before" | "after"): TemplateResult {
    const { t } = this.store;
    const marks = other ? candidateMarks(route, other, which) : [];
    const skippedNow = other && which === "after" ? newlySkipped(route, other) : [];
    return html`<div class="preview-route stack tight" data-test="route-${which}">
      <h3>${t(which === "after" ? "preview.after" : "preview.now")}</h3>
      ${
        other && which === "after" && sameRoute(route, other)
          ? html`<p class="muted small">${t("preview.unchanged")}</p>`
          : nothing
      }
      ${
        route.candidates.length
          ? html`<ol aria-label=${t("preview.candidates")}>
              ${route.candidates.map((line, at) => this.#candidate(line, at, marks[at] ?? "same"))}
            </ol>`
          : html`<p class="alert warn">${t("preview.empty")} ${this.#advice(route)}</p>`
      }
      ${
        route.skipped.length
          ? html`<details>
              <summary>${t("preview.skipped", { count: route.skipped.length })}</summary>
              <ul aria-label=${t("preview.skipped_label")}>
                ${route.skipped.map((line, at) => this.#skipped(line, skippedNow[at] ?? false))}
              </ul>
            </details>`
          : nothing
      }
    </div>`;
  }

  #candidate(line: Candidate, at: number, mark: Mark): TemplateResult {
    const { store } = this;
    const { t } = store;
    const source = payerInWords(store, line);
    const name = store.providerName(line.provider);
    return html`<li>
      <span class="preview-place" aria-hidden="true">${at + 1}</span>
      <supa-llm-mark small .provider=${line.provider} .name=${name}></supa-llm-mark>
      <div class="preview-line">
        <div class="row tight">
          <span class=${mark === "gone" ? "preview-gone" : ""}
            ><strong>${name}</strong> <span class="code">${line.model}</span></span
          >
          ${mark === "same" ? nothing : this.#mark(mark)}
        </div>
        <div class="small muted">
          ${line.key_hint ? t("preview.key", { source, hint: line.key_hint }) : source} ·
          ${store.translator.find(`preview.reason.${line.reason}`, line.reason)}
        </div>
      </div>
    </li>`;
  }

  #mark(mark: Exclude<Mark, "same">): TemplateResult {
    const better = mark === "new" || mark === "earlier";
    const name = { new: "plus", earlier: "up", later: "down", gone: "close" } as const;
    return pill(better ? "good" : "warn", name[mark], this.store.t(`preview.mark.${mark}`));
  }

  #skipped(line: Skipped, isNew: boolean): TemplateResult {
    const { t } = this.store;
    const name = this.store.providerName(line.provider);
    return html`<li>
      <supa-llm-mark small .provider=${line.provider} .name=${name}></supa-llm-mark>
      <div class="preview-line">
        <div class="row tight">
          <strong>${name}</strong>
          <span class="muted small">${payerInWords(this.store, line)}</span>
          ${isNew ? pill("warn", "plus", t("preview.mark.new")) : nothing}
        </div>
        <div class="small">${this.#why(line)}</div>
      </div>
    </li>`;
  }

  #why(line: Skipped): string {
    const { store } = this;
    const { t, formats } = store;
    const provider = store.providerName(line.provider);
    if ((line.reason === "key_rate_limited" || line.reason === "model_rate_limited") && line.until)
      return t(`preview.why.${line.reason}_until`, { provider, time: formats.time(line.until) });
    const generic = store.translator.find(`preview.why.${line.reason}`, line.message, { provider });
    const text =
      line.key_source === "team"
        ? store.translator.find(`preview.why.team.${line.reason}`, generic, { provider })
        : generic;
    const quota = line.quota;
    if (line.reason !== "quota_exceeded" || !quota || typeof quota.used !== "number") return text;
    const amount = (value: number) => (quota.unit === "cost" ? formats.money(value) : formats.number(value));
    const figures = t("preview.quota", {
      used: amount(quota.used + (quota.reserved ?? 0)),
      limit: amount(quota.limit),
      unit: quota.unit === "cost" ? "" : store.translator.find(`preview.unit.${quota.unit}`, quota.unit),
    }).trim();
    const resets = quota.resets_at ? t("preview.resets", { time: formats.time(quota.resets_at) }) : "";
    return [text, `${figures}.`, resets].filter(Boolean).join(" ");
  }

  /** What to do if no provider can serve: adding a key helps most. */
  #advice(route: Route): string {
    const keyless = route.skipped
      .filter((line) => line.reason === "no_key" && line.key_source === "user")
      .map((line) => this.store.providerName(line.provider));
    if (!keyless.length) return this.store.t("preview.see_skipped");
    return this.store.t("preview.advice_keys", { providers: [...new Set(keyless)].join(", ") });
  }
}
