import type { usage as english } from "../en/usage.js";

export const usage: Record<keyof typeof english, string> = {};
