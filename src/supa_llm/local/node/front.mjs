// The front of the local stack: /auth/v1 is Supabase Auth, /rest/v1 goes to PostgREST, and API keys are treated
// as Supabase's gateway treats them. Usage: node front.mjs <settings.json>

import { readFileSync } from "node:fs";
import { createServer } from "node:http";

import { createAuth } from "./auth.mjs";
import { createGate } from "./gate.mjs";
import { createRest } from "./rest.mjs";

// One line, because that is what `supa-llm local up` shows of a start that failed. Once it serves, one request's
// error must not end the others.
let serving = false;
process.on("uncaughtException", (error) => {
  console.error(`Error: ${error.message}`);
  if (!serving) process.exit(1);
});

const settings = JSON.parse(readFileSync(process.argv[2], "utf8"));
const auth = await createAuth(settings);
const rest = createRest(settings);
const gate = createGate(settings);

const server = createServer((request, response) => {
  const [path] = request.url.split("?", 1);
  if (path.startsWith("/rest/v1/") || path === "/rest/v1") gate.rest(request, response, rest);
  else if (path === "/auth/v1/.well-known/jwks.json") gate.jwks(request, response);
  else if (path.startsWith("/auth/v1/")) gate.auth(request, response, auth.listener);
  else gate.notFound(request, response);
});

// Longer than any client keeps an idle connection for, so that it is the client who closes it.
server.keepAliveTimeout = 75_000;
// A request that runs long is ended by statement_timeout, not here.
server.requestTimeout = 0;
server.listen({ host: "127.0.0.1", port: settings.port }, () => {
  serving = true;
});

process.once("SIGTERM", () => {
  server.close(async () => {
    await auth.close();
    process.exit(0);
  });
  server.closeIdleConnections();
  setTimeout(() => process.exit(0), 2_000).unref();
});
