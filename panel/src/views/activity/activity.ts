/** The user's audit log. */

import { html, nothing } from "lit";
import { customElement } from "lit/decorators.js";
import type { TextName } from "../../texts/index.js";
import type { AuditEntry } from "../../types.js";
import { Loader } from "../loader.js";
import { View } from "../view.js";

const PAGE = 50;

@customElement("supa-llm-activity")
export class ActivityView extends View {
  #log = new Loader<AuditEntry[]>(() => this.requestUpdate());
  #complete = false;

  override connectedCallback(): void {
    super.connectedCallback();
    void this.#load();
  }

  override render() {
    const { store } = this;
    const log = this.#log;
    const entries = log.value ?? [];
    return html`<div class="stack">
      ${log.state(store, this.#load)}
      ${log.value?.length === 0 ? html`<p class="muted">${store.t("activity.none")}</p>` : nothing}
      ${
        entries.length
          ? html`<div class="scroll" tabindex="0" role="region" aria-label=${store.t("tab.activity")}>
              <table>
                <thead>
                  <tr>
                    <th scope="col">${store.t("activity.when")}</th>
                    <th scope="col">${store.t("activity.what")}</th>
                    <th scope="col">${store.t("activity.who")}</th>
                  </tr>
                </thead>
                <tbody>
                  ${entries.map(
                    (entry) =>
                      html`<tr>
                        <td>${store.formats.time(entry.at)}</td>
                        <td>${this.#inWords(entry)}</td>
                        <td>${store.t(`activity.actor.${entry.actor === "user" ? "user" : "runtime"}`)}</td>
                      </tr>`,
                  )}
                </tbody>
              </table>
            </div>`
          : nothing
      }
      ${
        entries.length && !this.#complete
          ? html`<div>
              <button ?disabled=${log.busy} @click=${this.#more}>${store.t("activity.more")}</button>
            </div>`
          : nothing
      }
    </div>`;
  }

  #inWords({ action, provider, detail }: AuditEntry): string {
    const { store } = this;
    const until = typeof detail["until"] === "string" ? store.formats.time(detail["until"]) : "";
    return store.translator.find(`activity.action.${action}` as TextName, action, {
      provider: provider ? store.providerName(provider) : "",
      hint: String(detail["hint"] ?? ""),
      until,
    });
  }

  #load = () =>
    this.#log.load(async () => {
      const page = await this.store.backend.audit(PAGE);
      this.#complete = page.length < PAGE;
      return page;
    });

  #more = () =>
    this.#log.load(async () => {
      const before = this.#log.value ?? [];
      const page = await this.store.backend.audit(PAGE, before.at(-1)?.id);
      this.#complete = page.length < PAGE;
      return [...before, ...page];
    });
}
