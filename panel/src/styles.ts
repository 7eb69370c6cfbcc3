/** Styles that all views share. docs/panel.md lists the custom properties and parts for themes. */

import { css } from "lit";

export const styles = css`
  :host {
    --_accent: var(--supa-llm-accent, light-dark(#0b6b4b, #4fd1a0));
    --_on-accent: var(--supa-llm-on-accent, light-dark(#ffffff, #06251a));
    --_text: var(--supa-llm-text, light-dark(#1b1f24, #e8eaed));
    --_muted: var(--supa-llm-muted, light-dark(#57606a, #a8b0b9));
    --_surface: var(--supa-llm-surface, light-dark(#ffffff, #16191d));
    --_raised: var(--supa-llm-raised, light-dark(#f4f6f8, #1f242a));
    --_line: var(--supa-llm-line, light-dark(#d0d7de, #3a424b));
    --_control-line: var(--supa-llm-control-line, light-dark(#7d8791, #7d8791));
    --_good: var(--supa-llm-good, light-dark(#0a6640, #5bd59a));
    --_warn: var(--supa-llm-warn, light-dark(#7a4d00, #f0b849));
    --_bad: var(--supa-llm-bad, light-dark(#b3261e, #ff8f87));
    --_radius: var(--supa-llm-radius, 8px);
    --_font: var(--supa-llm-font, system-ui, sans-serif);
    color-scheme: light dark;
    display: block;
    container-type: inline-size;
    background: var(--_surface);
    color: var(--_text);
    font: 400 1rem/1.5 var(--_font);
    text-align: start;
    overflow-wrap: anywhere;
  }
  :host([hidden]) {
    display: none;
  }
  :host([theme="light"]) {
    color-scheme: light;
  }
  :host([theme="dark"]) {
    color-scheme: dark;
  }
  * {
    box-sizing: border-box;
  }
  [hidden] {
    display: none !important;
  }
  h2,
  h3,
  p,
  ul,
  ol,
  dl,
  dd,
  fieldset {
    margin: 0;
    padding: 0;
    border: 0;
  }
  ul,
  ol {
    list-style: none;
  }
  h2 {
    font-size: 1.15rem;
    line-height: 1.3;
  }
  h3 {
    font-size: 1rem;
  }
  a {
    color: var(--_accent);
  }
  button,
  input,
  select {
    font: inherit;
    color: inherit;
    min-block-size: 2.5rem;
    max-inline-size: 100%;
    padding: 0.3rem 0.75rem;
    border: 1px solid var(--_control-line);
    border-radius: var(--_radius);
    background: var(--_surface);
  }
  input[type="checkbox"],
  input[type="radio"] {
    min-block-size: 0;
    inline-size: 1.15rem;
    block-size: 1.15rem;
    margin: 0;
    accent-color: var(--_accent);
  }
  button {
    cursor: pointer;
  }
  button:is(:disabled, [aria-disabled="true"]) {
    cursor: default;
    color: var(--_muted);
  }
  button.primary {
    background: var(--_accent);
    border-color: var(--_accent);
    color: var(--_on-accent);
  }
  button.quiet {
    border-color: transparent;
    background: transparent;
    color: var(--_accent);
  }
  button.danger {
    color: var(--_bad);
  }
  :focus-visible {
    outline: 2px solid var(--_accent);
    outline-offset: 2px;
  }
  .row {
    display: flex;
    flex-wrap: wrap;
    align-items: center;
    gap: 0.5rem 0.75rem;
  }
  .stack {
    display: grid;
    gap: 1rem;
    /* Otherwise a grid column is as wide as its longest word. */
    grid-template-columns: minmax(0, 1fr);
  }
  .tight {
    gap: 0.35rem;
  }
  .grow {
    flex: 1 1 10rem;
    min-inline-size: 0;
  }
  .card {
    border: 1px solid var(--_line);
    border-radius: var(--_radius);
    padding: 1rem;
  }
  .muted {
    color: var(--_muted);
  }
  .small {
    font-size: 0.875rem;
  }
  .good {
    color: var(--_good);
  }
  .warn {
    color: var(--_warn);
  }
  .bad {
    color: var(--_bad);
  }
  .code {
    font-family: ui-monospace, monospace;
    font-size: 0.925em;
  }
  label.field {
    display: grid;
    gap: 0.25rem;
    min-inline-size: 0;
  }
  label.check {
    display: flex;
    gap: 0.5rem;
    align-items: center;
  }
  .hidden {
    position: absolute;
    inline-size: 1px;
    block-size: 1px;
    overflow: hidden;
    clip-path: inset(50%);
    white-space: nowrap;
  }
  .frame {
    display: grid;
    grid-template-columns: minmax(0, 1fr);
    gap: 1rem;
    padding: 1rem;
    max-inline-size: 70rem;
    margin-inline: auto;
  }
  [role="tablist"] {
    display: flex;
    flex-wrap: wrap;
    gap: 0.25rem;
    border-block-end: 1px solid var(--_line);
  }
  [role="tab"] {
    border: 0;
    border-block-end: 3px solid transparent;
    border-radius: 0;
    background: transparent;
  }
  [role="tab"][aria-selected="true"] {
    border-block-end-color: var(--_accent);
    font-weight: 600;
  }
  .alert {
    border-inline-start: 4px solid var(--_accent);
    background: var(--_raised);
    padding: 0.6rem 0.9rem;
  }
  .alert.bad {
    border-inline-start-color: var(--_bad);
  }
  .alert.warn {
    border-inline-start-color: var(--_warn);
  }
  .save-bar {
    position: sticky;
    inset-block-end: 0;
    z-index: 2;
    background: var(--_raised);
    border: 1px solid var(--_line);
    border-radius: var(--_radius);
    padding: 0.6rem 0.9rem;
  }
  .scroll {
    overflow-x: auto;
  }
  table {
    border-collapse: collapse;
    inline-size: 100%;
    font-variant-numeric: tabular-nums;
  }
  th,
  td {
    padding: 0.4rem 0.6rem;
    border-block-end: 1px solid var(--_line);
    text-align: start;
    vertical-align: top;
    overflow-wrap: normal;
  }
  th.number,
  td.number {
    text-align: end;
    white-space: nowrap;
  }
`;
