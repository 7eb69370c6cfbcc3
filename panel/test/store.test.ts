import { beforeEach, describe, expect, test, vi } from "vitest";
import { Backend, type SupabaseClientLike } from "../src/backend.js";
import { PanelError } from "../src/errors.js";
import { OutdatedAnswer, Store } from "../src/store.js";
import type { Settings, Key } from "../src/types.js";

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
  ...changes,
});

function project() {
  return Object.assign(new Backend({} as SupabaseClientLike), {
    settings: vi.fn(async () => row()),
    providers: vi.fn(async () => []),
    keys: vi.fn(async () => []),
    tasks: vi.fn(async () => []),
    operatorProviders: vi.fn(async () => []),
    update: vi.fn(async () => row({ version: 2, default_provider: "groq" })),
  });
}

let backend: ReturnType<typeof project>;
let store: Store;

beforeEach(async () => {
  backend = project();
  store = new Store();
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

describe("saving", () => {
  test("sends the changes with the version they are based on", async () => {
    store.edit(["default_provider"], "groq");
    await store.save();
    expect(backend.update).toHaveBeenCalledWith({ default_provider: "groq" }, 1);
    expect([store.loaded.announced, store.changeCount]).toEqual(["saved", 0]);
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
