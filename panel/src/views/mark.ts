/** A provider's mark, or its initial. */

import { html, LitElement } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import { unsafeSVG } from "lit/directives/unsafe-svg.js";

@customElement("supa-llm-mark")
export class ProviderMark extends LitElement {
  @property() provider = "";
  @property() name = "";
  @property({ type: Boolean }) small = false;
  @state() private markOf: ((provider: string) => string | undefined) | null = null;

  override createRenderRoot() {
    return this;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    // Without the file, the initial stays.
    import("./marks.js").then(
      ({ markOf }) => (this.markOf = markOf),
      () => {},
    );
  }

  override render() {
    // From the package of marks, never from the database.
    const drawing = this.markOf?.(this.provider);
    return html`<span class="mark ${this.small ? "small" : ""}" part="mark" aria-hidden="true"
      >${
        drawing
          ? html`<svg viewBox="0 0 24 24" fill-rule="evenodd">${unsafeSVG(drawing)}</svg>`
          : ([...this.name][0] ?? "?").toUpperCase()
      }</span
    >`;
  }
}
