import type { providers as english } from "../en/providers.js";

export const providers: Record<keyof typeof english, string> = {};
