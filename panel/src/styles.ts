/** Styles that all views share. docs/panel.md lists the custom properties and parts for themes. */

import { css } from "lit";

const base = css`
  :host {
    --_accent: var(--supa-llm-accent, light-dark(#0b6b4b, #4fd1a0));
    --_on-accent: var(--supa-llm-on-accent, light-dark(#ffffff, #06251a));
    --_text: var(--supa-llm-text, light-dark(#16191d, #eceef1));
    --_muted: var(--supa-llm-muted, light-dark(#59626d, #a3abb5));
    --_surface: var(--supa-llm-surface, light-dark(#ffffff, #121417));
    --_raised: var(--supa-llm-raised, light-dark(#f5f6f8, #1c2025));
    --_line: var(--supa-llm-line, light-dark(#e2e5e9, #2d333a));
    --_control-line: var(--supa-llm-control-line, light-dark(#858e98, #737d88));
    --_good: var(--supa-llm-good, light-dark(#0a6640, #5bd59a));
    --_warn: var(--supa-llm-warn, light-dark(#7a4d00, #f0b849));
    --_bad: var(--supa-llm-bad, light-dark(#b3261e, #ff8f87));
    --_radius: var(--supa-llm-radius, 8px);
    --_font: var(--supa-llm-font, system-ui, sans-serif);
    --_shadow: 0 1px 2px light-dark(#0000000a, #00000040);
    --_float: 0 8px 28px light-dark(#00000024, #000000a0), 0 1px 3px light-dark(#0000001a, #00000080);
    color-scheme: light dark;
    display: block;
    container: supa-llm / inline-size;
    background: var(--_surface);
    color: var(--_text);
    font: 400 0.9375rem/1.5 var(--_font);
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
    font-size: 1rem;
    font-weight: 600;
    line-height: 1.35;
  }
  h3 {
    font-size: 0.9375rem;
    font-weight: 600;
  }
  a {
    color: var(--_accent);
    text-underline-offset: 0.15em;
  }
  :focus-visible {
    outline: 2px solid var(--_accent);
    outline-offset: 2px;
  }
  /* A focused control is scrolled clear of the save bar. */
  :is(button, input, select, summary, a, [tabindex]) {
    scroll-margin-block: 1rem 6rem;
  }
`;

