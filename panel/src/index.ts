/** The settings panel of supa-llm. Importing this module defines the element `<supa-llm-settings>`. */

export { SupaLlmSettings } from "./element.js";
export type { SupabaseClientLike } from "./backend.js";
export type { TextName, Texts } from "./texts/index.js";
export type { AppTask } from "./views/tasks/names.js";
