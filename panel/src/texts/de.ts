/** German. */

import { activity } from "./de/activity.js";
import { order } from "./de/order.js";
import { providers } from "./de/providers.js";
import { shell } from "./de/shell.js";
import { tasks } from "./de/tasks.js";
import { team } from "./de/team.js";
import { usage } from "./de/usage.js";
import type { Texts } from "./index.js";

export const de: Texts = { ...shell, ...providers, ...order, ...tasks, ...usage, ...activity, ...team };
