// Runs Supabase Auth, as implemented by Supabase Lite, on the stack's PostgreSQL.

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
        // Lite returns PostgreSQL's time format, which the Python client cannot parse.
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
      // The gate has already checked the API key.
      server: { apiKeys: false, disableStudio: true },
    },
  });
  // Lite would create the schema, which its role may not do, with functions that do not read PostgREST's settings.
  // The schema exists already, with the functions of hosted projects.
  connection.config.baseSchema = "";
  await app.init();
  connection.config.baseSchema = connection.config.baseSchema.replace(/CREATE SCHEMA IF NOT EXISTS auth;/g, "");
  await app.ensureSystemSchema();
  await connection.driver.unsafe(authFunctions);
  // Lite ignores failed statements, so check that the table for sign-ups exists.
  await connection.driver.unsafe("select id from auth.users limit 0");
  return {
    listener: getRequestListener((request) => app.fetch(request)),
    sql: connection.driver,
    close: () => connection.close(),
  };
}
