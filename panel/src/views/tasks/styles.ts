/** Styles of the Tasks tab, which the Team tab shares. */

import { css } from "lit";

export const tasksStyles = css`
  supa-llm-tasks {
    display: block;
  }
  .task-list {
    padding: 0;
  }
  .task-list > li + li {
    border-block-start: 1px solid var(--_line);
  }
  .task {
    display: grid;
    grid-template-columns: minmax(0, 1fr);
    gap: 0.9rem;
    padding: 0.9rem 1rem;
  }
  .task-head {
    display: flex;
    flex-wrap: wrap;
    align-items: center;
    justify-content: space-between;
    gap: 0.5rem 1rem;
  }
  .task-head > .grow {
    flex-basis: 14rem;
  }
  .task-form {
    display: grid;
    grid-template-columns: minmax(0, 1fr);
    gap: 0.9rem;
    padding: 0.9rem;
    border-radius: var(--_radius);
    background: var(--_raised);
  }
  .task-choice {
    display: grid;
    grid-template-columns: minmax(0, 1fr) minmax(0, 1.4fr);
    gap: 0.5rem 0.75rem;
    align-items: start;
  }
  .task-fallback {
    grid-template-columns: 1rem minmax(0, 1fr) minmax(0, 1.4fr) 2.25rem;
  }
  .task-fallback > .preview-place {
    line-height: 2.25rem;
  }
  .task-add {
    display: flex;
    flex-wrap: wrap;
    gap: 0.5rem;
    align-items: end;
    max-inline-size: 30rem;
  }
  @container supa-llm (inline-size < 34rem) {
    .task-choice {
      grid-template-columns: minmax(0, 1fr);
    }
    .task-fallback {
      grid-template-columns: 1rem minmax(0, 1fr) 2.75rem;
    }
    .task-fallback > supa-llm-combobox {
      grid-area: 2 / 2;
    }
    .task-fallback > supa-llm-menu {
      grid-area: 1 / 3;
    }
  }
`;
