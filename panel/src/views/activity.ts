import { css, html } from "lit";
import { customElement } from "lit/decorators.js";
import { View } from "./view.js";

export const activityStyles = css``;

@customElement("supa-llm-activity")
export class ActivityView extends View {
  override render() {
    return html``;
  }
}
