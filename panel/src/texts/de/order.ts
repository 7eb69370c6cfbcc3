import type { order as english } from "../en/order.js";

export const order: Record<keyof typeof english, string> = {};
