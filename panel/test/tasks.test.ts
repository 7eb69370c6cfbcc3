import { describe, expect, it } from "vitest";
import { de } from "../src/texts/de.js";
import { Translator } from "../src/texts/index.js";
import { isTaskName, readTasks, taskLabel, taskNames } from "../src/views/tasks/names.js";
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
    expect(taskNames({ appTasks: null, loaded: { tasks, draft } })).toEqual([
      "speed",
      "code",
      "ape",
      "zebra",
    ]);
    const appTasks = [{ task: "code" }, { task: "summary", label: "Summaries" }];
    expect(taskNames({ appTasks, loaded: { tasks, draft } })).toEqual(["code", "summary", "ape", "zebra"]);
  });

  it("calls a task what the app calls it, or what the catalog's task is in the user's language", () => {
    const appTasks = readTasks([{ task: "summary", label: "Summaries" }, "plain"]);
    const translator = new Translator("de", de);
    const labels = ["summary", "plain", "speed"].map((task) => taskLabel({ appTasks, translator }, task));
    expect(labels).toEqual(["Summaries", "plain", "Schnelle Antworten"]);
  });

  it("reads labels by name, and drops what is no task", () => {
    expect(readTasks({ summary: "Summaries" })).toEqual([{ task: "summary", label: "Summaries" }]);
    expect(readTasks(["a", "", 7, null, { label: "x" }])).toEqual([{ task: "a" }]);
    expect([readTasks(null), readTasks([])]).toEqual([null, []]);
  });

  it("moves a fallback and keeps the others in order", () => {
    expect(moveItem(["a", "b", "c"], 2, 0)).toEqual(["c", "a", "b"]);
    expect(moveItem(["a", "b", "c"], 0, 1)).toEqual(["b", "a", "c"]);
  });
});