const controls = css`
  button,
  input,
  select,
  a.button {
    font: inherit;
    color: inherit;
    min-block-size: 2.25rem;
    max-inline-size: 100%;
    padding: 0.25rem 0.75rem;
    border: 1px solid var(--_control-line);
    border-radius: var(--_radius);
    background: var(--_surface);
  }
  select {
    appearance: none;
    padding-inline-end: 1.9rem;
    /* A chevron; an image would need a wider content security policy. */
    background-image:
      linear-gradient(45deg, transparent 50%, var(--_muted) 50%),
      linear-gradient(135deg, var(--_muted) 50%, transparent 50%);
    background-position:
      right 17px top calc(50% + 1px),
      right 12px top calc(50% + 1px);
    background-size: 5px 5px;
    background-repeat: no-repeat;
    text-overflow: ellipsis;
  }
  select:dir(rtl) {
    background-position:
      left 12px top calc(50% + 1px),
      left 17px top calc(50% + 1px);
  }
  input::placeholder {
    color: var(--_muted);
    opacity: 1;
  }
  button,
  a.button {
    display: inline-flex;
    align-items: center;
    justify-content: center;
    gap: 0.4rem;
    font-weight: 500;
    cursor: pointer;
    border-color: var(--_line);
    box-shadow: var(--_shadow);
    text-decoration: none;
  }
  button:hover:not(:disabled, [aria-disabled="true"]),
  a.button:hover {
    background: var(--_raised);
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
  button.primary:hover:not(:disabled, [aria-disabled="true"]) {
    background: color-mix(in srgb, var(--_accent) 88%, var(--_text));
  }
  button.primary:is(:disabled, [aria-disabled="true"]) {
    background: var(--_raised);
    border-color: var(--_line);
    color: var(--_muted);
  }
  button.quiet,
  button.icon-only {
    border-color: transparent;
    background: transparent;
    box-shadow: none;
  }
  button.icon-only {
    min-inline-size: 2.25rem;
    padding: 0;
    color: var(--_muted);
  }
  button.icon-only:hover:not(:disabled) {
    color: var(--_text);
  }
  button.danger {
    color: var(--_bad);
  }
  button.link {
    min-block-size: 1.5rem;
    padding: 0;
    border: 0;
    border-radius: 2px;
    background: none;
    box-shadow: none;
    color: var(--_accent);
    font-size: 0.8125rem;
    text-decoration: underline;
    text-underline-offset: 0.15em;
    text-align: start;
  }
  button.link:hover:not(:disabled) {
    background: none;
    text-decoration-thickness: 2px;
  }
  input[type="checkbox"] {
    flex: none;
    appearance: none;
    position: relative;
    min-block-size: 0;
    inline-size: 1.15rem;
    block-size: 1.15rem;
    margin: 0;
    padding: 0;
    border-radius: 4px;
    cursor: pointer;
  }
  input[type="checkbox"]:checked {
    background: var(--_accent);
    border-color: var(--_accent);
  }
  input[type="checkbox"]:not([role]):checked::after {
    content: "";
    position: absolute;
    inset-inline-start: 0.34rem;
    inset-block-start: 0.1rem;
    inline-size: 0.36rem;
    block-size: 0.66rem;
    border: solid var(--_on-accent);
    border-width: 0 2px 2px 0;
    transform: rotate(45deg);
  }
  input[role="switch"] {
    inline-size: 2.25rem;
    block-size: 1.25rem;
    border-radius: 1rem;
    transition: background-color 120ms;
  }
  input[role="switch"]::before {
    content: "";
    position: absolute;
    inset-block: 2px;
    inset-inline-start: 2px;
    aspect-ratio: 1;
    border-radius: 50%;
    background: var(--_control-line);
    transition: inset-inline-start 120ms;
  }
  input[role="switch"]:checked::before {
    inset-inline-start: calc(100% - 1.25rem + 4px);
    background: var(--_on-accent);
  }
  @media (forced-colors: active) {
    input[type="checkbox"] {
      appearance: auto;
    }
  }
  @media (pointer: coarse) {
    button,
    input,
    select,
    a.button {
      min-block-size: 2.75rem;
    }
    button.icon-only {
      min-inline-size: 2.75rem;
    }
  }
  .field {
    display: grid;
    grid-template-columns: minmax(0, 1fr);
    gap: 0.3rem;
    min-inline-size: 0;
  }
  .field > span:first-child {
    font-size: 0.8125rem;
    font-weight: 500;
  }
  label.check {
    display: flex;
    gap: 0.5rem;
    align-items: center;
  }
`;

