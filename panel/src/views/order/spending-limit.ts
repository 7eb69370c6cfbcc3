/** The user's spending limit on the app's keys: their own quota, saved immediately. */

import { customElement, state } from "lit/decorators.js";
import { asPanelError } from "../../errors.js";
import type { Quota } from "../../types.js";
import { limitForm } from "../limit-form.js";
import { View } from "../view.js";
import { amountIn } from "./amount.js";

@customElement("supa-llm-spending-limit")
export class SpendingLimit extends View {
  @state() private quotas: Quota[] | null = null;
  @state() private amount = "";
  @state() private busy = false;
  @state() private error: unknown = null;

  override connectedCallback(): void {
    super.connectedCallback();
    void this.#load();
  }

  /** Monthly quotas on the cost of the operator's keys, for all providers and tasks. */
  #of(setBy: Quota["set_by"]): Quota[] {
    return (this.quotas ?? []).filter(
      (quota) =>
        quota.set_by === setBy &&
        quota.unit === "cost" &&
        quota.period === "month" &&
        quota.provider === null &&
        quota.task === null &&
        (quota.key_source === "operator" || (setBy === "operator" && quota.key_source === null)),
    );
  }

  get #own(): Quota | undefined {
    return this.#of("user")[0];
  }

  async #load(): Promise<void> {
    await this.#do(async () => {
      this.quotas = await this.store.backend.quotas();
      // If the user typed before the answer came, their text stays.
      this.amount ||= this.#own ? this.store.formats.input(this.#own.limit) : "";
    });
  }

  /** Repeats the last action. */
  #retry: () => Promise<void> = async () => {};

  async #do(what: () => Promise<void>): Promise<void> {
    this.#retry = () => this.#do(what);
    this.busy = true;
    this.error = null;
    try {
      await what();
    } catch (error) {
      this.error = error;
    } finally {
      this.busy = false;
    }
  }

  #save = () => {
    void this.#do(async () => {
      await this.store.backend.setQuota({
        limit: amountIn(this.amount),
        unit: "cost",
        period: "month",
        key_source: "operator",
        enforced: true,
      });
      this.quotas = await this.store.backend.quotas();
      this.store.toast("limit", this.store.t("order.spending_limit_saved"));
      this.dispatchEvent(new Event("spending-limit-changed"));
    });
  };

  #remove = () => {
    const own = this.#own;
    if (!own) return;
    void this.#do(async () => {
      await this.store.backend.removeQuota(own.id);
      this.quotas = await this.store.backend.quotas();
      this.amount = "";
      this.store.toast("limit", this.store.t("order.spending_limit_removed"));
      this.dispatchEvent(new Event("spending-limit-changed"));
    });
  };

  override render() {
    const { store } = this;
    const { t, formats } = store;
    const own = this.#own;
    const operatorLimit = this.#of("operator")
      .filter((quota) => quota.enforced)
      .sort((a, b) => a.limit - b.limit)[0];
    const used = own && {
      limit: formats.money(own.limit),
      used: formats.money((own.used ?? 0) + (own.reserved ?? 0)),
    };
    const retryable = asPanelError(this.error).transient || this.quotas === null;
    return limitForm(store, {
      id: "spending-limit",
      label: t("order.spending_limit"),
      about: t("order.spending_limit_about"),
      lines: [
        ...(used ? [t("order.spending_limit_now", used)] : []),
        ...(operatorLimit && (!own || operatorLimit.limit < own.limit)
          ? [t("order.spending_limit_operator", { limit: formats.money(operatorLimit.limit) })]
          : []),
      ],
      amount: this.amount,
      busy: this.busy,
      ready: this.quotas !== null,
      removable: own !== undefined,
      error: this.error,
      retry: retryable ? () => void this.#retry() : null,
      input: (typed) => (this.amount = typed),
      save: this.#save,
      remove: this.#remove,
    });
  }
}
