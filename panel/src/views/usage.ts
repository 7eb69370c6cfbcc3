import { css, html } from "lit";
import { customElement } from "lit/decorators.js";
import { View } from "./view.js";

export const usageStyles = css``;

@customElement("supa-llm-usage")
export class UsageView extends View {
  override render() {
    return html``;
  }
}
