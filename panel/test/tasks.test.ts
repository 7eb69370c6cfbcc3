import { describe, expect, it } from "vitest";
import { isTaskName, taskNames } from "../src/views/tasks/names.js";
import { moveItem } from "../src/views/move-item.js";
import type { Preferences, Task } from "../src/types.js";

describe("tasks", () => {
  it("accepts the same names as the database", () => {
    expect(["a", "__proto__", "täglich 🙂", "x".repeat(64)].every(isTaskName)).toBe(true);
    expect(["", "x".repeat(65), "two\nlines", "tab\t", "\u0085"].some(isTaskName)).toBe(false);
    expect(isTaskName("🙂".repeat(64))).toBe(true); // the database counts characters
  });

  it("lists known tasks first, then the user's own", () => {
    const tasks = [{ task: "speed" }, { task: "code" }] as Task[];
    const own = { provider: "groq" };
    const draft = {
      task_overrides: { zebra: own, code: own, ape: own },
    } as Partial<Preferences> as Preferences;
    expect(taskNames({ tasks, draft })).toEqual(["speed", "code", "ape", "zebra"]);
  });

  it("moves a fallback and keeps the others in order", () => {
    expect(moveItem(["a", "b", "c"], 2, 0)).toEqual(["c", "a", "b"]);
    expect(moveItem(["a", "b", "c"], 0, 1)).toEqual(["b", "a", "c"]);
  });
});