const layout = css`
  .frame {
    display: grid;
    grid-template-columns: minmax(0, 1fr);
    gap: 1.25rem;
    padding: 1rem;
    max-inline-size: 68rem;
    margin-inline: auto;
  }
  .row {
    display: flex;
    flex-wrap: wrap;
    align-items: center;
    gap: 0.5rem 0.75rem;
  }
  .between {
    justify-content: space-between;
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
  .sections {
    gap: 2rem;
  }
  .sections > .tight {
    gap: 0.75rem;
  }
  .grow {
    flex: 1 1 10rem;
    min-inline-size: 0;
  }
  .card {
    border: 1px solid var(--_line);
    border-radius: calc(var(--_radius) + 2px);
    padding: 1rem;
    box-shadow: var(--_shadow);
  }
  .section-head {
    display: grid;
    gap: 0.15rem;
    max-inline-size: 44rem;
  }
  /* A setting: its name and explanation, and its control at the end of the line. */
  .setting {
    display: grid;
    grid-template-columns: minmax(0, 1fr) minmax(0, 16rem);
    gap: 0.25rem 1.5rem;
    align-items: center;
    padding-block: 0.9rem;
    border-block-start: 1px solid var(--_line);
  }
  .setting:first-of-type {
    border-block-start: 0;
  }
  .setting > :last-child {
    justify-self: end;
    min-inline-size: 0;
  }
  .setting.switch {
    grid-template-columns: minmax(0, 1fr) auto;
  }
  .setting-name {
    font-weight: 500;
  }
  .settings {
    padding-block: 0.1rem;
  }
  .wide {
    inline-size: 100%;
  }
  @container supa-llm (inline-size < 34rem) {
    .frame {
      padding-inline: 0.75rem;
    }
    .setting:not(.switch) {
      grid-template-columns: minmax(0, 1fr);
    }
    .setting:not(.switch) > :last-child {
      justify-self: stretch;
    }
  }
  .muted {
    color: var(--_muted);
  }
  .small {
    font-size: 0.8125rem;
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
  .hidden {
    position: absolute;
    inline-size: 1px;
    block-size: 1px;
    overflow: hidden;
    clip-path: inset(50%);
    white-space: nowrap;
  }
  .icon {
    flex: none;
    inline-size: 1rem;
    block-size: 1rem;
    fill: none;
    stroke: currentColor;
    stroke-width: 1.5;
    stroke-linecap: round;
    stroke-linejoin: round;
  }
  .spin {
    animation: spin 1s linear infinite;
  }
  @keyframes spin {
    to {
      transform: rotate(1turn);
    }
  }
`;

