import { css, html } from "lit";
import { customElement } from "lit/decorators.js";
import { View } from "./view.js";

export const orderStyles = css``;

@customElement("supa-llm-order")
export class OrderView extends View {
  override render() {
    return html``;
  }
}
