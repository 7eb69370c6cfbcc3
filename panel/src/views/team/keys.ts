/** The keys of a team: a card per provider. Members see the masked keys; nobody sees a key itself. */

import { html, nothing, type TemplateResult } from "lit";
import { customElement } from "lit/decorators.js";
import { repeat } from "lit/directives/repeat.js";
import type { Key, Provider } from "../../types.js";
import { icon } from "../icons.js";
import { Loader } from "../loader.js";
import "../providers/key-card.js";
import type { KeyHolder } from "../providers/key-card.js";
import { cardSkeleton } from "../skeleton.js";
import { manages } from "./roles.js";
import { TeamSection } from "./section.js";

@customElement("supa-llm-team-keys")
export class TeamKeys extends TeamSection {
  #keys = new Loader<Map<string, Key>>(() => this.requestUpdate());

  protected override load = () => void this.#load();

  #load = (): Promise<void> =>
    this.#keys.load(
      async () => new Map((await this.teams.keys(this.team.id)).map((key) => [key.provider, key])),
    );

  get #holder(): KeyHolder {
    const { teams } = this;
    const { id } = this.team;
    const keys = this.#keys.value ?? new Map<string, Key>();
    const put = (provider: string, key: Key | null) => {
      const changed = new Map(this.#keys.value);
      if (key) changed.set(provider, key);
      else changed.delete(provider);
      this.#keys.value = changed;
      this.requestUpdate();
    };
    return {
      keys,
      editable: manages(this.team.role),
      addHint: "team.keys.add_hint",
      input: "team.keys.input",
      set: (provider, key) => teams.setKey(id, provider, key),
      remove: (provider) => teams.removeKey(id, provider),
      check: (provider) => teams.checkKey(id, provider),
      checked: (key) => put(key.provider, key),
      changed: (provider, key) => {
        put(provider, key);
        // The key may serve the user's own requests.
        this.store.teamChanged();
      },
    };
  }

  override render() {
    const { store, team } = this;
    const { t } = store;
    const keys = this.#keys.value;
    return html`<section class="stack" aria-labelledby="team-keys-title">
      <div class="section-head">
        <h2 id="team-keys-title">${t("team.keys")}</h2>
        <p class="muted small">${t(manages(team.role) ? "team.keys.about" : "team.keys.about_member")}</p>
      </div>
      ${this.#keys.state(store, () => void this.#load(), cardSkeleton(3))}
      ${keys ? this.#cards(this.#holder) : nothing}
    </section>`;
  }

  #cards(holder: KeyHolder): TemplateResult {
    const { store } = this;
    const { providers, disabledProviders } = store.loaded;
    const off = disabledProviders.filter(({ id }) => holder.keys.has(id));
    const shown = [...providers, ...off].filter(({ id }) => holder.editable || holder.keys.has(id));
    if (!shown.length)
      return html`<div class="empty" part="empty">
        ${icon("key")}
        <p>${store.t("team.keys.none")}</p>
      </div>`;
    return html`<ul class="cards">
      ${repeat(
        shown,
        ({ id }: Provider) => id,
        (provider: Provider) =>
          html`<li>
            <supa-llm-key-card .store=${store} .provider=${provider} .team=${holder}></supa-llm-key-card>
          </li>`,
      )}
    </ul>`;
  }
}
