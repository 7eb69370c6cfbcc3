/** English, the reference for all other languages. */

import { activity } from "./en/activity.js";
import { order } from "./en/order.js";
import { providers } from "./en/providers.js";
import { shell } from "./en/shell.js";
import { tasks } from "./en/tasks.js";
import { usage } from "./en/usage.js";

export const en = { ...shell, ...providers, ...order, ...tasks, ...usage, ...activity };
