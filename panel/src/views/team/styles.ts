/** Styles of the Team tab. */

import { css } from "lit";

export const teamStyles = css`
  supa-llm-team,
  supa-llm-team-members,
  supa-llm-team-invitations,
  supa-llm-team-keys,
  supa-llm-team-policy,
  supa-llm-team-usage,
  supa-llm-team-activity,
  supa-llm-team-spending-limit {
    display: block;
  }
  .team-head {
    display: flex;
    align-items: center;
    justify-content: space-between;
    gap: 0.75rem;
  }
  .team-head > .row {
    min-inline-size: 0;
  }
  .team-name {
    font-size: 1.15rem;
    font-weight: 600;
  }
  select.team-name {
    font-size: 1rem;
  }
  .team-sections {
    flex-wrap: wrap;
  }
  .team-invitation {
    display: flex;
    flex-wrap: wrap;
    align-items: center;
    gap: 0.75rem 1rem;
    border-color: color-mix(in srgb, var(--_accent) 45%, var(--_line));
    background: color-mix(in srgb, var(--_accent) 5%, var(--_surface));
  }
  .team-invitation > .icon {
    inline-size: 1.5rem;
    block-size: 1.5rem;
    color: var(--_accent);
  }
  .team-empty-actions {
    justify-content: center;
    margin-block-start: 0.5rem;
  }
  .team-list {
    padding: 0;
  }
  .team-row {
    display: grid;
    grid-template-columns: minmax(0, 1fr) auto 8rem 2.25rem;
    align-items: center;
    gap: 0.15rem 1rem;
    min-block-size: 3.4rem;
    padding: 0.5rem 0.6rem 0.5rem 1rem;
  }
  .team-row > .pill {
    justify-self: start;
  }
  .team-list > li + li,
  .team-open > li {
    border-block-start: 1px solid var(--_line);
  }
  .team-who {
    display: grid;
    min-inline-size: 0;
  }
  .team-open > .team-row {
    grid-template-columns: minmax(0, 1fr) auto;
    padding-inline: 0;
  }
  .team-open > .team-row:last-child {
    padding-block-end: 0;
  }
  .team-invite {
    display: grid;
    grid-template-columns: minmax(0, 1fr) minmax(7rem, auto) minmax(7rem, auto) auto;
    gap: 0.75rem;
    align-items: end;
  }
  .team-provider {
    grid-template-columns: minmax(9rem, 1fr) minmax(0, 1.4fr) 3rem 2.25rem;
    padding-inline-start: 1rem;
  }
  .team-provider:first-child {
    border-block-start: 0;
    border-start-start-radius: var(--_radius);
    border-start-end-radius: var(--_radius);
  }
  .team-provider:last-child {
    border-radius: 0;
  }
  supa-llm-team-spending-limit + supa-llm-team-spending-limit .setting {
    border-block-start: 1px solid var(--_line);
  }
  .team-only {
    padding: 0.9rem 1rem;
    border-block-start: 1px solid var(--_line);
  }
  .team-only:first-of-type {
    border-block-start: 1px solid var(--_line);
  }
  .team-cell {
    display: block;
    min-inline-size: 7rem;
    overflow-wrap: anywhere;
  }
  .team-provider > .pill {
    grid-column: 3 / -1;
    justify-self: end;
    margin-inline-end: 0.4rem;
  }
  .team-chips {
    display: flex;
    flex-wrap: wrap;
    align-items: center;
    gap: 0.35rem;
  }
  .team-chips > .pill {
    padding-inline: 0.55rem 0.2rem;
  }
  .team-chips button.icon-only {
    min-inline-size: 1.5rem;
    min-block-size: 1.5rem;
  }
  .dock.team-above {
    inset-block-end: 4.5rem;
  }
  @container supa-llm (inline-size < 40rem) {
    .team-row {
      grid-template-columns: minmax(0, 1fr) auto 2.25rem;
    }
    .team-row > .team-when {
      grid-area: 2 / 1 / auto / 3;
    }
    .team-invite {
      grid-template-columns: repeat(2, minmax(0, 1fr));
    }
    .team-invite > :is(:first-child, button) {
      grid-column: 1 / -1;
    }
    .team-provider {
      grid-template-columns: minmax(0, 1fr) auto 2.25rem;
    }
    .team-provider > .team-models {
      grid-area: 2 / 1 / auto / 3;
    }
    .team-provider > supa-llm-menu {
      grid-area: 1 / 3;
    }
    .team-sections {
      display: flex;
      justify-self: stretch;
    }
    .team-sections > button {
      flex: 1 1 auto;
      padding-inline: 0.3rem;
      font-size: 0.8125rem;
    }
  }
`;
