// Supabase Auth's endpoints for administrators of users, which Lite lacks: create, list, get, update and delete users.
// Behavior and codes equal those of hosted projects; what is not here is refused with `not_implemented`.

import { randomUUID } from "node:crypto";

// Lite hashes passwords with it too.
import bcrypt from "bcryptjs";

import { send } from "./gate.mjs";

const FIELDS = ["id", "email", "password", "email_confirm", "user_metadata", "app_metadata", "ban_duration", "role"];
const MOST_BYTES = 1_000_000;
const DURATION = /^(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?$/;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

class Refusal extends Error {
  constructor(status, code, message, extra = {}) {
    super(message);
    this.status = status;
    this.body = { code: status, error_code: code, msg: message, ...extra };
  }
}

export function createAdmin({ sql, auth }) {
  const shortest = auth.minimum_password_length ?? 6;

  async function route(request, url) {
    const [, id, below] = url.pathname.match(/^\/auth\/v1\/admin\/users(?:\/([^/]+))?(\/.*)?$/) ?? [];
    const method = `${request.method} ${id === undefined ? "users" : "user"}`;
    if (below !== undefined || !url.pathname.startsWith("/auth/v1/admin/users")) throw notImplemented();
    if (id !== undefined && !UUID.test(id)) {
      throw new Refusal(404, "validation_failed", "user_id must be an UUID");
    }
    switch (method) {
      case "GET users":
        return list(url.searchParams);
      case "POST users":
        return { body: await create(await fieldsOf(request)) };
      case "GET user":
        return { body: await find(id) };
      case "PUT user":
        return { body: await update(id, await fieldsOf(request)) };
      case "DELETE user":
        return { body: await remove(id, await bodyOf(request)) };
      default:
        throw new Refusal(405, "method_not_allowed", "Method not allowed");
    }
  }

  async function list(parameters) {
    const page = Math.max(1, Number(parameters.get("page")) || 1);
    const size = Math.min(1000, Math.max(1, Number(parameters.get("per_page")) || 50));
    const [{ total }] = await sql`select count(*)::int as total from auth.users where deleted_at is null`;
    const rows = await sql`
      select * from auth.users where deleted_at is null
      order by created_at desc, id limit ${size} offset ${(page - 1) * size}`;
    const body = { users: await Promise.all(rows.map(shown)), aud: "authenticated" };
    return { body, headers: { "x-total-count": String(total) } };
  }

  async function find(id) {
    const [row] = await sql`select * from auth.users where id = ${id} and deleted_at is null`;
    if (!row) throw new Refusal(404, "user_not_found", "User not found");
    return shown(row);
  }

  async function create(fields) {
    if (!fields.email) {
      throw new Refusal(400, "validation_failed", "Cannot create a user without either an email or phone");
    }
    const id = fields.id ?? randomUUID();
    const now = new Date();
    const email = fields.email.toLowerCase();
    await requireUnused(email, id);
    const row = {
      id,
      aud: "authenticated",
      role: fields.role ?? "authenticated",
      email,
      encrypted_password: fields.password === undefined ? null : await hashed(fields.password),
      email_confirmed_at: fields.email_confirm ? now : null,
      raw_app_meta_data: sql.json({ provider: "email", providers: ["email"], ...fields.app_metadata }),
      raw_user_meta_data: sql.json({ ...fields.user_metadata }),
      banned_until: bannedUntil(fields.ban_duration),
      is_sso_user: false,
      is_anonymous: false,
      created_at: now,
      updated_at: now,
    };
    const identity = {
      id: randomUUID(),
      provider: "email",
      provider_id: id,
      user_id: id,
      identity_data: sql.json({ sub: id, email, email_verified: false, phone_verified: false }),
      created_at: now,
      updated_at: now,
    };
    await sql.begin(async (transaction) => {
      await transaction`insert into auth.users ${transaction(row)}`;
      await transaction`insert into auth.identities ${transaction(identity)}`;
    });
    return find(id);
  }

  async function update(id, fields) {
    const user = await find(id);
    if (fields.id !== undefined) throw unsupported("id");
    const now = new Date();
    const row = { updated_at: now };
    if (fields.email !== undefined) {
      row.email = fields.email.toLowerCase();
      await requireUnused(row.email, id);
    }
    if (fields.password !== undefined) row.encrypted_password = await hashed(fields.password);
    if (fields.email_confirm) row.email_confirmed_at = now;
    if (fields.role !== undefined) row.role = fields.role;
    if (fields.ban_duration !== undefined) row.banned_until = bannedUntil(fields.ban_duration);
    for (const name of ["app", "user"]) {
      const changes = fields[`${name}_metadata`];
      if (changes) row[`raw_${name}_meta_data`] = sql.json(merged(user[`${name}_metadata`], changes));
    }
    await sql`update auth.users set ${sql(row)} where id = ${id}`;
    if (row.email) {
      await sql`
        update auth.identities set identity_data = ${sql.json({ sub: id, email: row.email })}, updated_at = ${now}
        where user_id = ${id} and provider = 'email'`;
    }
    return find(id);
  }

  async function remove(id, body) {
    if (body.should_soft_delete) throw notImplemented();
    await find(id);
    await sql.begin(async (transaction) => {
      for (const table of ["refresh_tokens", "sessions", "identities"]) {
        await transaction`delete from ${transaction(`auth.${table}`)} where user_id = ${id}`;
      }
      await transaction`delete from auth.users where id = ${id}`;
    });
    return {};
  }

  async function requireUnused(email, id) {
    const [other] = await sql`select id from auth.users where lower(email) = ${email} and id <> ${id}`;
    if (other) {
      throw new Refusal(422, "email_exists", "A user with this email address has already been registered");
    }
  }

  async function hashed(password) {
    if (password.length < shortest) {
      const message = `Password should be at least ${shortest} characters.`;
      throw new Refusal(422, "weak_password", message, { weak_password: { reasons: ["length"] } });
    }
    return bcrypt.hash(password, 10);
  }

  async function shown(row) {
    const identities = await sql`select * from auth.identities where user_id = ${row.id} order by created_at`;
    return {
      id: row.id,
      aud: row.aud,
      role: row.role,
      email: row.email ?? "",
      phone: row.phone ?? "",
      email_confirmed_at: row.email_confirmed_at ?? undefined,
      confirmed_at: row.confirmed_at ?? undefined,
      last_sign_in_at: row.last_sign_in_at ?? undefined,
      banned_until: row.banned_until ?? undefined,
      app_metadata: parsed(row.raw_app_meta_data),
      user_metadata: parsed(row.raw_user_meta_data),
      identities: identities.map((it) => ({
        identity_id: it.id,
        id: it.provider_id,
        user_id: it.user_id,
        identity_data: parsed(it.identity_data),
        provider: it.provider,
        last_sign_in_at: it.last_sign_in_at ?? undefined,
        created_at: it.created_at,
        updated_at: it.updated_at,
      })),
      created_at: row.created_at,
      updated_at: row.updated_at,
      is_anonymous: row.is_anonymous,
    };
  }

  return async function admin(request, response) {
    try {
      const { body, headers } = await route(request, new URL(request.url, "http://localhost"));
      send(response, 200, body, headers);
    } catch (error) {
      if (error instanceof Refusal) return send(response, error.status, error.body);
      console.error(`Error: ${error.message}`);
      send(response, 500, { code: 500, error_code: "unexpected_failure", msg: "Database error" });
    }
  };
}

function notImplemented() {
  return new Refusal(501, "not_implemented", "The local stack has no such endpoint for administrators");
}

function unsupported(name) {
  return new Refusal(400, "validation_failed", `The local stack does not support the field ${name} here`);
}

async function fieldsOf(request) {
  const fields = await bodyOf(request);
  for (const [name, value] of Object.entries(fields)) {
    if (value === null) delete fields[name];
    else if (!FIELDS.includes(name)) throw unsupported(name);
    else if (!wellFormed(name, value)) throw new Refusal(400, "validation_failed", `The field ${name} is invalid`);
  }
  return fields;
}

function wellFormed(name, value) {
  if (name.endsWith("_metadata")) return typeof value === "object" && !Array.isArray(value);
  if (name === "email_confirm") return typeof value === "boolean";
  if (name === "id") return UUID.test(value);
  return typeof value === "string" && (name !== "email" || /^[^@\s]+@[^@\s]+$/.test(value));
}

async function bodyOf(request) {
  const pieces = [];
  let size = 0;
  for await (const piece of request) {
    pieces.push(piece);
    size += piece.length;
    if (size > MOST_BYTES) throw new Refusal(413, "bad_json", "The request is too long");
  }
  try {
    const body = JSON.parse(Buffer.concat(pieces).toString() || "{}");
    if (body !== null && typeof body === "object" && !Array.isArray(body)) return body;
  } catch {}
  throw new Refusal(400, "bad_json", "Could not parse request body as JSON");
}

function bannedUntil(duration) {
  if (duration === undefined || duration === "none") return null;
  const [, hours = 0, minutes = 0, seconds = 0] = duration.match(DURATION) ?? [];
  const total = Number(hours) * 3600 + Number(minutes) * 60 + Number(seconds);
  if (!total) throw new Refusal(400, "validation_failed", "invalid format for ban duration, such as 24h");
  return new Date(Date.now() + total * 1000);
}

// Lite stores JSON as text in a jsonb column.
function parsed(value) {
  return typeof value === "string" ? JSON.parse(value) : (value ?? {});
}

// A field that is null is removed.
function merged(old, changes) {
  return Object.fromEntries(Object.entries({ ...old, ...changes }).filter(([, value]) => value !== null));
}
