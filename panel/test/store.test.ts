import { beforeEach, describe, expect, test, vi } from "vitest";
import { Backend, type SupabaseClientLike } from "../src/backend.js";
import { PanelError } from "../src/errors.js";
import { OutdatedAnswer, Store } from "../src/store.js";
import type { Key, Provider, Settings, Team, TeamInvitation } from "../src/types.js";

const row = (changes: Partial<Settings> = {}): Settings => ({
  user_id: "ada",
  version: 1,
  default_provider: null,
  enable_fallbacks: true,
  allow_operator_keys: true,
  time_zone: "UTC",
  provider_preferences: {},
  task_overrides: {},
  total_requests: 0,
  last_used_at: null,
  reveal_allowed: true,
  may_create_teams: true,
  default_team: null,
  ...changes,
});

function project() {
  return Object.assign(new Backend({} as SupabaseClientLike), {
    settings: vi.fn(async () => row()),
    providers: vi.fn(async (): Promise<Provider[]> => []),
    keys: vi.fn(async (): Promise<Key[]> => []),
    tasks: vi.fn(async () => []),
    operatorProviders: vi.fn(async () => []),
    teams: vi.fn(async (): Promise<Team[]> => []),
    invitations: vi.fn(async (): Promise<TeamInvitation[]> => []),
    update: vi.fn(async () => row({ version: 2, default_provider: "groq" })),
  });
}

let backend: ReturnType<typeof project>;
let store: Store;

beforeEach(async () => {
  backend = project();
  store = new Store("UTC");
  store.connect(backend);
  await store.follow("ada");
});

describe("the session", () => {
  test("loads the user's settings", () => {
    expect(store.state.status).toBe("ready");
    expect(backend.settings).toHaveBeenCalledTimes(1);
  });

  test("keeps unsaved changes when it is refreshed", async () => {
    store.edit(["default_provider"], "groq");
    await store.follow("ada");
    expect(backend.settings).toHaveBeenCalledTimes(1);
    expect(store.changeCount).toBe(1);
  });

  test("drops all data at sign-out", async () => {
    store.edit(["default_provider"], "groq");
    await store.follow(null);
    expect(store.state.status).toBe("signed_out");
    expect(() => store.loaded).toThrow(PanelError);
  });

  test("drops an answer that comes after sign-out", async () => {
    await store.follow(null);
    let answer = (_: Settings) => {};
    backend.settings.mockImplementationOnce(() => new Promise((resolve) => (answer = resolve)));
    const loading = store.follow("ben");
    await store.follow(null);
    answer(row({ user_id: "ben" }));
    await loading;
    expect(store.state.status).toBe("signed_out");
  });

  test("reports an unreachable project and retries", async () => {
    await store.follow(null);
    backend.settings.mockRejectedValueOnce(new PanelError("offline", ""));
    await store.follow("ada");
    expect(store.state).toMatchObject({ status: "failed", error: { code: "offline" } });
    await store.load();
    expect(store.state).toMatchObject({ status: "ready", error: null });
  });

  test("works without the runtime", async () => {
    await store.follow(null);
    backend.operatorProviders.mockRejectedValueOnce(new PanelError("offline", ""));
    await store.follow("ada");
    expect([store.state.status, store.loaded.operatorProviders]).toEqual(["ready", []]);
  });
});

describe("the time zone", () => {
  const openIn = async (zone: string) => {
    store = new Store(zone);
    store.connect(backend);
    await store.follow("ada");
  };

  test("of a new user is the browser's", async () => {
    backend.update.mockResolvedValueOnce(row({ version: 2, time_zone: "Europe/Berlin" }));
    await openIn("Europe/Berlin");
    expect(backend.update).toHaveBeenCalledWith({ time_zone: "Europe/Berlin" }, 1);
    expect([store.loaded.settings.time_zone, store.changeCount]).toEqual(["Europe/Berlin", 0]);
  });

  test("of other users stays", async () => {
    backend.settings.mockResolvedValueOnce(row({ version: 2 }));
    await openIn("Europe/Berlin");
    expect(backend.update).not.toHaveBeenCalled();
  });

  test("stays UTC if the database refuses the browser's", async () => {
    backend.update.mockRejectedValueOnce(new PanelError("invalid_setting", "", "", 400));
    await openIn("Mars/Olympus");
    expect(store.loaded.settings.time_zone).toBe("UTC");
  });
});

describe("providers that the app switched off", () => {
  const provider = (id: string, enabled: boolean) => ({ id, name: id.toUpperCase(), enabled }) as Provider;

  test("are shown to users who have a key for them or chose them", async () => {
    backend.providers.mockResolvedValue([
      provider("a", true),
      ...["keyed", "ordered", "task", "other"].map((id) => provider(id, false)),
    ]);
    backend.keys.mockResolvedValue([{ provider: "keyed" } as Key]);
    backend.settings.mockResolvedValue(
      row({
        provider_preferences: { ordered: { priority: 1 } },
        task_overrides: { code: { provider: "a", fallbacks: [{ provider: "task" }] } },
      }),
    );
    await store.follow(null);
    await store.follow("ada");
    expect(store.loaded.providers.map(({ id }) => id)).toEqual(["a"]);
    expect(store.switchedOff.map(({ id }) => id)).toEqual(["keyed", "ordered", "task"]);
    expect(store.choicesWith("task").map(({ name }) => name)).toEqual([
      "A",
      "TASK (switched off by the app)",
    ]);
  });
});

