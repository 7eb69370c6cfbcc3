/** Task names. */

import type { Loaded } from "../../store.js";

/** The app's tasks, then the user's own, sorted. */
export function taskNames({ tasks, draft }: Pick<Loaded, "tasks" | "draft">): string[] {
  const known = tasks.map(({ task }) => task);
  const own = Object.keys(draft.task_overrides).filter((task) => !known.includes(task));
  return [...known, ...own.sort((a, b) => a.localeCompare(b))];
}

/** Whether the database accepts the name: 1 to 64 characters, no control characters. */
export function isTaskName(name: string): boolean {
  const length = [...name].length;
  return length >= 1 && length <= 64 && !/[\p{Cc}]/u.test(name);
}
