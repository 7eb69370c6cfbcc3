-- Default grants of projects created since 2026, whose Data API does not expose new objects in `public`. Like the
-- dashboard, this revokes only the privileges that the API uses: TRUNCATE, REFERENCES and TRIGGER stay granted, and
-- functions stay executable through PUBLIC.

alter default privileges for role postgres in schema public
  revoke select, insert, update, delete on tables from anon, authenticated, service_role;
alter default privileges for role postgres in schema public
  revoke execute on functions from anon, authenticated, service_role;
alter default privileges for role postgres in schema public
  revoke usage, select on sequences from anon, authenticated, service_role;
