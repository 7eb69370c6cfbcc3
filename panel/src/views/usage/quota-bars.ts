/** The user's quotas, as bars. */

import { html, nothing, type TemplateResult } from "lit";
import type { Store } from "../../store.js";
import type { TextName } from "../../texts/index.js";
import type { Quota } from "../../types.js";
import { taskLabel } from "../tasks/names.js";

export function quotaBars(store: Store, quotas: Quota[]): TemplateResult {
  return html`<section class="stack tight" part="quotas">
    <h2>${store.t("usage.quotas")}</h2>
    <ul class="quotas">
      ${quotas.map((quota) => html`<li class="card stack tight">${bar(store, quota)}</li>`)}
    </ul>
  </section>`;
}

/** What a quota limits, and who set it: the app and the user can limit the same usage. */
export function quotaName(
  store: Pick<Store, "t" | "providerName" | "appTasks" | "translator">,
  quota: Quota,
): string {
  const { t } = store;
  const period = t(`usage.quota.${quota.period}` as TextName);
  const parts = [
    t(`usage.quota.${quota.unit}` as TextName, { period }),
    quota.provider && store.providerName(quota.provider),
    quota.task && taskLabel(store, quota.task),
    quota.key_source && t(`source.${quota.key_source}`),
    t(`usage.quota.set_by.${quota.set_by}`),
  ];
  return parts.filter(Boolean).join(" · ");
}

function bar(store: Store, quota: Quota): TemplateResult {
  const { t, formats } = store;
  const amount = (value: number) => (quota.unit === "cost" ? formats.money(value) : formats.number(value));
  const name = quotaName(store, quota);
  if (typeof quota.used !== "number")
    return html`<p>${name}: ${amount(quota.limit)}</p>
      <p class="small muted">${t("usage.quota.shared")}</p>`;
  const reserved = quota.reserved ?? 0;
  return html`
    <div class="row">
      <span class="grow setting-name">${name}</span>
      <span>${t("usage.quota", { used: amount(quota.used + reserved), limit: amount(quota.limit) })}</span>
    </div>
    <meter
      min="0"
      max=${quota.limit}
      high=${quota.limit * 0.8}
      optimum="0"
      .value=${Math.min(quota.used + reserved, quota.limit)}
      aria-label=${name}
    ></meter>
    <p class="small muted">
      ${reserved ? t("usage.quota.reserved", { reserved: amount(reserved) }) : nothing}
      ${quota.resets_at ? t("usage.quota.resets", { time: formats.time(quota.resets_at) }) : nothing}
    </p>
  `;
}
