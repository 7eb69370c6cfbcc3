import { css, html } from "lit";
import { customElement } from "lit/decorators.js";
import { View } from "./view.js";

export const providersStyles = css``;

@customElement("supa-llm-providers")
export class ProvidersView extends View {
  override render() {
    return html``;
  }
}
