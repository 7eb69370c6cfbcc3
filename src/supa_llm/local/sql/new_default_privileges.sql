-- Default grants of a project made since 2026, where new objects in `public` are not exposed to the Data API.
-- Only what the API could use is withdrawn, as by the dashboard: TRUNCATE, REFERENCES and TRIGGER stay granted, and
-- functions stay executable through PUBLIC.

alter default privileges for role postgres in schema public
  revoke select, insert, update, delete on tables from anon, authenticated, service_role;
alter default privileges for role postgres in schema public
  revoke execute on functions from anon, authenticated, service_role;
alter default privileges for role postgres in schema public
  revoke usage, select on sequences from anon, authenticated, service_role;
