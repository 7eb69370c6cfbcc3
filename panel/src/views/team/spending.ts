/** A team's spending limits: a month's costs of the team as a whole, and of each member. Saved immediately. */

import { customElement, property, state } from "lit/decorators.js";
import type { Quota } from "../../types.js";
import { limitForm } from "../limit-form.js";
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
    const stored = quota ? formats.input(quota.limit) : "";
    const amount = this.amount ?? stored;
    const shown =
      quota && quota.used !== null && scope === "whole" ? quota.used + (quota.reserved ?? 0) : null;
    return limitForm(store, {
      id: `team-limit-${scope}`,
      label: t(`team.limit.${scope}`),
      about: t(`team.limit.${scope}.about`),
      lines:
        quota && shown !== null
          ? [t("team.limit.now", { used: formats.money(shown), limit: formats.money(quota.limit) })]
          : [],
      amount,
      busy: this.busy,
      ready: amount !== stored,
      removable: quota !== null,
      error: this.error,
      input: (typed) => (this.amount = typed),
      save: this.#save,
      remove: this.#remove,
    });
  }

  #save = () => {
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
