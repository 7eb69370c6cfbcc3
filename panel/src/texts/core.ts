/** The English texts that load with the page. A tab that loads later brings its own. */

import { order } from "./en/order.js";
import { providers } from "./en/providers.js";
import { shell } from "./en/shell.js";
import { tasks } from "./en/tasks.js";

export const core = { ...shell, ...providers, ...order, ...tasks };
