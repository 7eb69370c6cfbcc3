import { expect, test, vi } from "vitest";
import { Backend, type SupabaseClientLike } from "../src/backend.js";

function answering(...data: object[]) {
  const rpc = vi.fn(async () => ({
    data: data.length > 1 ? data.shift() : data[0],
    error: null,
    status: 200,
  }));
  return { rpc, backend: new Backend({ rpc } as unknown as SupabaseClientLike) };
}

test("a reveal asks again until the record of it is committed", async () => {
  const { rpc, backend } = answering({ again: true }, { key: "gsk_made_up" });
  expect(await backend.revealKey("groq")).toBe("gsk_made_up");
  expect(rpc.mock.calls).toEqual([
    ["reveal_llm_key", { p_provider: "groq" }],
    ["reveal_llm_key", { p_provider: "groq" }],
  ]);
});

test("a reveal gives up after three calls without a key", async () => {
  const { rpc, backend } = answering({ again: true });
  await expect(backend.revealKey("groq")).rejects.toMatchObject({ code: "unavailable" });
  expect(rpc).toHaveBeenCalledTimes(3);
});
