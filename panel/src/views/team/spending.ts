/** A team's spending limits: a month's costs of the team as a whole, and of each member. Saved immediately. */

import { html, nothing, type TemplateResult } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import type { Quota } from "../../types.js";
import { icon } from "../icons.js";
import { amountIn } from "../order/amount.js";
import { TeamSection } from "./section.js";

export type Scope = "whole" | "each";

/** Monthly limits on the cost of the team's keys, for all providers, tasks and members. */
export function spendingLimit(quotas: readonly Quota[], scope: Scope): Quota | undefined {
  return quotas.find(
    (quota) =>
      quota.set_by === "team" &&
      quota.unit === "cost" &&
      quota.period === "month" &&
      quota.provider === null &&
      quota.task === null &&
      !quota.user_id &&
      quota.shared === (scope === "whole"),
  );
}

@customElement("supa-llm-team-spending-limit")
export class TeamSpendingLimit extends TeamSection {
  @property() scope: Scope = "whole";
  @property({ attribute: false }) quota: Quota | null = null;
  @state() private amount: string | null = null;
  @state() private busy = false;
  @state() private error: unknown = null;

  protected override load(): void {}

  override render() {
    const { store, quota, scope } = this;
    const { t, formats } = store;
    const id = `team-limit-${scope}`;
    const stored = quota ? formats.input(quota.limit) : "";
    const amount = this.amount ?? stored;
    return html`<form @submit=${this.#save} novalidate autocomplete="off" part="spending-limit">
      <div class="setting">
        <div>
          <label class="setting-name" for=${id}>${t(`team.limit.${scope}`)}</label>
          <p class="muted small" id="${id}-about">${t(`team.limit.${scope}.about`)}</p>
          ${this.#used()}
        </div>
        <div class="limit-form">
          <input
            id=${id}
            type="text"
            inputmode="decimal"
            autocomplete="off"
            placeholder=${t("order.spending_limit_none")}
            aria-describedby="${id}-about"
            .value=${amount}
            @input=${(event: Event) => (this.amount = (event.target as HTMLInputElement).value)}
          />
          <button type="submit" ?disabled=${this.busy || !amount.trim() || amount === stored}>
            ${t("order.spending_limit_set")}
          </button>
          ${
            quota
              ? html`<button
                  type="button"
                  class="icon-only"
                  title=${t("order.spending_limit_remove")}
                  aria-label=${t("order.spending_limit_remove")}
                  ?disabled=${this.busy}
                  @click=${this.#remove}
                >
                  ${icon("trash")}
                </button>`
              : nothing
          }
        </div>
      </div>
      ${
        this.error
          ? html`<div class="alert bad" role="alert" part="error">
              ${icon("warning")}<span class="grow">${store.explain(this.error)}</span>
            </div>`
          : nothing
      }
    </form>`;
  }

  #used(): TemplateResult | typeof nothing {
    const { quota, store } = this;
    if (!quota || quota.used === null || this.scope === "each") return nothing;
    const { t, formats } = store;
    return html`<p class="small">
      ${t("team.limit.now", {
        used: formats.money(quota.used + (quota.reserved ?? 0)),
        limit: formats.money(quota.limit),
      })}
    </p>`;
  }

  #save = (event: Event) => {
    event.preventDefault();
    void this.#do(async () => {
      await this.teams.setQuota(this.team.id, {
        limit: amountIn(this.amount ?? ""),
        unit: "cost",
        period: "month",
        shared: this.scope === "whole",
        enforced: true,
      });
      this.store.toast("limit", this.store.t("order.spending_limit_saved"));
    });
  };

  #remove = () => {
    const { quota } = this;
    if (!quota) return;
    void this.#do(async () => {
      await this.teams.removeQuota(quota.id);
      this.store.toast("limit", this.store.t("order.spending_limit_removed"));
    });
  };

  async #do(what: () => Promise<void>): Promise<void> {
    Object.assign(this, { busy: true, error: null });
    try {
      await what();
      this.amount = null;
      this.dispatchEvent(new Event("limits-changed", { bubbles: true }));
    } catch (error) {
      this.error = error;
    } finally {
      this.busy = false;
    }
  }
}
