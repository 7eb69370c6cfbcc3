/** The user's requests as a table: filtered, paged, each with its attempts and whose key paid. */

import { html, nothing, type TemplateResult } from "lit";
import { customElement, state } from "lit/decorators.js";
import { repeat } from "lit/directives/repeat.js";
import type { Receipt, ReceiptAttempt } from "../../types.js";
import { icon, pill } from "../icons.js";
import "../mark.js";
import { filterSelect, pager, Pages } from "../pages.js";
import { payerInWords } from "../payer.js";
import { loadingWith, rowSkeleton } from "../skeleton.js";
import { taskLabel, taskNames } from "../tasks/names.js";
import { View } from "../view.js";
import { costInWords } from "./costs.js";

const OUTCOMES = ["succeeded", "failed", "cancelled"] as const;
const LOOKS = {
  succeeded: ["good", "check"],
  failed: ["bad", "cross"],
  cancelled: ["muted", "dash"],
} as const;

@customElement("supa-llm-requests")
export class RequestsTable extends View {
  @state() private provider = "";
  @state() private outcome = "";
  @state() private task = "";
  /** Ids of the requests whose attempts are shown. */
  @state() private open: ReadonlySet<string> = new Set();
  #pages = new Pages<Receipt>(
    () => this.requestUpdate(),
    (limit, last) => this.store.backend.receipts(limit, last?.request_id),
  );

  override connectedCallback(): void {
    super.connectedCallback();
    void this.#pages.restart();
  }

  override render() {
    const { store } = this;
    const { t } = store;
    const pages = this.#pages;
    // The empty tab explains itself above.
    if (pages.empty) return nothing;
    return html`<section class="stack tight" part="receipts">
      <div class="row between">
        <h2 id="requests-title">${t("usage.receipts")}</h2>
        ${this.#filters()}
      </div>
      ${!pages.loaded && !pages.error ? loadingWith(store, rowSkeleton(6)) : nothing}
      <div class="card table-card" ?hidden=${!pages.loaded && !pages.error}>
        ${pages.shown.length ? this.#table(pages.shown) : nothing}
        ${pages.loaded && !pages.shown.length && !pages.busy ? this.#none() : nothing} ${pager(store, pages)}
      </div>
    </section>`;
  }

  #filters(): TemplateResult {
    const { store } = this;
    const { t } = store;
    const { providers, disabledProviders } = store.loaded;
    const used = this.#pages.rows.map(({ task }) => task).filter((task) => task !== null);
    const tasks = [...new Set([...taskNames(store), ...used])];
    const take = (name: "provider" | "outcome" | "task") => (value: string) => {
      this[name] = value;
      this.#filter();
    };
    return html`<div class="filters">
      ${filterSelect(
        t("word.provider"),
        t("filter.providers"),
        this.provider,
        [...providers, ...disabledProviders].map(({ id, name }) => [id, name] as const),
        take("provider"),
      )}
      ${filterSelect(
        t("usage.task"),
        t("filter.tasks"),
        this.task,
        tasks.map((task) => [task, taskLabel(store, task)] as const),
        take("task"),
      )}
      ${filterSelect(
        t("usage.outcome"),
        t("filter.outcomes"),
        this.outcome,
        OUTCOMES.map((outcome) => [outcome, t(`usage.outcome.${outcome}`)] as const),
        take("outcome"),
      )}
    </div>`;
  }

  #filter(): void {
    const { provider, outcome, task } = this;
    void this.#pages.filterBy(
      (receipt) =>
        (!provider || receipt.attempts.some((attempt) => attempt.provider === provider)) &&
        (!outcome || receipt.outcome === outcome) &&
        (!task || receipt.task === task),
    );
  }

  #none(): TemplateResult {
    const { t } = this.store;
    return html`<div class="table-none">
      <p class="muted">${t("filter.none")}</p>
      <button
        @click=${() => {
          this.provider = this.outcome = this.task = "";
          this.#filter();
        }}
      >
        ${t("filter.clear")}
      </button>
    </div>`;
  }

  #table(receipts: readonly Receipt[]): TemplateResult {
    const { t } = this.store;
    return html`<div class="scroll" tabindex="0" role="region" aria-labelledby="requests-title">
      <table>
        <thead>
          <tr>
            <th scope="col">${t("word.time")}</th>
            <th scope="col">${t("usage.model")}</th>
            <th scope="col" class="roomy">${t("usage.task")}</th>
            <th scope="col" class="roomy">${t("usage.paid")}</th>
            <th scope="col" class="outcome"><span>${t("usage.outcome")}</span></th>
            <th scope="col" class="number">${t("usage.cost")}</th>
          </tr>
        </thead>
        <tbody>
          ${repeat(
            receipts,
            ({ request_id }) => request_id,
            (receipt) => this.#row(receipt),
          )}
        </tbody>
      </table>
    </div>`;
  }

  #row(receipt: Receipt): TemplateResult {
    const { store } = this;
    const { t, formats } = store;
    const last = receipt.attempts.at(-1);
    const name = last ? store.providerName(last.provider) : "";
    const open = this.open.has(receipt.request_id);
    const [look, mark] = LOOKS[receipt.outcome];
    const id = `attempts-${receipt.request_id}`;
    const time = formats.shortTime(receipt.requested_at);
    return html`<tr>
        <td>
          <button
            type="button"
            class="expander"
            aria-expanded=${open}
            aria-controls=${open ? id : nothing}
            title=${formats.time(receipt.requested_at)}
            aria-label=${t("usage.details", { time })}
            @click=${() => this.#toggle(receipt.request_id)}
          >
            ${icon("chevron")}<span>${time}</span>
          </button>
        </td>
        <td>
          <span class="model-cell">
            ${last ? html`<supa-llm-mark small .provider=${last.provider} .name=${name}></supa-llm-mark>` : nothing}
            <span><span class="hidden">${name} </span><span class="code">${last?.model ?? ""}</span></span>
          </span>
        </td>
        <td class="roomy">${receipt.task === null ? "" : taskLabel(store, receipt.task)}</td>
        <td class="roomy">${last ? payerInWords(store, last) : ""}</td>
        <td class="outcome">${pill(look, mark, t(`usage.outcome.${receipt.outcome}`))}</td>
        <td class="number">${costInWords(store, receipt)}</td>
      </tr>
      ${
        open
          ? html`<tr id=${id} class="attempts">
              <td colspan="6">
                <ol class="stack tight small">
                  ${receipt.attempts.map((attempt, index) => html`<li>${this.#trail(attempt, index + 1)}</li>`)}
                </ol>
              </td>
            </tr>`
          : nothing
      }`;
  }

  #toggle(request: string): void {
    const open = new Set(this.open);
    if (!open.delete(request)) open.add(request);
    this.open = open;
  }

  #trail(attempt: ReceiptAttempt, number: number): string {
    const { store } = this;
    const { t, formats } = store;
    const why = attempt.error_class
      ? store.translator.find(`usage.why.${attempt.error_class}`, attempt.error_class)
      : t(`usage.outcome.${attempt.outcome}`);
    return t("usage.attempt", {
      number,
      place: `${store.providerName(attempt.provider)} ${attempt.model}`,
      outcome: why,
      paid: payerInWords(store, attempt),
      cost:
        attempt.cost === null
          ? t(`usage.${attempt.cost_status === "unreported" ? "unreported" : "unpriced"}`)
          : formats.money(attempt.cost),
    });
  }
}
