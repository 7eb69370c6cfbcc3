/** What the panel knows and what the user is changing. */

import type { Backend } from "./backend.js";
import {
  assign,
  changesBetween,
  countChanges,
  isPlace,
  merge,
  preferencesOf,
  same as sameValue,
  takeOrder,
  valueAt,
  type Conflict,
  type Path,
} from "./changes.js";
import { asPanelError, PanelError } from "./errors.js";
import { Formats } from "./formats.js";
import { Translator } from "./texts/index.js";
import type { Preferences, Provider, Settings, StoredKey, Task } from "./types.js";

export type Phase = "not_connected" | "loading" | "signed_out" | "failed" | "ready";

/** An answer to somebody who is not signed in any more. */
export class OutdatedAnswer extends Error {}

/** Fires `change` when anything is to be drawn anew, and `saved` when settings or keys were stored. */
export class Store extends EventTarget {
  phase: Phase = "not_connected";
  /** Why the panel could not be loaded, or why it knows that it is not up to date. */
  error: PanelError | null = null;
  settings!: Settings;
  /** What the user has, with what they changed and did not save yet. */
  draft!: Preferences;
  providers: Provider[] = [];
  keys = new Map<string, StoredKey>();
  tasks: Task[] = [];
  operatorProviders: string[] = [];
  saving = false;
  saveError: PanelError | null = null;
  /** What was saved or merged last, to be said once. */
  said: "saved" | "merged" | null = null;
  conflicts: Conflict[] = [];
  translator = new Translator("en");
  #backend: Backend | null = null;
  #owner: string | null = null;
  /** Counts up with everyone who is signed in or out. */
  #visit = 0;
  /** Counts up with every change made here and every other user: what was asked for before is out of date. */
  #edition = 0;

