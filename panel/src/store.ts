/** The panel's data and the user's unsaved changes. */

import type { Backend, Changes } from "./backend.js";
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
import type { Key, KeySource, Preferences, Provider, Settings, Task, Team, TeamInvitation } from "./types.js";
import type { AppTask } from "./views/tasks/names.js";

/** A signed-in user's data and unsaved changes. */
export interface Loaded {
  status: "ready";
  settings: Settings;
  /** The settings with the user's unsaved changes. */
  draft: Preferences;
  /** The providers that the app offers. */
  providers: Provider[];
  /** The providers that the app switched off. */
  disabledProviders: Provider[];
  keys: Map<string, Key>;
  tasks: Task[];
  operatorProviders: string[];
  teams: Team[];
  /** Invitations to the user's email address. */
  invitations: TeamInvitation[];
  /** Why the data may be out of date. */
  error: PanelError | null;
  saving: boolean;
  saveError: PanelError | null;
  conflicts: Conflict[];
}

export type State =
  { status: "not_connected" | "loading" | "signed_out" } | { status: "failed"; error: PanelError } | Loaded;

/** A short message about what happened. */
export interface Toast {
  /** A newer message of the same kind replaces this one. */
  kind: string;
  text: string;
  look: "good" | "warn";
}

/** An answer to a user who has signed out since. */
export class OutdatedAnswer extends Error {}

/** Fires `change` when the panel must redraw, and `saved` when settings or keys were stored. */
export class Store extends EventTarget {
  state: State = { status: "not_connected" };
  translator = new Translator("en");
  toasts: Toast[] = [];
  /** The tasks that the app names; null if it names none. */
  appTasks: AppTask[] | null = null;
  /** Provider → whose key pays for a request without a task; null while that is unknown. */
  payers: ReadonlyMap<string, KeySource> | null = null;
  /** The token of the invitation link that the user opened; outlives the sign-in. */
  invitation: string | null = null;
  /** How many unsaved changes of a team's policy there are. */
  teamChanges = 0;
  #payersWanted = "";
  #backend: Backend | null = null;
  #owner: string | null = null;
  /** Grows with every change made here and every change of user; answers to earlier requests are outdated. */
  #edition = 0;

