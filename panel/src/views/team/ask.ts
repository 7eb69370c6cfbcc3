/** A dialog of the Team tab: a question, a field to fill in, or a link to copy. */

import { html, nothing, type TemplateResult } from "lit";
import { customElement, state } from "lit/decorators.js";
import { OutdatedAnswer } from "../../store.js";
import { View } from "../view.js";

export interface Question {
  title: string;
  about?: string | TemplateResult;
  /** A text to fill in. Without one, the dialog only asks for confirmation. */
  field?: { label: string; value?: string; maxLength: number; suggestions?: () => Promise<string[]> };
  /** A link that the dialog shows and copies. */
  link?: { label: string; value: string };
  yes: string;
  look?: "primary" | "danger";
  /** What the button does; the dialog closes afterwards, or shows the error. */
  run: (text: string) => Promise<void> | void;
}

@customElement("supa-llm-team-ask")
export class TeamAsk extends View {
  @state() private question: Question | null = null;
  @state() private busy = false;
  @state() private error = "";
  @state() private copied = "";
  @state() private suggestions: string[] = [];

  async ask(question: Question): Promise<void> {
    Object.assign(this, { question, error: "", copied: "", busy: false, suggestions: [] });
    void question.field?.suggestions?.().then((found) => {
      if (this.question === question) this.suggestions = found;
    });
    await this.updateComplete;
    const dialog = this.querySelector("dialog");
    if (!dialog || dialog.open || !this.isConnected) return;
    dialog.showModal();
    this.querySelector<HTMLInputElement>("input[name=text]")?.select();
  }

  override render() {
    const { question } = this;
    return html`<dialog
      aria-labelledby="team-ask-title"
      part="dialog"
      @cancel=${(event: Event) => {
        if (this.busy) event.preventDefault();
      }}
      @close=${this.#closed}
      @click=${(event: MouseEvent) => {
        if (event.target instanceof HTMLDialogElement && !question?.field && !question?.link) this.#close();
      }}
    >
      ${question ? this.#form(question) : nothing}
    </dialog>`;
  }

  #form(question: Question): TemplateResult {
    const { t } = this.store;
    const { field, link, look = "primary" } = question;
    return html`<form class="stack" @submit=${this.#submit} novalidate autocomplete="off">
      <h2 id="team-ask-title">${question.title}</h2>
      ${question.about ? html`<p>${question.about}</p>` : nothing}
      ${
        field
          ? html`<label class="field">
              <span>${field.label}</span>
              <input
                type="text"
                name="text"
                autofocus
                autocomplete="off"
                list=${field.suggestions ? "team-ask-suggestions" : nothing}
                maxlength=${field.maxLength}
                .value=${field.value ?? ""}
                aria-invalid=${this.error ? "true" : "false"}
                @input=${() => (this.error = "")}
              />
              <datalist id="team-ask-suggestions">
                ${this.suggestions.map((text) => html`<option value=${text}></option>`)}
              </datalist>
            </label>`
          : nothing
      }
      ${
        link
          ? html`<label class="field">
                <span>${link.label}</span>
                <input type="text" class="code" readonly name="link" .value=${link.value} />
              </label>
              <p class="small good" role="status">${this.copied}</p>`
          : nothing
      }
      ${this.error ? html`<p class="bad" role="alert">${this.error}</p>` : nothing}
      <div class="actions">
        ${
          link
            ? html`<button type="button" autofocus @click=${this.#copy}>${t("team.copy")}</button>`
            : html`<button
                type="button"
                class="quiet"
                aria-disabled=${this.busy}
                @click=${() => this.#close()}
              >
                ${t("word.cancel")}
              </button>`
        }
        <button class=${look} type="submit" ?autofocus=${!field && !link} aria-disabled=${this.busy}>
          ${question.yes}
        </button>
      </div>
    </form>`;
  }

  #close(): void {
    if (!this.busy) this.querySelector("dialog")?.close();
  }

  /** The browser returns the focus to what opened the dialog, unless that is gone. */
  #closed = async () => {
    this.question = null;
    await this.updateComplete;
    const { activeElement } = this.getRootNode() as ShadowRoot;
    const tab = this.closest<HTMLElement>("[role=tabpanel]");
    if (activeElement && activeElement !== tab) return;
    (tab?.querySelector<HTMLElement>(".team-name") ?? tab)?.focus();
  };

  #submit = async (event: Event) => {
    event.preventDefault();
    const { question } = this;
    const input = this.querySelector<HTMLInputElement>("input[name=text]");
    const text = input?.value.trim() ?? "";
    if (!question || this.busy) return;
    if (input && !text) return input.focus();
    Object.assign(this, { busy: true, error: "" });
    try {
      await question.run(text);
      this.busy = false;
      this.#close();
    } catch (error) {
      if (!(error instanceof OutdatedAnswer)) this.error = this.store.explain(error);
      await this.updateComplete;
      input?.focus();
    } finally {
      this.busy = false;
    }
  };

  #copy = async () => {
    const input = this.querySelector<HTMLInputElement>("input[name=link]");
    const { t } = this.store;
    input?.select();
    // Pages without TLS have no clipboard.
    await Promise.resolve(input?.value ?? "")
      .then((text) => navigator.clipboard.writeText(text))
      .then(
        () => (this.copied = t("team.copied")),
        () => (this.copied = t("team.not_copied")),
      );
  };
}