  get backend(): Backend {
    if (!this.#backend) throw new PanelError("not_connected", "");
    return this.#backend;
  }

  get connected(): boolean {
    return this.#backend !== null;
  }

  get t() {
    return this.translator.text;
  }

  get formats(): Formats {
    return new Formats(this.translator.lang, this.settings?.time_zone ?? "UTC");
  }

  get changeCount(): number {
    return this.phase === "ready" ? countChanges(this.settings, this.draft) : 0;
  }

  get changes() {
    return changesBetween(this.settings, this.draft);
  }

  /** Text for people of any error. */
  explain(error: unknown): string {
    const { code, message, hint } = asPanelError(error);
    const known = this.translator.find(`error.${code}`, "");
    // A hint of the database's names what is allowed here: it helps more than our general text alone.
    if (known && code.startsWith("invalid_") && hint) return `${known} ${hint}`;
    return known || message || this.t("error.unexpected");
  }

  providerName(id: string): string {
    return this.providers.find((provider) => provider.id === id)?.name ?? id;
  }

  /** Ids of providers that the app offers no more, whose keys the user still has. */
  get withdrawn(): string[] {
    return [...this.keys.keys()].filter((id) => !this.providers.some((provider) => provider.id === id));
  }

  /** The providers to choose from, with the chosen one even where the app offers it no more. */
  choicesWith(id: string): Pick<Provider, "id" | "name">[] {
    const offered = this.ordered;
    return offered.some((provider) => provider.id === id) ? offered : [...offered, { id, name: id }];
  }

  /** The providers in the user's order: by priority, then as the catalogue has them. */
  get ordered(): Provider[] {
    return this.orderIn(this.draft);
  }

  orderIn(preferences: Preferences): Provider[] {
    const place = ({ id }: Provider) => preferences.provider_preferences[id]?.priority ?? Infinity;
    return [...this.providers].sort((a, b) => {
      const [one, other] = [place(a), place(b)];
      return one === other ? 0 : one - other;
    });
  }

  connect(backend: Backend | null): void {
    this.#backend = backend;
    this.clear(backend ? "loading" : "not_connected");
  }

  /** Tell that there is no connection: the address is none, or the library could not be loaded. */
  fail(): void {
    this.error = new PanelError("setup_failed", "");
    this.phase = "failed";
    this.changed();
  }

  /** Forget everything of the user's. */
  clear(phase: Phase): void {
    this.#owner = null;
    this.#visit += 1;
    this.#edition += 1;
    this.phase = phase;
    this.error = null;
    this.settings = undefined as unknown as Settings;
    this.draft = undefined as unknown as Preferences;
    this.keys = new Map();
    this.providers = [];
    this.tasks = [];
    this.operatorProviders = [];
    this.conflicts = [];
    this.saveError = null;
    this.said = null;
    this.saving = false;
    this.changed();
  }

  /** Follow who is signed in: load what is theirs, or forget it. */
  async follow(user: string | null): Promise<void> {
    if (user === null) return this.clear("signed_out");
    if (user === this.#owner) {
      if (this.phase === "failed" || this.error) await this.load();
      return;
    }
    this.clear("loading");
    this.#owner = user;
    await this.load();
  }

  /** Wait for an answer. Throws OutdatedAnswer when it comes after the user has gone: it must not reach another. */
  async ours<T>(answer: Promise<T>): Promise<T> {
    const visit = this.#visit;
    const gone = () => {
      if (visit !== this.#visit) throw new OutdatedAnswer();
    };
    try {
      const value = await answer;
      gone();
      return value;
    } catch (error) {
      gone();
      throw error;
    }
  }

  async load(): Promise<void> {
    const { backend } = this;
    const edition = this.#edition;
    if (this.phase !== "ready") {
      this.phase = "loading";
      this.changed();
    }
    try {
      // First, for it makes the row that the others refer to.
      const settings = await backend.settings();
      const [providers, keys, tasks, operatorProviders] = await Promise.all([
        backend.providers(),
        backend.keys(),
        backend.tasks(),
        // Without its runtime the panel still does everything but tests and the app's keys.
        backend.operatorProviders().catch(() => []),
      ]);
      if (edition !== this.#edition) return;
      Object.assign(this, { providers, tasks, operatorProviders });
      this.keys = new Map(keys.map((key) => [key.provider, key]));
      this.takeSettings(settings);
      this.phase = "ready";
      this.error = null;
    } catch (error) {
      if (edition !== this.#edition) return;
      this.error = asPanelError(error);
      if (this.phase !== "ready") this.phase = "failed";
    }
    this.changed();
  }

  /** Look whether settings and keys were changed elsewhere. */
  async refresh(): Promise<void> {
    if (this.phase !== "ready" || this.saving) return;
    const edition = this.#edition;
    try {
      const [settings, keys] = await Promise.all([this.backend.settings(), this.backend.keys()]);
      if (edition !== this.#edition || this.saving) return;
      this.keys = new Map(keys.map((key) => [key.provider, key]));
      if (settings.version !== this.settings.version) this.takeSettings(settings);
      this.error = null;
    } catch (error) {
      if (edition !== this.#edition) return;
      this.error = asPanelError(error);
    }
    this.changed();
  }

  /** Change one leaf of the draft; undefined resets it. */
  edit(path: Path, value: unknown): void {
    const draft = structuredClone(this.draft);
    assign(draft, path, value);
    this.draft = draft;
    // Who changes it once more has answered the question.
    this.conflicts = this.conflicts.filter((conflict) => !sameValue(conflict.path, path));
    this.said = null;
    this.saveError = null;
    this.changed();
  }

  /** Put the providers in this order. */
  reorder(ids: string[]): void {
    const draft = structuredClone(this.draft);
    ids.forEach((id, index) => assign(draft, ["provider_preferences", id, "priority"], index + 1));
    this.draft = draft;
    this.conflicts = this.conflicts.filter((conflict) => !isPlace(conflict));
    this.said = null;
    this.saveError = null;
    this.changed();
  }

  discard(): void {
    this.draft = preferencesOf(this.settings);
    this.conflicts = [];
    this.saveError = null;
    this.said = null;
    this.changed();
  }

  /** Say which of two changes stays. */
  settle(conflict: Conflict, choice: "mine" | "theirs"): void {
    if (isPlace(conflict)) {
      this.conflicts = this.conflicts.filter((other) => !isPlace(other));
      const draft = structuredClone(this.draft);
      if (choice === "theirs") takeOrder(draft, this.settings);
      this.draft = draft;
    } else {
      this.conflicts = this.conflicts.filter((other) => other !== conflict);
      if (choice === "theirs") this.edit(conflict.path, conflict.theirs);
    }
    this.changed();
  }

  async save(): Promise<void> {
    const changes = this.changes;
    if (!changes || this.saving || this.conflicts.length) return;
    const visit = this.#visit;
    this.saving = true;
    this.saveError = null;
    this.said = null;
    this.changed();
    const sent = this.draft;
    try {
      const settings = await this.backend.update(changes, this.settings.version);
      if (visit !== this.#visit) return;
      // What was edited while it was being saved stays unsaved.
      const { merged } = merge(sent, this.draft, preferencesOf(settings));
      this.#edition += 1;
      this.settings = settings;
      this.draft = merged;
      this.said = "saved";
      this.dispatchEvent(new Event("saved"));
      this.error = null;
    } catch (error) {
      if (visit !== this.#visit) return;
      const failure = asPanelError(error);
      if (failure.code === "settings_changed") await this.#takeTheirs(visit);
      else this.saveError = failure;
    } finally {
      if (visit === this.#visit) {
        this.saving = false;
        this.changed();
      }
    }
  }

  /** Take over what is known of a key by now. */
  keep(key: StoredKey): void {
    this.#edition += 1;
    this.keys = new Map(this.keys).set(key.provider, key);
    this.changed();
  }

  /** Take over that a key was stored or, without one, removed. */
  keyChanged(provider: string, key: StoredKey | null): void {
    const keys = new Map(this.keys);
    if (key) keys.set(provider, key);
    else keys.delete(provider);
    this.#edition += 1;
    this.keys = keys;
    this.dispatchEvent(new Event("saved"));
    this.changed();
  }

  /** Take over settings as they are now, with what the user was changing on top. */
  takeSettings(settings: Settings): void {
    const before = this.settings;
    this.settings = settings;
    if (!before || !countChanges(before, this.draft)) {
      this.draft = preferencesOf(settings);
      if (before && before.version !== settings.version) this.said = "merged";
      this.conflicts = [];
      return;
    }
    const { merged, conflicts } = merge(before, this.draft, settings);
    this.draft = preferencesOf(merged);
    // What was asked before and not answered is still asked.
    const asked = new Set(conflicts.map(({ path }) => String(path)));
    const kept = this.conflicts.filter(
      ({ path, mine }) => !asked.has(String(path)) && !sameValue(valueAt(settings, path), mine),
    );
    this.conflicts = [
      ...kept.map((conflict) => ({ ...conflict, theirs: valueAt(settings, conflict.path) })),
      ...conflicts,
    ];
    if (before.version !== settings.version) this.said = "merged";
  }

  changed(): void {
    this.dispatchEvent(new Event("change"));
  }

  async #takeTheirs(visit: number): Promise<void> {
    try {
      const settings = await this.backend.settings();
      if (visit === this.#visit) this.takeSettings(settings);
    } catch (error) {
      if (visit === this.#visit) this.saveError = asPanelError(error);
    }
  }
}