const pieces = css`
  [role="tablist"] {
    display: flex;
    gap: 0.25rem;
    /* Room for the focus ring, which the scrolling would cut off. */
    padding: 4px 4px 0;
    margin: -4px -4px 0;
    overflow-x: auto;
    scrollbar-width: none;
    box-shadow: inset 0 -1px var(--_line);
  }
  [role="tab"] {
    flex: none;
    border: 0;
    border-block-end: 2px solid transparent;
    border-radius: 0;
    background: transparent;
    box-shadow: none;
    color: var(--_muted);
    white-space: nowrap;
  }
  [role="tab"]:hover:not(:disabled) {
    background: transparent;
    color: var(--_text);
  }
  [role="tab"][aria-selected="true"] {
    border-block-end-color: var(--_accent);
    color: var(--_text);
  }
  [role="tabpanel"]:focus-visible {
    outline-offset: 6px;
    border-radius: var(--_radius);
  }
  .badge {
    display: inline-grid;
    place-items: center;
    min-inline-size: 1.15rem;
    block-size: 1.15rem;
    padding-inline: 0.3rem;
    border-radius: 1rem;
    background: var(--_accent);
    color: var(--_on-accent);
    font-size: 0.6875rem;
  }
  @container supa-llm (inline-size < 34rem) {
    [role="tablist"] {
      display: grid;
      grid-auto-flow: column;
      /* Wider names get more room, so that all of them fit on a phone. */
      grid-auto-columns: auto;
      gap: 0;
      overflow: visible;
    }
    [role="tab"] {
      display: grid;
      justify-items: center;
      gap: 0.1rem;
      position: relative;
      padding: 0.35rem 0;
      font-size: 0.6875rem;
      min-inline-size: 0;
      overflow: hidden;
    }
    [role="tab"] > span {
      max-inline-size: 100%;
      overflow: hidden;
      text-overflow: ellipsis;
    }
    [role="tab"] > .badge {
      position: absolute;
      inset-block-start: 0;
      inset-inline-start: calc(50% + 0.3rem);
    }
    [role="tab"] .icon {
      inline-size: 1.2rem;
      block-size: 1.2rem;
    }
  }
  .pill {
    display: inline-flex;
    overflow-wrap: break-word;
    align-items: center;
    gap: 0.3rem;
    padding: 0.1rem 0.55rem 0.1rem 0.4rem;
    border-radius: 1rem;
    font-size: 0.8125rem;
    font-weight: 500;
    line-height: 1.4;
    color: var(--_muted);
    background: var(--_raised);
  }
  .pill .icon {
    inline-size: 0.875rem;
    block-size: 0.875rem;
  }
  .pill.good,
  .pill.warn,
  .pill.bad {
    background: color-mix(in srgb, currentColor 9%, var(--_surface));
  }
  .pill.good {
    color: var(--_good);
  }
  .pill.warn {
    color: var(--_warn);
  }
  .pill.bad {
    color: var(--_bad);
  }
  .mark {
    flex: none;
    inline-size: 2rem;
    block-size: 2rem;
    border-radius: var(--_radius);
    display: grid;
    place-items: center;
    background: var(--_raised);
    border: 1px solid var(--_line);
    font-weight: 600;
  }
  .mark svg {
    inline-size: 62%;
    block-size: 62%;
    fill: currentColor;
  }
  .mark.small {
    inline-size: 1.4rem;
    block-size: 1.4rem;
    border-radius: 5px;
    font-size: 0.75rem;
  }
  .alert {
    display: flex;
    flex-wrap: wrap;
    align-items: center;
    gap: 0.5rem 0.75rem;
    border: 1px solid var(--_line);
    border-radius: var(--_radius);
    background: var(--_raised);
    padding: 0.6rem 0.9rem;
  }
  .alert.bad,
  .alert.warn {
    border-color: color-mix(in srgb, currentColor 35%, transparent);
    background: color-mix(in srgb, currentColor 6%, var(--_surface));
  }
  .empty {
    display: grid;
    justify-items: center;
    gap: 0.5rem;
    padding: 2.5rem 1rem;
    text-align: center;
    border: 1px dashed var(--_control-line);
    border-radius: calc(var(--_radius) + 2px);
  }
  .empty > p {
    max-inline-size: 32rem;
    color: var(--_muted);
  }
  .empty > .icon {
    inline-size: 1.75rem;
    block-size: 1.75rem;
    color: var(--_muted);
  }
  .empty > :is(button, .button) {
    margin-block-start: 0.5rem;
  }
  .bone {
    display: block;
    block-size: 1em;
    border-radius: 5px;
    background: var(--_raised);
    animation: breathe 1.4s ease-in-out infinite alternate;
  }
  @keyframes breathe {
    to {
      opacity: 0.45;
    }
  }
  @media (prefers-reduced-motion: reduce) {
    * {
      animation: none !important;
      transition: none !important;
    }
  }
  supa-llm-menu {
    position: relative;
    display: inline-block;
  }
  .menu,
  .options {
    position: absolute;
    z-index: 5;
    padding: 0.25rem;
    background: var(--_surface);
    border: 1px solid var(--_line);
    border-radius: var(--_radius);
    box-shadow: var(--_float);
  }
  .menu {
    inset-inline-end: 0;
    inset-block-start: calc(100% + 4px);
    min-inline-size: 11rem;
    inline-size: max-content;
    max-inline-size: 17rem;
  }
  .menu.up,
  .options.up {
    inset-block: auto calc(100% + 4px);
  }
  .menu [role="menuitem"] {
    display: flex;
    inline-size: 100%;
    justify-content: start;
    gap: 0.6rem;
    padding: 0.3rem 0.6rem;
    border: 0;
    border-radius: calc(var(--_radius) - 3px);
    background: transparent;
    box-shadow: none;
    font-weight: 400;
    text-align: start;
  }
  .menu [role="menuitem"]:is(:hover, :focus-visible):not([aria-disabled="true"]) {
    background: var(--_raised);
    outline-offset: -2px;
  }
  dialog {
    inline-size: min(28rem, calc(100% - 2rem));
    padding: 1.25rem;
    border: 1px solid var(--_line);
    border-radius: calc(var(--_radius) + 4px);
    background: var(--_surface);
    color: var(--_text);
    box-shadow: var(--_float);
  }
  dialog::backdrop {
    background: #0b0d1066;
  }
  dialog .actions {
    display: flex;
    flex-wrap: wrap;
    justify-content: end;
    gap: 0.5rem;
    margin-block-start: 0.5rem;
  }
  @media (width < 34rem) {
    dialog {
      inline-size: 100%;
      max-inline-size: 100%;
      margin-block-end: 0;
      border-end-start-radius: 0;
      border-end-end-radius: 0;
    }
  }
  /* The save bar and the toasts above it. */
  .dock {
    position: sticky;
    inset-block-end: 0;
    z-index: 4;
    display: grid;
    justify-items: center;
    pointer-events: none;
  }
  .dock > * {
    pointer-events: auto;
  }
  .save-bar {
    display: flex;
    align-items: center;
    gap: 0.5rem;
    inline-size: min(100%, 34rem);
    margin-block-end: 0.75rem;
    padding: 0.5rem 0.5rem 0.5rem 1rem;
    background: var(--_surface);
    border: 1px solid var(--_line);
    border-radius: calc(var(--_radius) + 4px);
    box-shadow: var(--_float);
  }
  .save-bar > span {
    flex: 1;
    min-inline-size: 0;
    font-weight: 500;
  }
  /* A popover, so that the toasts are in the corner of the window, however long the panel is. */
  .toasts {
    position: fixed;
    inset: auto;
    inset-block-end: 1rem;
    inset-inline-end: 1rem;
    inline-size: fit-content;
    max-inline-size: min(100% - 1.5rem, 26rem);
    margin: 0;
    padding: 0;
    border: 0;
    display: grid;
    gap: 0.5rem;
    justify-items: end;
    overflow: visible;
    background: transparent;
    color: inherit;
    pointer-events: none;
  }
  .toasts.above {
    inset-block-end: 5rem;
  }
  @media (width < 34rem) {
    .toasts {
      inset-inline: 0;
      margin-inline: auto;
      justify-items: center;
    }
  }
  .toast > span:first-child {
    display: grid;
  }
  .toast {
    display: flex;
    align-items: center;
    gap: 0.6rem;
    padding: 0.35rem 0.35rem 0.35rem 0.9rem;
    background: var(--_surface);
    border: 1px solid var(--_line);
    border-radius: calc(var(--_radius) + 4px);
    box-shadow: var(--_float);
    cursor: pointer;
    pointer-events: auto;
    animation: rise 160ms ease-out;
  }
  @keyframes rise {
    from {
      opacity: 0;
      transform: translateY(6px);
    }
  }
`;

