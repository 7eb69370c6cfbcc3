// Decides which requests pass, and with which role. Every request needs an API key; Authorization may add a user's
// token. Responses and codes equal those of Supabase's hosted gateway.

import { createHmac } from "node:crypto";

const BROWSER = /^\s*Mozilla\s*\/\s*5\s*\.\s*0/i;

// A browser follows links in emails and redirects of OAuth providers, and has no API key to send.
const KEYLESS = [
  /^\/auth\/v1\/(callback|authorize|verify)$/,
  /^\/auth\/v1\/oauth\//,
  /^\/auth\/v1\/sso\/saml\//,
  /^\/auth\/v1\/\.well-known\//,
];

// Hosted projects return the description of the whole API only to administrators.
const DESCRIPTION = /^\/rest\/v1\/*$/;

const TOKEN_SECONDS = 600;
const EXPOSED = [
  "Content-Encoding", "Content-Location", "Content-Range", "Content-Type", "Date", "Link", "Location",
  "Preference-Applied", "Range-Unit", "Server", "Transfer-Encoding", "X-Supabase-Api-Version", "X-Total-Count",
  "sb-error-code",
].join(", ");

export function createGate({ keys, jwtSecret, jwks }) {
  const known = new Map(Object.entries(keys));
  const token = tokenSource(jwtSecret);

  function admit(request, response) {
    const url = request.url;
    const fromHeader = request.headers.apikey;
    const fromQuery = fromHeader === undefined && url.includes("apikey=") ? takeQueryKey(request) : undefined;
    const key = fromHeader ?? fromQuery;
    if (!key) {
      refuse(response, "UNAUTHORIZED_MISSING_API_KEY", {
        message: "No API key found in request",
        hint: "No `apikey` request header or url param was found.",
      });
      return null;
    }
    const entry = known.get(key);
    if (entry === undefined) {
      refuse(response, "UNAUTHORIZED_INVALID_API_KEY", {
        message: "Invalid API key",
        hint: "Double check your Supabase `anon` or `service_role` API key.",
      });
      return null;
    }
    if (entry.kind === "secret" && BROWSER.test(request.headers["user-agent"] ?? "")) {
      refuse(response, "UNAUTHORIZED_INVALID_API_KEY_TYPE", {
        message: "Forbidden use of secret API key in browser",
        hint: "Secret API keys can only be used in a protected environment and should never be used in a browser.",
      });
      return null;
    }
    return { key, ...entry };
  }

  return {
    rest(request, response, forward) {
      if (request.method === "OPTIONS") return preflight(request, response);
      const caller = admit(request, response);
      if (!caller) return;
      const [path] = request.url.split("?", 1);
      if (DESCRIPTION.test(path) && caller.role !== "service_role") {
        allowOrigin(response);
        return send(response, 403, { message: "You cannot consume this service" });
      }
      const bearer = bearerOf(request);
      // PostgREST cannot verify an API key, so it is replaced by a token. Any other Authorization is forwarded
      // unchanged for PostgREST to check.
      if (bearer === undefined || bearer === caller.key) {
        request.headers.authorization = `Bearer ${caller.kind === "legacy" ? caller.key : token(caller.role)}`;
      }
      delete request.headers.apikey;
      allowOrigin(response);
      forward(request, response);
    },

    auth(request, response, listener) {
      if (request.method === "OPTIONS") return preflight(request, response);
      const [path] = request.url.split("?", 1);
      if (!KEYLESS.some((pattern) => pattern.test(path))) {
        const caller = admit(request, response);
        if (!caller) return;
        if (bearerOf(request) === caller.key) drop(request, "authorization");
      }
      drop(request, "apikey");
      allowOrigin(response);
      listener(request, response);
    },

    admin(request, response, handle) {
      if (request.method === "OPTIONS") return preflight(request, response);
      const caller = admit(request, response);
      if (!caller) return;
      // The token decides, as in Supabase Auth. An administrator's is the key itself.
      const bearer = bearerOf(request);
      const { role } = bearer === undefined ? caller : (known.get(bearer) ?? {});
      allowOrigin(response);
      if (role !== "service_role") {
        return send(response, 403, { code: 403, error_code: "not_admin", msg: "User not allowed" });
      }
      handle(request, response);
    },

    jwks(request, response) {
      if (request.method === "OPTIONS") return preflight(request, response);
      allowOrigin(response);
      send(response, 200, jwks, { "cache-control": "public, max-age=600" });
    },

    notFound(request, response) {
      if (request.method === "OPTIONS") return preflight(request, response);
      allowOrigin(response);
      send(response, 404, { error: "requested path is invalid" });
    },
  };
}

export function send(response, status, body, headers = {}) {
  const text = JSON.stringify(body);
  response.writeHead(status, {
    "content-type": "application/json; charset=utf-8",
    "content-length": Buffer.byteLength(text),
    ...headers,
  });
  response.end(text);
}

function refuse(response, code, body) {
  allowOrigin(response);
  send(response, 401, body, { "sb-error-code": code });
}

function bearerOf(request) {
  return request.headers.authorization?.match(/^Bearer\s+(\S+)\s*$/i)?.[1] ?? request.headers.authorization;
}

// Removes the key from the URL: PostgREST would read it as a filter, and URLs end up in logs. Keys have no characters
// that a URL escapes, so they are compared unescaped.
function takeQueryKey(request) {
  const [path, query = ""] = splitOnce(request.url, "?");
  const kept = [];
  let key;
  for (const part of query.split("&")) {
    if (part.startsWith("apikey=")) key ??= part.slice("apikey=".length);
    else kept.push(part);
  }
  request.url = kept.length ? `${path}?${kept.join("&")}` : path;
  return key;
}

function splitOnce(text, mark) {
  const at = text.indexOf(mark);
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + 1)];
}

// The auth service reads the raw headers, so both forms must change.
function drop(request, name) {
  delete request.headers[name];
  const raw = request.rawHeaders;
  for (let i = raw.length - 2; i >= 0; i -= 2) if (raw[i].toLowerCase() === name) raw.splice(i, 2);
}

function allowOrigin(response) {
  response.setHeader("access-control-allow-origin", "*");
  response.setHeader("access-control-expose-headers", EXPOSED);
}

function preflight(request, response) {
  const requested = request.headers["access-control-request-headers"];
  response.writeHead(204, {
    "access-control-allow-origin": "*",
    "access-control-allow-methods": "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
    "access-control-allow-headers": requested ?? "authorization, apikey, content-type, x-client-info",
    "access-control-max-age": "86400",
    vary: "Access-Control-Request-Headers",
  });
  response.end();
}

// Signs short-lived tokens for the roles of API keys, at most one every few minutes.
function tokenSource(secret) {
  const made = new Map();
  return (role) => {
    const now = Math.floor(Date.now() / 1000);
    const last = made.get(role);
    if (last && last.expires - now > TOKEN_SECONDS / 2) return last.text;
    const expires = now + TOKEN_SECONDS;
    const body = [{ alg: "HS256", typ: "JWT" }, { iss: "supabase", role, iat: now, exp: expires }]
      .map((part) => Buffer.from(JSON.stringify(part)).toString("base64url"))
      .join(".");
    const text = `${body}.${createHmac("sha256", secret).update(body).digest("base64url")}`;
    made.set(role, { text, expires });
    return text;
  };
}
