import type { activity as english } from "../en/activity.js";

export const activity: Record<keyof typeof english, string> = {};
