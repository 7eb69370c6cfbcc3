/** The options of a select for a provider: first those that can serve, then those without a key. */

import { html, nothing, type TemplateResult } from "lit";
import type { Store } from "../store.js";

/** What can be chosen from: by default, what the user's keys and order offer. */
export type ProviderChoices = Pick<Store, "t" | "ordered" | "usable" | "choicesWith">;

export function providerOptions(store: ProviderChoices, chosen: string | null): TemplateResult {
  const choices = chosen === null ? store.ordered : store.choicesWith(chosen);
  const [usable, others] = [true, false].map((wanted) =>
    choices.filter(({ id }) => store.usable(id) === wanted),
  );
  const option = ({ id, name }: { id: string; name: string }) =>
    html`<option value=${id} .selected=${id === chosen}>${name}</option>`;
  return html`${usable!.map(option)}
  ${
    others!.length
      ? html`<optgroup label=${store.t("providers.state.none")}>${others!.map(option)}</optgroup>`
      : nothing
  }`;
}
