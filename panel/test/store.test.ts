import { beforeEach, describe, expect, test, vi } from "vitest";
import { Backend, type SupabaseClientLike } from "../src/backend.js";
import { PanelError } from "../src/errors.js";
import { OutdatedAnswer, Store } from "../src/store.js";
import type { Settings, StoredKey } from "../src/types.js";

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

describe("who is signed in", () => {
  test("sees their own", () => {
    expect(store.state.status).toBe("ready");
    expect(backend.settings).toHaveBeenCalledTimes(1);
  });

  test("a refreshed session loads nothing again, and keeps what is not saved", async () => {
    store.edit(["default_provider"], "groq");
    await store.follow("ada");
    expect(backend.settings).toHaveBeenCalledTimes(1);
    expect(store.changeCount).toBe(1);
  });

  test("signing out forgets everything", async () => {
    store.edit(["default_provider"], "groq");
    await store.follow(null);
    expect(store.state.status).toBe("signed_out");
    expect(() => store.loaded).toThrow(PanelError);
  });

  test("an answer that comes after signing out is dropped", async () => {
    await store.follow(null);
    let answer = (_: Settings) => {};
    backend.settings.mockImplementationOnce(() => new Promise((resolve) => (answer = resolve)));
    const loading = store.follow("ben");
    await store.follow(null);
    answer(row({ user_id: "ben" }));
    await loading;
    expect(store.state.status).toBe("signed_out");
  });

  test("a project that cannot be reached is told, and tried again", async () => {
    await store.follow(null);
    backend.settings.mockRejectedValueOnce(new PanelError("offline", ""));
    await store.follow("ada");
    expect(store.state).toMatchObject({ status: "failed", error: { code: "offline" } });
    await store.load();
    expect(store.state).toMatchObject({ status: "ready", error: null });
  });

  test("without its runtime the panel works all the same", async () => {
    await store.follow(null);
    backend.operatorProviders.mockRejectedValueOnce(new PanelError("offline", ""));
    await store.follow("ada");
    expect([store.state.status, store.loaded.operatorProviders]).toEqual(["ready", []]);
  });
});

describe("saving", () => {
  test("sends what changed, at the version that was read", async () => {
    store.edit(["default_provider"], "groq");
    await store.save();
    expect(backend.update).toHaveBeenCalledWith({ default_provider: "groq" }, 1);
    expect([store.loaded.announced, store.changeCount]).toEqual(["saved", 0]);
  });

  test("keeps what is edited meanwhile", async () => {
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

  test("takes over what was changed elsewhere, and asks about what both changed", async () => {
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

  test("an older answer that comes after saving is dropped", async () => {
    let answer = (_: Settings) => {};
    backend.settings.mockImplementationOnce(() => new Promise((resolve) => (answer = resolve)));
    const looking = store.refresh();
    store.edit(["default_provider"], "groq");
    await store.save();
    store.keyChanged("groq", { provider: "groq" } as StoredKey);
    answer(row());
    await looking;
    expect([store.loaded.settings.version, store.loaded.draft.default_provider]).toEqual([2, "groq"]);
    expect([...store.loaded.keys.keys()]).toEqual(["groq"]);
  });

  test("a conflict is asked until it is answered", async () => {
    backend.settings.mockResolvedValueOnce(row({ version: 7, default_provider: "openai" }));
    store.edit(["default_provider"], "groq");
    await store.refresh();
    backend.settings.mockResolvedValueOnce(
      row({ version: 8, default_provider: "openai", time_zone: "Asia/Tokyo" }),
    );
    await store.refresh();
    expect(store.loaded.conflicts.map(({ path }) => path)).toEqual([["default_provider"]]);
  });

  test("two orders are not mixed", async () => {
    const order = (...ids: string[]) =>
      Object.fromEntries(ids.map((id, index) => [id, { priority: index + 1 }]));
    store.reorder(["c", "a", "b"]);
    backend.settings.mockResolvedValueOnce(row({ version: 2, provider_preferences: order("b", "c", "a") }));
    await store.refresh();
    expect(store.loaded.draft.provider_preferences).toEqual(order("c", "a", "b"));
    store.settle(store.loaded.conflicts[0]!, "theirs");
    expect([store.loaded.conflicts, store.changes]).toEqual([[], null]);
  });

  test("a conflict about what is edited again, or changed to the same elsewhere, is asked no more", async () => {
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

  test("an answer to somebody who has gone reaches nobody", async () => {
    let answer = (_: string) => {};
    const waiting = store.whileSignedIn(new Promise<string>((resolve) => (answer = resolve)));
    await store.follow("ben");
    answer("ada's");
    await expect(waiting).rejects.toBeInstanceOf(OutdatedAnswer);
  });

  test("of a conflict that the other wins, nothing is left to save", async () => {
    backend.settings.mockResolvedValueOnce(row({ version: 7, default_provider: "openai" }));
    store.edit(["default_provider"], "groq");
    await store.refresh();
    store.settle(store.loaded.conflicts[0]!, "theirs");
    expect([store.changes, store.loaded.draft.default_provider]).toEqual([null, "openai"]);
  });
});