  constructor(
    /** The browser's time zone: the default of a new user. */
    private readonly browserZone = Intl.DateTimeFormat().resolvedOptions().timeZone,
  ) {
    super();
  }

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
    const { state, translator } = this;
    return new Formats(translator.lang, state.status === "ready" ? state.settings.time_zone : "UTC");
  }

  /** The signed-in user's data. Throws PanelError before it is loaded and after sign-out. */
  get loaded(): Loaded {
    if (this.state.status !== "ready") throw new PanelError("not_signed_in", "");
    return this.state;
  }

  get changeCount(): number {
    const { state } = this;
    return state.status === "ready" ? countChanges(state.settings, state.draft) : 0;
  }

  get changes(): Changes | null {
    return changesBetween(this.loaded.settings, this.loaded.draft);
  }

  /** The text to show for an error. */
  explain(error: unknown): string {
    const { code, message, hint } = asPanelError(error);
    const known = this.translator.find(`error.${code}`, "");
    // The database's hint names the allowed values, which the panel's own text does not.
    if (known && code.startsWith("invalid_") && hint) return `${known} ${hint}`;
    return known || message || this.t("error.unexpected");
  }

  providerName(id: string): string {
    const { providers, disabledProviders } = this.loaded;
    return [...providers, ...disabledProviders].find((provider) => provider.id === id)?.name ?? id;
  }

  /** A team's name; null if the user does not belong to it. */
  teamName = (id: string): string | null => this.loaded.teams.find((team) => team.id === id)?.name ?? null;

  /** The providers that the app switched off and that the user has a key for, or has ordered or chosen. */
  get switchedOff(): Provider[] {
    const { disabledProviders, keys, draft } = this.loaded;
    const choices = Object.values(draft.task_overrides).flatMap((task) => [task, ...(task.fallbacks ?? [])]);
    const chosen = new Set([draft.default_provider, ...choices.map(({ provider }) => provider)]);
    return disabledProviders.filter(
      ({ id }) => keys.has(id) || id in draft.provider_preferences || chosen.has(id),
    );
  }

  /** The providers to choose from, including the chosen one even if the app switched it off. */
  choicesWith(id: string): Pick<Provider, "id" | "name">[] {
    const offered = this.ordered;
    if (offered.some((provider) => provider.id === id)) return offered;
    return [...offered, { id, name: this.t("order.choice_off", { provider: this.providerName(id) }) }];
  }

  /** Whether any key could serve requests at this provider, as far as the panel knows. */
  usable(id: string): boolean {
    const { keys, operatorProviders, draft } = this.loaded;
    const team = this.payers?.get(id) === "team";
    return keys.has(id) || team || (draft.allow_operator_keys && operatorProviders.includes(id));
  }

  /** Load who pays, again after each change of keys or settings. */
  async wantPayers(): Promise<void> {
    const { keys, settings } = this.loaded;
    const wanted = JSON.stringify([settings.user_id, settings.version, [...keys.values()]]);
    if (wanted === this.#payersWanted) return;
    this.#payersWanted = wanted;
    try {
      const { candidates } = await this.backend.explain(null);
      if (wanted !== this.#payersWanted) return;
      const payers = new Map<string, KeySource>();
      for (const { provider, key_source } of candidates)
        if (!payers.has(provider)) payers.set(provider, key_source);
      this.payers = payers;
    } catch {
      // The panel works without it; the next change tries again.
      if (wanted !== this.#payersWanted) return;
      this.payers = null;
    }
    this.changed();
  }

  /** Show a message. */
  toast(kind: string, text: string, look: Toast["look"] = "good"): void {
    this.toasts = [...this.toasts.filter((other) => other.kind !== kind), { kind, text, look }];
    this.changed();
  }

  dismissToast(toast: Toast): void {
    this.toasts = this.toasts.filter((other) => other !== toast);
    this.changed();
  }

  /** The providers in the user's order: by priority, then by catalog position. */
  get ordered(): Provider[] {
    return this.orderIn(this.loaded.draft);
  }

  orderIn(preferences: Pick<Preferences, "provider_preferences">): Provider[] {
    const place = ({ id }: Provider) => preferences.provider_preferences[id]?.priority ?? Infinity;
    return [...this.loaded.providers].sort((a, b) => {
      const [one, other] = [place(a), place(b)];
      return one === other ? 0 : one - other;
    });
  }

  connect(backend: Backend | null): void {
    this.#backend = backend;
    this.#forget({ status: backend ? "loading" : "not_connected" });
  }

  /** Report that the connection failed: the address is invalid, or the library did not load. */
  fail(): void {
    this.state = { status: "failed", error: new PanelError("setup_failed", "") };
    this.changed();
  }

  /** Follow the session: load the user's data, or forget it. */
  async follow(user: string | null): Promise<void> {
    if (user === null) return this.#forget({ status: "signed_out" });
    if (user !== this.#owner) this.#forget({ status: "loading" });
    else if (!("error" in this.state && this.state.error)) return;
    this.#owner = user;
    await this.load();
  }

  /** Wait for an answer. Throws OutdatedAnswer if the user has gone: nobody else may see it. */
  async whileSignedIn<T>(answer: Promise<T>): Promise<T> {
    const { loaded } = this;
    const gone = () => {
      if (this.state !== loaded) throw new OutdatedAnswer();
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
    if (this.state.status !== "ready") {
      this.state = { status: "loading" };
      this.changed();
    }
    try {
      // First, because this call creates the settings row that the others refer to.
      const settings = await this.#withZone(await backend.settings());
      const [catalog, keys, tasks, operatorProviders, teams] = await Promise.all([
        backend.providers(),
        backend.keys(),
        backend.tasks(),
        // Without the endpoint, only key checks and the app's keys are missing.
        backend.operatorProviders().catch(() => []),
        this.#teams(),
      ]);
      if (edition !== this.#edition) return;
      const data = {
        providers: catalog.filter(({ enabled }) => enabled),
        disabledProviders: catalog.filter(({ enabled }) => !enabled),
        keys: byProvider(keys),
        tasks,
        operatorProviders,
        ...teams,
        error: null,
      };
      if (this.state.status === "ready") {
        Object.assign(this.state, data);
        this.#take(this.state, settings);
      } else {
        const nothing = { saving: false, saveError: null, conflicts: [] };
        this.state = { status: "ready", settings, draft: preferencesOf(settings), ...data, ...nothing };
      }
    } catch (error) {
      if (edition !== this.#edition) return;
      const failure = asPanelError(error);
      if (this.state.status === "ready") this.state.error = failure;
      else this.state = { status: "failed", error: failure };
    }
    this.changed();
  }

  /** Read settings and keys again, in case they were changed elsewhere. */
  async refresh(): Promise<void> {
    const { state } = this;
    if (state.status !== "ready" || state.saving) return;
    const edition = this.#edition;
    try {
      const [settings, keys, teams] = await Promise.all([
        this.backend.settings(),
        this.backend.keys(),
        this.#teams(),
      ]);
      if (edition !== this.#edition || state.saving) return;
      Object.assign(state, teams);
      state.keys = byProvider(keys);
      if (settings.version !== state.settings.version) this.#take(state, settings);
      state.error = null;
    } catch (error) {
      if (edition !== this.#edition) return;
      state.error = asPanelError(error);
    }
    this.changed();
  }

  /** The teams, and the invitations to others. Without them, only names of teams are missing; the Team tab reports it. */
  async #teams(): Promise<Pick<Loaded, "teams" | "invitations">> {
    const { backend } = this;
    return Promise.all([backend.teams(), backend.invitations()]).then(
      ([teams, invitations]) => ({ teams, invitations }),
      () => {
        const { teams = [], invitations = [] } = this.state as Partial<Loaded>;
        return { teams, invitations };
      },
    );
  }

  /** Change one leaf of the draft; undefined resets it. */
  edit(path: Path, value: unknown): void {
    const { draft, conflicts } = this.loaded;
    const edited = structuredClone(draft);
    assign(edited, path, value);
    // Editing a conflicting leaf again answers the question.
    this.#redraft(
      edited,
      conflicts.filter((conflict) => !sameValue(conflict.path, path)),
    );
  }

  /** Put the providers in this order. */
  reorder(ids: string[]): void {
    const { draft, conflicts } = this.loaded;
    const edited = structuredClone(draft);
    ids.forEach((id, index) => assign(edited, ["provider_preferences", id, "priority"], index + 1));
    this.#redraft(
      edited,
      conflicts.filter((conflict) => !isPlace(conflict)),
    );
  }

  discard(): void {
    this.#redraft(preferencesOf(this.loaded.settings), []);
  }

  /** Resolve a conflict. */
  settle(conflict: Conflict, choice: "mine" | "theirs"): void {
    const { settings, draft, conflicts } = this.loaded;
    const settled = structuredClone(draft);
    if (choice === "theirs" && isPlace(conflict)) takeOrder(settled, settings);
    else if (choice === "theirs") assign(settled, conflict.path, conflict.theirs);
    this.#redraft(
      settled,
      conflicts.filter((other) => (isPlace(conflict) ? !isPlace(other) : other !== conflict)),
    );
  }

  async save(): Promise<void> {
    const { changes, loaded } = this;
    if (!changes || loaded.saving || loaded.conflicts.length) return;
    loaded.saving = true;
    loaded.saveError = null;
    this.changed();
    const sent = loaded.draft;
    try {
      const settings = await this.backend.update(changes, loaded.settings.version);
      if (this.state !== loaded) return;
      // Edits made during the save stay unsaved.
      const { merged } = merge(sent, loaded.draft, preferencesOf(settings));
      this.#edition += 1;
      loaded.settings = settings;
      loaded.draft = merged;
      loaded.error = null;
      this.toast("save", this.t("save.saved"));
      this.dispatchEvent(new Event("saved"));
    } catch (error) {
      if (this.state !== loaded) return;
      const failure = asPanelError(error);
      if (failure.code === "settings_changed") await this.#takeTheirs(loaded);
      else loaded.saveError = failure;
    } finally {
      loaded.saving = false;
      if (this.state === loaded) this.changed();
    }
  }

  /** A team's keys or policy changed, so somebody else may pay for the user's requests. */
  teamChanged(): void {
    this.#payersWanted = "";
    this.dispatchEvent(new Event("saved"));
    this.changed();
  }

  /** Show the new state of a key that was checked. */
  keyChecked(key: Key): void {
    this.#edition += 1;
    this.loaded.keys = new Map(this.loaded.keys).set(key.provider, key);
    this.changed();
  }

  /** Show a key that was stored, or its removal. */
  keyChanged(provider: string, key: Key | null): void {
    const keys = new Map(this.loaded.keys);
    if (key) keys.set(provider, key);
    else keys.delete(provider);
    this.#edition += 1;
    this.loaded.keys = keys;
    this.dispatchEvent(new Event("saved"));
    this.changed();
  }

  changed(): void {
    this.dispatchEvent(new Event("change"));
  }

  /** Drop the user's data. */
  #forget(state: State): void {
    this.#owner = null;
    this.#edition += 1;
    this.#payersWanted = "";
    this.payers = null;
    this.teamChanges = 0;
    this.toasts = [];
    this.state = state;
    this.changed();
  }

  #redraft(draft: Preferences, conflicts: Conflict[]): void {
    const { loaded } = this;
    loaded.draft = draft;
    loaded.conflicts = conflicts;
    loaded.saveError = null;
    this.toasts = this.toasts.filter(({ kind }) => kind !== "save");
    this.changed();
  }

  /** Take over newer settings, and say so. */
  #take(loaded: Loaded, settings: Settings): void {
    const { version } = loaded.settings;
    takeSettings(loaded, settings);
    if (version !== settings.version) this.toast("save", this.t("save.merged"));
  }

  /** A new user's days and months begin in the time zone of their browser. */
  async #withZone(settings: Settings): Promise<Settings> {
    const isNew = settings.version === 1 && settings.time_zone === "UTC";
    if (!isNew || this.browserZone === "UTC") return settings;
    // The database may not know the zone, or another tab was faster; then the next load has the settings.
    return this.backend.update({ time_zone: this.browserZone }, settings.version).catch(() => settings);
  }

  async #takeTheirs(loaded: Loaded): Promise<void> {
    try {
      this.#take(loaded, await this.backend.settings());
    } catch (error) {
      loaded.saveError = asPanelError(error);
    }
  }
}

function byProvider(keys: Key[]): Map<string, Key> {
  return new Map(keys.map((key) => [key.provider, key]));
}

/** Take over newer settings and put the user's unsaved changes on top. */
function takeSettings(loaded: Loaded, settings: Settings): void {
  const before = loaded.settings;
  loaded.settings = settings;
  if (!countChanges(before, loaded.draft)) {
    loaded.draft = preferencesOf(settings);
    loaded.conflicts = [];
    return;
  }
  const { merged, conflicts } = merge(before, loaded.draft, settings);
  loaded.draft = preferencesOf(merged);
  // Earlier questions without an answer stay.
  const asked = new Set(conflicts.map(({ path }) => String(path)));
  const kept = loaded.conflicts.filter(
    ({ path, mine }) => !asked.has(String(path)) && !sameValue(valueAt(settings, path), mine),
  );
  loaded.conflicts = [
    ...kept.map((conflict) => ({ ...conflict, theirs: valueAt(settings, conflict.path) })),
    ...conflicts,
  ];
}
