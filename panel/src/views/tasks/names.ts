/** The tasks that the panel shows. */

import type { Loaded } from "../../store.js";

/** The known tasks, then those that the user named, by name. */
export function taskNames({ tasks, draft }: Pick<Loaded, "tasks" | "draft">): string[] {
  const known = tasks.map(({ task }) => task);
  const own = Object.keys(draft.task_overrides).filter((task) => !known.includes(task));
  return [...known, ...own.sort((a, b) => a.localeCompare(b))];
}

/** Whether the database takes it: 1 to 64 characters, none of them a control character. */
export function isTaskName(name: string): boolean {
  const length = [...name].length;
  return length >= 1 && length <= 64 && !/[\p{Cc}]/u.test(name);
}
