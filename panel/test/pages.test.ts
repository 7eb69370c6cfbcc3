import { expect, test, vi } from "vitest";
import { Pages } from "../src/views/pages.js";

/** A log of this many numbers, newest first. */
function log(count: number) {
  const load = vi.fn(async (limit: number, last: number | undefined) => {
    const next = (last ?? count + 1) - 1;
    return Array.from({ length: Math.min(limit, next) }, (_, index) => next - index);
  });
  return { load, pages: new Pages<number>(() => {}, load) };
}

test("pages turn forward and back, and load rows once", async () => {
  const { pages, load } = log(150);
  await pages.restart();
  expect([pages.shown[0], pages.shown.length, pages.hasNext]).toEqual([150, 20, true]);
  for (let turns = 0; turns < 7; turns++) await pages.turn(1);
  expect([pages.shown, pages.hasNext, pages.stopped]).toEqual([
    [10, 9, 8, 7, 6, 5, 4, 3, 2, 1],
    false,
    false,
  ]);
  await pages.turn(-1);
  expect(pages.shown[0]).toBe(30);
  expect(load).toHaveBeenCalledTimes(2);
});

test("a filter loads as many rows as it needs, and no more", async () => {
  const { pages, load } = log(1000);
  await pages.restart();
  await pages.filterBy((row) => row % 10 === 0);
  expect(pages.shown[0]).toBe(1000);
  expect([pages.shown.length, pages.hasNext, load.mock.calls.length]).toEqual([20, true, 3]);
});

test("the search for a rare row stops, and goes on when asked", async () => {
  const { pages } = log(1500);
  await pages.filterBy((row) => row === 7);
  expect([pages.shown, pages.stopped]).toEqual([[], true]);
  await pages.more();
  expect([pages.shown, pages.stopped]).toEqual([[7], false]);
});

test("an empty log is empty, and a failed load can be repeated", async () => {
  const { pages, load } = log(0);
  expect(pages.empty).toBe(null);
  load.mockRejectedValueOnce(new Error("offline"));
  await pages.restart();
  expect([pages.error !== null, pages.loaded]).toEqual([true, false]);
  await pages.restart();
  expect([pages.error, pages.empty]).toEqual([null, true]);
});

test("an answer to an earlier filter changes nothing", async () => {
  const { pages, load } = log(300);
  await pages.restart();
  let answer = (_: number[]) => {};
  load.mockImplementationOnce(() => new Promise((resolve) => (answer = resolve)));
  const rare = pages.filterBy((row) => row === 1);
  await pages.filterBy(() => true);
  answer([999]);
  await rare;
  expect([pages.rows.length, pages.shown[0]]).toEqual([100, 300]);
});
