/** The panel's icons, drawn on a grid of 16. */

import { html, svg, type TemplateResult } from "lit";

const ICONS = {
  check: svg`<circle cx="8" cy="8" r="6.25"/><path d="m5.3 8.2 1.9 1.9 3.6-4"/>`,
  cross: svg`<circle cx="8" cy="8" r="6.25"/><path d="m6 6 4 4m0-4-4 4"/>`,
  warning: svg`<path d="M8 2.3 14.3 13.2H1.7Z"/><path d="M8 6.6v3m0 1.9v.1"/>`,
  clock: svg`<circle cx="8" cy="8" r="6.25"/><path d="M8 4.6V8l2.2 1.6"/>`,
  dash: svg`<circle cx="8" cy="8" r="6.25"/><path d="M5.3 8h5.4"/>`,
  question: svg`<circle cx="8" cy="8" r="6.25"/><path d="M6.2 6.2a1.9 1.9 0 1 1 2.6 1.9c-.5.2-.8.5-.8 1m0 2v.1"/>`,
  coins: svg`<ellipse cx="8" cy="4.4" rx="5.3" ry="2.2"/><path d="M2.7 4.4v7.2c0 1.2 2.4 2.2 5.3 2.2s5.3-1 5.3-2.2V4.4M2.7 8c0 1.2 2.4 2.2 5.3 2.2s5.3-1 5.3-2.2"/>`,
  spinner: svg`<path d="M8 1.75A6.25 6.25 0 1 1 1.75 8"/>`,
  close: svg`<path d="m4 4 8 8m0-8-8 8"/>`,
  more: svg`<path d="M3.4 8h.1m4.5 0h.1m4.5 0h.1" stroke-width="2.4"/>`,
  plus: svg`<path d="M8 3v10M3 8h10"/>`,
  grip: svg`<path d="M6 4h.1M6 8h.1M6 12h.1m3.8-8h.1m-.1 4h.1m-.1 4h.1" stroke-width="2"/>`,
  up: svg`<path d="M8 13V3M4 7l4-4 4 4"/>`,
  down: svg`<path d="M8 3v10m4-4-4 4-4-4"/>`,
  top: svg`<path d="M3 2.5h10M8 13.5V6M4.5 9.2 8 5.7l3.5 3.5"/>`,
  chevron: svg`<path d="m6 4 4 4-4 4"/>`,
  external: svg`<path d="M9.5 2.5h4v4m0-4L7.6 8.4M12 9.5v3a1 1 0 0 1-1 1H3.5a1 1 0 0 1-1-1V5a1 1 0 0 1 1-1h3"/>`,
  key: svg`<circle cx="5.2" cy="10.8" r="2.9"/><path d="m7.3 8.7 6-6m-2.5 2.5 2 2"/>`,
  eye: svg`<path d="M1.5 8S4 3.6 8 3.6 14.5 8 14.5 8 12 12.4 8 12.4 1.5 8 1.5 8Z"/><circle cx="8" cy="8" r="1.9"/>`,
  swap: svg`<path d="M2.5 5.5h10m-2.5-3 3 3-3 3M13.5 11h-10"/>`,
  trash: svg`<path d="M2.5 4.2h11M6 4.2V2.5h4v1.7m2.2 0-.6 9.3H4.4l-.6-9.3"/>`,
  leave: svg`<path d="M6 2.5H3.5a1 1 0 0 0-1 1v9a1 1 0 0 0 1 1H6M10.5 5l3 3-3 3m3-3H6"/>`,
  pencil: svg`<path d="m10.3 3.2 2.5 2.5M3 13l.6-3.1 7.5-7.5a1.2 1.2 0 0 1 1.7 0l.8.8a1.2 1.2 0 0 1 0 1.7l-7.5 7.5Z"/>`,
  reset: svg`<path d="M3 3v3.5h3.5M3.2 6.3A5.4 5.4 0 1 1 2.7 9"/>`,
  providers: svg`<rect x="2" y="2.5" width="12" height="4.6" rx="1"/><rect x="2" y="8.9" width="12" height="4.6" rx="1"/><path d="M4.6 4.8h.1m-.1 6.4h.1" stroke-width="2"/>`,
  order: svg`<path d="M2.5 3.5h5M2.5 8h3.5m-3.5 4.5H5M11 2.8v10.4m-2.6-2.6L11 13.2l2.6-2.6"/>`,
  tasks: svg`<path d="m2.2 4 1.2 1.2 2-2.3M2.2 11l1.2 1.2 2-2.3M8 4.2h6M8 11.2h6"/>`,
  team: svg`<circle cx="6" cy="5.2" r="2.4"/><path d="M1.8 13.2c.2-2.6 1.9-4.2 4.2-4.2s4 1.6 4.2 4.2M10.4 3a2.4 2.4 0 0 1 0 4.4m1.3 2c1.5.6 2.4 1.9 2.5 3.8"/>`,
  usage: svg`<path d="M2 13.5h12M4 11V7.5M8 11V3M12 11V5.5"/>`,
  activity: svg`<path d="M1.5 8.5h3L6.4 3l3.2 10 1.9-4.5h3"/>`,
};

export type IconName = keyof typeof ICONS;

/** An icon. It means nothing to screen readers, so a text stands beside it. */
export function icon(name: IconName, more = ""): TemplateResult {
  return html`<svg class="icon ${more}" viewBox="0 0 16 16" aria-hidden="true">${ICONS[name]}</svg>`;
}

/** A state, as a pill with icon and text. */
export function pill(
  look: "good" | "warn" | "bad" | "muted",
  name: IconName,
  text: string,
  part = "",
): TemplateResult {
  return html`<span class="pill ${look}" part=${part || "pill"}
    >${icon(name, name === "spinner" ? "spin" : "")}<span>${text}</span></span
  >`;
}
