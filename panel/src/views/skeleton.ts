/** Grey shapes of the content that is loading. */

import { css, html, type TemplateResult } from "lit";
import type { Store } from "../store.js";

export const skeletonStyles = css`
  .bone-tabs {
    block-size: 2.25rem;
    max-inline-size: 26rem;
  }
  .bone-mark {
    inline-size: 2rem;
    block-size: 2rem;
  }
  .bone-name {
    inline-size: 7rem;
  }
  .bone-short {
    inline-size: 60%;
  }
  .bone-button {
    inline-size: 6rem;
    block-size: 2.25rem;
  }
  .bone-line {
    block-size: 1.25rem;
  }
  .bone-figure {
    block-size: 3rem;
  }
  .bone-chart {
    block-size: 13rem;
  }
`;

const times = (count: number) => Array.from({ length: count });

/** Cards, as in the Providers tab. */
export function cardSkeleton(count: number): TemplateResult {
  return html`<ul class="cards" aria-hidden="true">
    ${times(count).map(
      () =>
        html`<li class="card stack">
          <div class="row"><span class="bone bone-mark"></span><span class="bone bone-name"></span></div>
          <span class="bone"></span><span class="bone bone-short"></span
          ><span class="bone bone-button"></span>
        </li>`,
    )}
  </ul>`;
}

/** Lines of a list or table. */
export function rowSkeleton(count: number): TemplateResult {
  return html`<div class="card stack" aria-hidden="true">
    ${times(count).map(() => html`<span class="bone bone-line"></span>`)}
  </div>`;
}

/** Figures in a row, and a chart. */
export function figureSkeleton(): TemplateResult {
  return html`<div class="stack" aria-hidden="true">
    <div class="figures">
      ${times(4).map(() => html`<div class="card"><span class="bone bone-figure"></span></div>`)}
    </div>
    <div class="card"><span class="bone bone-chart"></span></div>
  </div>`;
}

/** What screen readers hear while a skeleton is shown. */
export function loadingWith({ t }: Pick<Store, "t">, skeleton: TemplateResult): TemplateResult {
  return html`<p class="hidden" role="status">${t("state.loading")}</p>
    ${skeleton}`;
}
