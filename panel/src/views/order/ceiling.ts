/** How much of the app's keys the user wants to use at most: a quota of their own, saved at once. */

import { html, nothing } from "lit";
import { customElement, state } from "lit/decorators.js";
import { asPanelError } from "../../errors.js";
import type { Quota } from "../../types.js";
import { View } from "../view.js";

@customElement("supa-llm-ceiling")
export class Ceiling extends View {
  @state() private quotas: Quota[] | null = null;
  @state() private amount = "";
  @state() private busy = false;
  @state() private error: unknown = null;
  @state() private said: "set" | "removed" | null = null;

  override connectedCallback(): void {
    super.connectedCallback();
    void this.#load();
  }

  /** A month's dollars of all the operator's keys, whatever provider and task. */
  #of(setBy: "user" | "operator"): Quota[] {
    return (this.quotas ?? []).filter(
      (quota) =>
        quota["set_by"] === setBy &&
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
      // The answer may come after the user began to type: what they typed stays.
      this.amount ||= this.#own ? String(this.#own.limit) : "";
    });
  }

  /** What was tried last, to try it again. */
  #again: () => Promise<void> = async () => {};

  async #do(what: () => Promise<void>): Promise<void> {
    this.#again = () => this.#do(what);
    this.busy = true;
    this.error = null;
    this.said = null;
    try {
      await what();
    } catch (error) {
      this.error = error;
    } finally {
      this.busy = false;
    }
  }

  #save = (event: Event) => {
    event.preventDefault();
    void this.#do(async () => {
      // What is no number, or 1,000, which is a thousand to one and one to another, goes to the database as it is
      // typed, which says what is allowed.
      const typed = /^[1-9]\d{0,2}([.,]\d{3})+$/.test(this.amount.trim())
        ? ""
        : this.amount.trim().replace(",", ".");
      await this.store.backend.setQuota({
        limit: typed === "" || Number.isNaN(Number(typed)) ? this.amount : Number(typed),
        unit: "cost",
        period: "month",
        key_source: "operator",
        enforced: true,
      });
      this.quotas = await this.store.backend.quotas();
      this.said = "set";
      this.dispatchEvent(new Event("ceiling-changed"));
    });
  };

  #remove = () => {
    const own = this.#own;
    if (!own) return;
    void this.#do(async () => {
      await this.store.backend.removeQuota(own.id);
      this.quotas = await this.store.backend.quotas();
      this.amount = "";
      this.said = "removed";
      this.dispatchEvent(new Event("ceiling-changed"));
    });
  };

  override render() {
    const { store } = this;
    const { t, formats } = store;
    const own = this.#own;
    const theirs = this.#of("operator")
      .filter((quota) => quota.enforced)
      .sort((a, b) => a.limit - b.limit)[0];
    return html`<form class="stack tight" part="ceiling" @submit=${this.#save} novalidate>
      <div class="row order-ceiling">
        <label class="field">
          <span>${t("order.ceiling")}</span>
          <input
            type="text"
            inputmode="decimal"
            autocomplete="off"
            aria-describedby="ceiling-about"
            .value=${this.amount}
            @input=${(event: Event) => {
              this.amount = (event.target as HTMLInputElement).value;
              this.said = null;
            }}
          />
        </label>
        <button type="submit" ?disabled=${this.busy || this.quotas === null || !this.amount.trim()}>
          ${this.busy ? t("save.saving") : t("order.ceiling_set")}
        </button>
        ${
          own
            ? html`<button type="button" class="quiet" ?disabled=${this.busy} @click=${this.#remove}>
                ${t("order.ceiling_remove")}
              </button>`
            : nothing
        }
      </div>
      <p class="muted small" id="ceiling-about">${t("order.ceiling_about")}</p>
      ${
        own
          ? html`<p class="small">
              ${t("order.ceiling_now", {
                limit: formats.money(own.limit),
                used: formats.money((own.used ?? 0) + (own.reserved ?? 0)),
              })}
            </p>`
          : nothing
      }
      ${
        theirs && (!own || theirs.limit < own.limit)
          ? html`<p class="small">${t("order.ceiling_operator", { limit: formats.money(theirs.limit) })}</p>`
          : nothing
      }
      <p role="status" class="small good">
        ${this.said ? t(this.said === "set" ? "order.ceiling_saved" : "order.ceiling_removed") : nothing}
      </p>
      ${
        this.error
          ? html`<div class="alert bad row" role="alert" part="error">
              <span class="grow">${store.explain(this.error)}</span>
              ${
                asPanelError(this.error).passing || this.quotas === null
                  ? html`<button type="button" @click=${() => this.#again()}>${t("state.retry")}</button>`
                  : nothing
              }
            </div>`
          : nothing
      }
    </form>`;
  }
}
