/** Styles of the Usage tab, which the Team tab shares. */

import { css } from "lit";

export const usageStyles = css`
  .segments {
    display: inline-flex;
    justify-self: start;
    padding: 2px;
    border-radius: calc(var(--_radius) + 2px);
    background: var(--_raised);
  }
  .segments > button {
    min-block-size: 2rem;
    border-color: transparent;
    background: transparent;
    box-shadow: none;
    color: var(--_muted);
    font-size: 0.875rem;
  }
  .segments > button[aria-pressed="true"] {
    background: var(--_surface);
    color: var(--_text);
    box-shadow: var(--_shadow);
    border-color: var(--_line);
  }
  .figures {
    display: grid;
    gap: 0.75rem;
    grid-template-columns: repeat(auto-fit, minmax(min(100%, 9.75rem), 1fr));
  }
  .figures > .card {
    padding: 0.8rem 1rem;
  }
  .figure {
    font-size: 1.3rem;
    font-weight: 600;
    white-space: nowrap;
    letter-spacing: -0.01em;
    font-variant-numeric: tabular-nums;
  }
  .quotas {
    display: grid;
    gap: 0.75rem;
    grid-template-columns: repeat(auto-fill, minmax(min(100%, 24rem), 1fr));
  }
  meter {
    inline-size: 100%;
    block-size: 0.6rem;
  }
  .scroll.low {
    max-block-size: 22rem;
    overflow: auto;
  }
  .expander {
    min-block-size: 1.75rem;
    justify-content: start;
    gap: 0.35rem;
    padding: 0 0.25rem;
    margin-inline-start: -0.4rem;
    border: 0;
    background: none;
    box-shadow: none;
    font-weight: 400;
    white-space: nowrap;
  }
  .expander > .icon {
    transition: rotate 120ms;
  }
  .expander:dir(rtl) > .icon {
    rotate: 180deg;
  }
  .expander[aria-expanded="true"] > .icon {
    rotate: 90deg;
  }
  .attempts > td {
    background: var(--_raised);
    padding-inline-start: 2rem;
    overflow-wrap: anywhere;
  }
  .model-cell {
    display: flex;
    align-items: center;
    gap: 0.5rem;
    min-inline-size: 7rem;
    overflow-wrap: anywhere;
  }
  .alerts > ul {
    flex: 1 1 16rem;
    display: grid;
    gap: 0.35rem;
  }
  .alerts li,
  .tips li {
    display: flex;
    gap: 0.6rem;
    align-items: center;
  }
  .tips > ul {
    display: grid;
    gap: 0.5rem;
  }
  @container supa-llm (inline-size < 44rem) {
    .roomy {
      display: none;
    }
    .outcome .pill {
      padding: 0.2rem;
    }
    .outcome > span:not(.pill),
    .outcome .pill > span {
      position: absolute;
      inline-size: 1px;
      block-size: 1px;
      overflow: hidden;
      clip-path: inset(50%);
    }
    .figure {
      font-size: 1.1rem;
    }
    .expander {
      white-space: normal;
      text-align: start;
    }
    .model-cell {
      min-inline-size: 5rem;
    }
  }
`;
