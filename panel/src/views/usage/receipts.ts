/** Recent requests, each with its attempts and whose key paid. */

import { html, nothing, type TemplateResult } from "lit";
import type { Store } from "../../store.js";
import type { Receipt, ReceiptAttempt } from "../../types.js";
import { costInWords } from "./costs.js";
import type { Loader } from "../loader.js";

export function receiptList(
  store: Store,
  receipts: Loader<Receipt[]>,
  more: (() => void) | null,
  retry: () => void,
): TemplateResult {
  const { t } = store;
  const list = receipts.value ?? [];
  return html`<section class="stack tight" part="receipts">
    ${list.length ? html`<h2>${t("usage.receipts")}</h2>` : nothing} ${receipts.state(store, retry)}
    <ul class="stack tight">
      ${list.map((receipt) => html`<li>${one(store, receipt)}</li>`)}
    </ul>
    ${
      list.length && more
        ? html`<div><button ?disabled=${receipts.busy} @click=${more}>${t("usage.more")}</button></div>`
        : nothing
    }
  </section>`;
}

function one(store: Store, receipt: Receipt): TemplateResult {
  const { t, formats } = store;
  const last = receipt.attempts.at(-1);
  const place = last ? `${store.providerName(last.provider)} ${last.model}` : "";
  const head = [
    formats.time(receipt.requested_at),
    receipt.task,
    place,
    t(`usage.outcome.${receipt.outcome}`),
  ];
  return html`<details class="card">
    <summary>${head.filter(Boolean).join(" · ")} · ${costInWords(store, receipt)}</summary>
    <ol>
      ${receipt.attempts.map((attempt, index) => html`<li class="small">${trail(store, attempt, index + 1)}</li>`)}
    </ol>
  </details>`;
}

function trail(store: Store, attempt: ReceiptAttempt, number: number): string {
  const { t, formats } = store;
  const why = attempt.error_class
    ? store.translator.find(`usage.why.${attempt.error_class}`, attempt.error_class)
    : t(`usage.outcome.${attempt.outcome}`);
  return t("usage.attempt", {
    number,
    place: `${store.providerName(attempt.provider)} ${attempt.model}`,
    outcome: why,
    paid: t(`source.${attempt.key_source}`),
    cost:
      attempt.cost === null
        ? t(`usage.${attempt.cost_status === "unreported" ? "unreported" : "unpriced"}`)
        : formats.money(attempt.cost),
  });
}
