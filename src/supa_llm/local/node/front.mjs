// The front of the local stack: serves Supabase Auth at /auth/v1, forwards /rest/v1 to PostgREST, and checks API
// keys like Supabase's gateway. Usage: node front.mjs <settings.json>

import { readFileSync } from "node:fs";
import { createServer } from "node:http";

import { createAdmin } from "./admin.mjs";
import { createAuth } from "./auth.mjs";
import { createGate } from "./gate.mjs";
import { createRest } from "./rest.mjs";

// One line, because `supa-llm local up` shows one line of a failed start. Once the front serves requests, the error
// of one request must not end the others.
let serving = false;
process.on("uncaughtException", (error) => {
  console.error(`Error: ${error.message}`);
  if (!serving) process.exit(1);
});

const settings = JSON.parse(readFileSync(process.argv[2], "utf8"));
const auth = await createAuth(settings);
const admin = createAdmin({ sql: auth.sql, auth: settings.auth });
const rest = createRest(settings);
const gate = createGate(settings);

const server = createServer((request, response) => {
  const [path] = request.url.split("?", 1);
  if (path.startsWith("/rest/v1/") || path === "/rest/v1") gate.rest(request, response, rest);
  else if (path === "/auth/v1/.well-known/jwks.json") gate.jwks(request, response);
  else if (path.startsWith("/auth/v1/admin/")) gate.admin(request, response, admin);
  else if (path.startsWith("/auth/v1/")) gate.auth(request, response, auth.listener);
  else gate.notFound(request, response);
});

// Longer than any client keeps an idle connection, so that the client closes it.
server.keepAliveTimeout = 75_000;
// statement_timeout ends long requests.
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
