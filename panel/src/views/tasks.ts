import { css, html } from "lit";
import { customElement } from "lit/decorators.js";
import { View } from "./view.js";

export const tasksStyles = css``;

@customElement("supa-llm-tasks")
export class TasksView extends View {
  override render() {
    return html``;
  }
}