const tables = css`
  .scroll {
    overflow-x: auto;
  }
  table {
    border-collapse: collapse;
    inline-size: 100%;
    font-size: 0.875rem;
    font-variant-numeric: tabular-nums;
  }
  th,
  td {
    padding: 0.55rem 0.75rem;
    border-block-end: 1px solid var(--_line);
    text-align: start;
    vertical-align: middle;
    overflow-wrap: normal;
  }
  thead th {
    font-size: 0.8125rem;
    font-weight: 500;
    color: var(--_muted);
    background: var(--_raised);
    white-space: nowrap;
  }
  tbody tr:last-child > td {
    border-block-end: 0;
  }
  th.number,
  td.number {
    text-align: end;
    white-space: nowrap;
  }
  .table-card {
    padding: 0;
    overflow: hidden;
  }
  .table-foot {
    display: flex;
    flex-wrap: wrap;
    align-items: center;
    justify-content: space-between;
    gap: 0.5rem;
    padding: 0.5rem 0.75rem;
    border-block-start: 1px solid var(--_line);
  }
  .table-none {
    display: grid;
    justify-items: center;
    gap: 0.75rem;
    padding: 2rem 1rem;
  }
  .filters {
    display: flex;
    flex-wrap: wrap;
    gap: 0.5rem;
  }
  details > summary {
    cursor: pointer;
    min-block-size: 1.75rem;
  }
  @container supa-llm (inline-size < 44rem) {
    th,
    td {
      padding-inline: 0.5rem;
    }
    .filters {
      inline-size: 100%;
    }
    .filters > select {
      flex: 1 1 6rem;
      min-inline-size: 0;
    }
  }
`;

export const styles = [base, controls, layout, pieces, tables];
