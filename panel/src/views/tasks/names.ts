/** Task names, and what users call them. */

import type { Loaded, Store } from "../../store.js";
import type { Preferences } from "../../types.js";

/** A task as the app names it. */
export interface AppTask {
  task: string;
  label?: string;
  description?: string;
}

/** The app's tasks, then the user's own, sorted. */
export function taskNames({
  appTasks,
  loaded: { tasks, draft },
}: {
  appTasks: AppTask[] | null;
  loaded: Pick<Loaded, "tasks"> & { draft: Pick<Preferences, "task_overrides"> };
}): string[] {
  const known = [...new Set((appTasks ?? tasks).map(({ task }) => task))];
  const own = Object.keys(draft.task_overrides).filter((task) => !known.includes(task));
  return [...known, ...own.sort((a, b) => a.localeCompare(b))];
}

/** What users call a task: the app's label, the panel's text for a task of the catalog, or the name itself. */
export function taskLabel(
  { appTasks, translator }: Pick<Store, "appTasks" | "translator">,
  task: string,
): string {
  const named = appTasks?.find((other) => other.task === task)?.label;
  return named || translator.find(`tasks.label.${task}`, task);
}

/** What a task is for; may be empty. */
export function taskDescription(
  { appTasks, translator, loaded }: Pick<Store, "appTasks" | "translator" | "loaded">,
  task: string,
): string {
  const named = appTasks?.find((other) => other.task === task);
  if (named) return named.description ?? "";
  const known = loaded.tasks.find((other) => other.task === task)?.description ?? "";
  return translator.find(`tasks.about.${task}`, known);
}

/** The tasks that the app passes: an array of names or objects, or an object of labels by name. Others are dropped. */
export function readTasks(value: unknown): AppTask[] | null {
  if (value === null || value === undefined) return null;
  const entries: unknown[] = Array.isArray(value)
    ? value
    : Object.entries(value).map(([task, label]) => ({ task, label: String(label) }));
  return entries
    .map((entry) => (typeof entry === "string" ? { task: entry } : (entry as AppTask)))
    .filter((entry) => typeof entry?.task === "string" && isTaskName(entry.task));
}

/** Whether the database accepts the name: 1 to 64 characters, no control characters. */
export function isTaskName(name: string): boolean {
  const length = [...name].length;
  return length >= 1 && length <= 64 && !/[\p{Cc}]/u.test(name);
}
