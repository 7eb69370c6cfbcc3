/** Styles of the Activity tab. */

import { css } from "lit";

export const activityStyles = css`
  .event {
    display: flex;
    align-items: center;
    gap: 0.6rem;
    min-inline-size: 12rem;
    overflow-wrap: anywhere;
  }
  .when {
    min-inline-size: 5.5rem;
  }
  @container supa-llm (inline-size < 34rem) {
    .event {
      min-inline-size: 7rem;
    }
    .who {
      min-inline-size: 5rem;
      overflow-wrap: anywhere;
    }
    .event > .icon {
      display: none;
    }
  }
  .event > .icon {
    color: var(--_muted);
  }
`;
