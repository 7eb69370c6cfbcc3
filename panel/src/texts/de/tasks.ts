import type { tasks as english } from "../en/tasks.js";

export const tasks: Record<keyof typeof english, string> = {};
