import { expect, test, vi } from "vitest";
import { Backend, type SupabaseClientLike } from "../src/backend.js";
import { Store } from "../src/store.js";
import { TeamBackend } from "../src/team-backend.js";
import type { Settings, Team, TeamDetails, TeamInvitation } from "../src/types.js";
import { policyOf } from "../src/views/team/policy.js";
import { sessionOf } from "../src/views/team/session.js";
import { spendingLimit } from "../src/views/team/spending.js";
import type { Quota } from "../src/types.js";

const settings = { user_id: "ada", version: 1, time_zone: "UTC", task_overrides: {} } as unknown as Settings;
const team = (id: string, name: string) => ({ id, name, role: "owner" }) as Team;
const details = {
  ...team("t1", "Research"),
  keys_first: "team",
  allowed_providers: null,
  default_provider: null,
  provider_preferences: {},
  task_overrides: {},
  version: 1,
} as unknown as TeamDetails;

async function signedIn() {
  const backend = Object.assign(new Backend({} as SupabaseClientLike), {
    settings: async () => ({ ...settings, provider_preferences: {} }),
    providers: async () => [],
    keys: async () => [],
    tasks: async () => [],
    operatorProviders: async () => [],
    teams: vi.fn(async (): Promise<Team[]> => [team("t1", "Research")]),
    invitations: vi.fn(async () => [{ id: "i1", team_name: "Design" } as TeamInvitation]),
  });
  const store = new Store("UTC");
  store.connect(backend);
  await store.follow("ada");
  return { store, backend };
}

test("teams and invitations load with the settings", async () => {
  const { store } = await signedIn();
  expect(store.teamName("t1")).toBe("Research");
  expect(store.teamName("somebody-elses")).toBeNull();
  expect(store.loaded.invitations).toHaveLength(1);
});

test("the other tabs work without teams", async () => {
  const { store, backend } = await signedIn();
  backend.teams.mockRejectedValue(new TypeError("offline"));
  await store.refresh();
  expect(store.loaded.error).toBeNull();
  expect(store.teamName("t1")).toBe("Research");
});

test("a refresh shows a team that the user lost", async () => {
  const { store, backend } = await signedIn();
  backend.teams.mockResolvedValue([]);
  await store.refresh();
  expect(store.loaded.teams).toEqual([]);
});

test("unsaved changes of a policy outlive a look at another tab, but not the sign-out", async () => {
  const { store } = await signedIn();
  sessionOf(store).policies.set("t1", {
    team: details,
    draft: { ...policyOf(details), keys_first: "member" },
  });
  expect(sessionOf(store).changes).toBe(1);
  await store.follow(null);
  expect(store.teamChanges).toBe(0);
  await store.follow("ada");
  expect(sessionOf(store).changes).toBe(0);
});

test("the link that somebody opened outlives the sign-in", async () => {
  const { store } = await signedIn();
  store.invitation = "sli_made_up";
  await store.follow(null);
  await store.follow("ben");
  expect(store.invitation).toBe("sli_made_up");
});

test("the team's limits in the panel are those of a month's cost, of all and of each", () => {
  const quota = (id: number, changes: Partial<Quota> = {}) =>
    ({
      id,
      set_by: "team",
      unit: "cost",
      period: "month",
      provider: null,
      task: null,
      user_id: null,
      shared: false,
      ...changes,
    }) as Quota;
  const quotas = [
    quota(1, { unit: "requests" }),
    quota(2, { provider: "groq" }),
    quota(3, { set_by: "operator" }),
    quota(4, { shared: true }),
    quota(5),
  ];
  expect(spendingLimit(quotas, "whole")?.id).toBe(4);
  expect(spendingLimit(quotas, "each")?.id).toBe(5);
  expect(spendingLimit(quotas.slice(0, 3), "whole")).toBeUndefined();
});

test("a team's calls name the team, and a change its version", async () => {
  const rpc = vi.fn(async () => ({ data: null, error: null, status: 200 }));
  const calls = new TeamBackend(new Backend({ rpc } as unknown as SupabaseClientLike));
  await calls.set("t1", { name: "Lab" }, 3);
  await calls.setKey("t1", "groq", "gsk_made_up");
  await calls.setQuota("t1", { limit: 5, shared: true });
  expect(rpc.mock.calls).toEqual([
    ["set_llm_team", { p_team_id: "t1", p_changes: { name: "Lab" }, p_expected_version: 3 }],
    ["set_llm_team_key", { team_id: "t1", provider: "groq", key: "gsk_made_up" }],
    ["set_llm_quota", { p_quota: { limit: 5, shared: true, team_id: "t1" } }],
  ]);
});