describe("toasts", () => {
  test("a newer message of the same kind replaces the older", () => {
    store.toast("groq", "saved");
    store.toast("openai", "saved");
    store.toast("groq", "works");
    expect(store.toasts.map(({ kind, text }) => [kind, text])).toEqual([
      ["openai", "saved"],
      ["groq", "works"],
    ]);
  });

  test("do not outlive the session", async () => {
    store.toast("groq", "saved");
    await store.follow(null);
    expect(store.toasts).toEqual([]);
  });
});

describe("saving", () => {
  test("sends the changes with the version they are based on", async () => {
    store.edit(["default_provider"], "groq");
    await store.save();
    expect(backend.update).toHaveBeenCalledWith({ default_provider: "groq" }, 1);
    expect([store.toasts.map(({ text }) => text), store.changeCount]).toEqual([["Saved."], 0]);
    store.edit(["default_provider"], "openai");
    expect(store.toasts).toEqual([]);
  });

  test("keeps edits made meanwhile", async () => {
    store.edit(["default_provider"], "groq");
    const saving = store.save();
    store.edit(["enable_fallbacks"], false);
    await saving;
    expect(store.changes).toEqual({ enable_fallbacks: false });
  });

  test("keeps the draft when it fails", async () => {
    backend.update.mockRejectedValueOnce(new PanelError("offline", ""));
    store.edit(["default_provider"], "groq");
    await store.save();
    expect([store.loaded.saveError?.code, store.changeCount, store.loaded.saving]).toEqual([
      "offline",
      1,
      false,
    ]);
  });

  test("takes over changes made elsewhere and reports conflicts", async () => {
    backend.update.mockRejectedValueOnce(new PanelError("settings_changed", "", "", 409));
    backend.settings.mockResolvedValueOnce(
      row({ version: 7, default_provider: "openai", enable_fallbacks: false }),
    );
    store.edit(["default_provider"], "groq");
    await store.save();
    expect(store.loaded.draft.enable_fallbacks).toBe(false);
    expect(store.loaded.conflicts).toEqual([{ path: ["default_provider"], mine: "groq", theirs: "openai" }]);
    await store.save();
    expect(backend.update).toHaveBeenCalledTimes(1);
    store.settle(store.loaded.conflicts[0]!, "mine");
    await store.save();
    expect(backend.update).toHaveBeenLastCalledWith({ default_provider: "groq" }, 7);
  });

  test("drops an older answer that comes after it", async () => {
    let answer = (_: Settings) => {};
    backend.settings.mockImplementationOnce(() => new Promise((resolve) => (answer = resolve)));
    const looking = store.refresh();
    store.edit(["default_provider"], "groq");
    await store.save();
    store.keyChanged("groq", { provider: "groq" } as Key);
    answer(row());
    await looking;
    expect([store.loaded.settings.version, store.loaded.draft.default_provider]).toEqual([2, "groq"]);
    expect([...store.loaded.keys.keys()]).toEqual(["groq"]);
  });

  test("keeps a conflict until it is settled", async () => {
    backend.settings.mockResolvedValueOnce(row({ version: 7, default_provider: "openai" }));
    store.edit(["default_provider"], "groq");
    await store.refresh();
    backend.settings.mockResolvedValueOnce(
      row({ version: 8, default_provider: "openai", time_zone: "Asia/Tokyo" }),
    );
    await store.refresh();
    expect(store.loaded.conflicts.map(({ path }) => path)).toEqual([["default_provider"]]);
  });

  test("never mixes two orders", async () => {
    const order = (...ids: string[]) =>
      Object.fromEntries(ids.map((id, index) => [id, { priority: index + 1 }]));
    store.reorder(["c", "a", "b"]);
    backend.settings.mockResolvedValueOnce(row({ version: 2, provider_preferences: order("b", "c", "a") }));
    await store.refresh();
    expect(store.loaded.draft.provider_preferences).toEqual(order("c", "a", "b"));
    store.settle(store.loaded.conflicts[0]!, "theirs");
    expect([store.loaded.conflicts, store.changes]).toEqual([[], null]);
  });

  test("drops a conflict after another edit, or after the same change elsewhere", async () => {
    backend.settings.mockResolvedValueOnce(row({ version: 2, default_provider: "openai" }));
    store.edit(["default_provider"], "groq");
    await store.refresh();
    store.edit(["default_provider"], "mistral");
    expect(store.loaded.conflicts).toEqual([]);
    backend.settings.mockResolvedValueOnce(row({ version: 3, default_provider: "google" }));
    await store.refresh();
    expect(store.loaded.conflicts).toHaveLength(1);
    backend.settings.mockResolvedValueOnce(row({ version: 4, default_provider: "mistral" }));
    await store.refresh();
    expect([store.loaded.conflicts, store.changes]).toEqual([[], null]);
  });

  test("lets no answer reach another user", async () => {
    let answer = (_: string) => {};
    const waiting = store.whileSignedIn(new Promise<string>((resolve) => (answer = resolve)));
    await store.follow("ben");
    answer("ada's");
    await expect(waiting).rejects.toBeInstanceOf(OutdatedAnswer);
  });

  test("has nothing to save after the other side wins a conflict", async () => {
    backend.settings.mockResolvedValueOnce(row({ version: 7, default_provider: "openai" }));
    store.edit(["default_provider"], "groq");
    await store.refresh();
    store.settle(store.loaded.conflicts[0]!, "theirs");
    expect([store.changes, store.loaded.draft.default_provider]).toEqual([null, "openai"]);
  });
});
