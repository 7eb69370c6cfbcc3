/**
 * Preferences as leaves: saves send only changed leaves, and changes made elsewhere merge by leaf.
 *
 * A leaf is a plain setting, one field of a provider's preferences, or the whole override of a task.
 */

import type { Changes } from "./backend.js";
import type { Policy, Preferences } from "./types.js";

/** A user's preferences, or a team's policy. */
type Leafy = Partial<Preferences & Policy> & Pick<Preferences, "provider_preferences" | "task_overrides">;

export type Path = readonly [keyof (Preferences & Policy), ...string[]];

const PLAIN = [
  "default_provider",
  "enable_fallbacks",
  "allow_operator_keys",
  "time_zone",
  "default_team",
  "keys_first",
  "allowed_providers",
] as const;

export interface Conflict {
  path: Path;
  mine: unknown;
  theirs: unknown;
}

/** The part of the settings that a user may change. */
export function preferencesOf(row: Preferences): Preferences {
  return structuredClone({
    default_provider: row.default_provider,
    enable_fallbacks: row.enable_fallbacks,
    allow_operator_keys: row.allow_operator_keys,
    time_zone: row.time_zone,
    default_team: row.default_team,
    provider_preferences: row.provider_preferences,
    task_overrides: row.task_overrides,
  });
}

/** The changes from `base` to `wanted`, in the format of set_llm_settings(); null if there are none. */
export function changesBetween(base: Leafy, wanted: Leafy): Changes | null {
  const changes: Record<string, unknown> = {};
  for (const [path, value] of differences(base, wanted)) place(changes, path, value ?? null);
  return Object.keys(changes).length ? (changes as Changes) : null;
}

/** The number of changes as people count them: a new order is one change, however many providers moved. */
export function countChanges(base: Leafy, wanted: Leafy): number {
  const things = differences(base, wanted).map(([path]) => (path[2] === "priority" ? "order" : join(path)));
  return new Set(things).size;
}

/**
 * Merge two changed versions of `base`. A leaf that both changed to different values is a conflict; `merged` has my
 * value there.
 */
export function merge<Kind extends Leafy>(
  base: Kind,
  mine: Kind,
  theirs: Kind,
): { merged: Kind; conflicts: Conflict[] } {
  const merged = structuredClone(theirs);
  const others = new Map(differences(base, theirs).map(([path, value]) => [join(path), value]));
  const conflicts: Conflict[] = [];
  for (const [path, value] of differences(base, mine)) {
    const name = join(path);
    if (others.has(name) && !same(others.get(name), value))
      conflicts.push({ path, mine: value, theirs: others.get(name) });
    assign(merged, path, value);
  }
  // Two orders cannot be mixed.
  if (conflicts.some(isPlace)) takeOrder(merged, mine);
  return { merged, conflicts };
}

/** The value of a leaf; undefined if it is not set. */
export function valueAt(preferences: Preferences, path: Path): unknown {
  return leaves(preferences).get(join(path));
}

/** Whether a conflict is about the order of providers. */
export function isPlace({ path }: Conflict): boolean {
  return path[2] === "priority";
}

/** Take over the order of other preferences. */
export function takeOrder(preferences: Leafy, other: Leafy): void {
  const ids = [preferences, other].flatMap(({ provider_preferences }) => Object.keys(provider_preferences));
  for (const id of ids)
    assign(preferences, ["provider_preferences", id, "priority"], other.provider_preferences[id]?.priority);
}

/** Set one leaf, or remove it with undefined. */
export function assign(preferences: Leafy, path: Path, value: unknown): void {
  const [name, key, field] = path as [keyof Leafy, string | undefined, string | undefined];
  if (key === undefined) {
    Object.assign(preferences, { [name]: value ?? null });
    return;
  }
  const group = preferences[name] as Record<string, Record<string, unknown>>;
  if (field === undefined) {
    if (value === undefined || value === null) delete group[key];
    else put(group, key, structuredClone(value));
    return;
  }
  const entry = { ...group[key] };
  if (value === undefined || value === null) delete entry[field];
  else entry[field] = value;
  if (Object.keys(entry).length) group[key] = entry;
  else delete group[key];
}

function differences(base: Leafy, wanted: Leafy): [Path, unknown][] {
  const before = leaves(base);
  const after = leaves(wanted);
  const names = new Set([...before.keys(), ...after.keys()]);
  return [...names]
    .filter((name) => !same(before.get(name), after.get(name)))
    .map((name) => [JSON.parse(name) as Path, after.get(name)]);
}

function leaves(preferences: Leafy): Map<string, unknown> {
  const found = new Map<string, unknown>();
  for (const name of PLAIN) if (name in preferences) found.set(join([name]), preferences[name]);
  for (const [provider, fields] of Object.entries(preferences.provider_preferences))
    for (const [field, value] of Object.entries(fields))
      found.set(join(["provider_preferences", provider, field]), value);
  for (const [task, override] of Object.entries(preferences.task_overrides))
    found.set(join(["task_overrides", task]), override);
  return found;
}

function join(path: Path): string {
  return JSON.stringify(path);
}

function place(changes: Record<string, unknown>, path: Path, value: unknown): void {
  let at = changes;
  for (const name of path.slice(0, -1)) at = (at[name] ??= {}) as Record<string, unknown>;
  put(at, path.at(-1) as string, value);
}

/** Set a field of any name, because a task may be called __proto__. */
function put(object: object, name: string, value: unknown): void {
  Object.defineProperty(object, name, { value, enumerable: true, configurable: true, writable: true });
}

/** Whether both are the same JSON, regardless of field order. */
export function same(one: unknown, other: unknown): boolean {
  return canonical(one) === canonical(other);
}

function canonical(value: unknown): string | undefined {
  return JSON.stringify(value, (_, part: unknown) =>
    part && typeof part === "object" && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  );
}
