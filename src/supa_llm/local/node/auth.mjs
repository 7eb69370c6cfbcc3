// Supabase Auth, as Supabase Lite implements it, on the stack's PostgreSQL.

import { App } from "@supabase/lite";
import { createPostgresConnection } from "@supabase/lite/postgres";
import { getRequestListener } from "@hono/node-server";

const TIMESTAMPTZ = 1184;

export async function createAuth({ databaseUrl, jwtSecret, auth, authFunctions }) {
  const connection = createPostgresConnection({
    url: databaseUrl,
    postgresOptions: {
      max: 10,
      onnotice: () => {},
      types: {
        // Lite hands out PostgreSQL's own format, which the Python client cannot parse.
        tstz: {
          to: TIMESTAMPTZ,
          from: [TIMESTAMPTZ],
          serialize: (value) => (value instanceof Date ? value.toISOString() : value),
          parse: (text) => new Date(text).toISOString(),
        },
      },
    },
  });
  const app = new App({
    connection,
    auth: { ...auth, enabled: true, jwt_secret: jwtSecret },
    // The Supabase CLI keeps the history of migrations.
    db: { migrations: { enabled: false } },
    options: {
      // The gate has looked at the API key already.
      server: { apiKeys: false, disableStudio: true },
    },
  });
  // Lite would try to create the schema, which its role may not, and put functions in it that read nothing that
  // PostgREST sets. The schema is there, and the functions are the hosted ones.
  connection.config.baseSchema = "";
  await app.init();
  connection.config.baseSchema = connection.config.baseSchema.replace(/CREATE SCHEMA IF NOT EXISTS auth;/g, "");
  await app.ensureSystemSchema();
  await connection.driver.unsafe(authFunctions);
  // It counts failures as success, so make sure that sign-ups have a table to go to.
  await connection.driver.unsafe("select id from auth.users limit 0");
  return {
    listener: getRequestListener((request) => app.fetch(request)),
    close: () => connection.close(),
  };
}
