/** English, the reference for all other languages. */

import { core } from "./core.js";
import { activity } from "./en/activity.js";
import { team } from "./en/team.js";
import { usage } from "./en/usage.js";

export const en = { ...core, ...team, ...usage, ...activity };
