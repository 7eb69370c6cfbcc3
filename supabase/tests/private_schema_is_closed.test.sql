-- Ciphertext, the master keys' addresses, runtimes and quotas are in llm_private, which no API role can read.
begin;
select plan(32);

select is_empty(
  $$
  select c.oid::regclass, a.grantee, a.privilege_type
  from pg_class as c
  cross join lateral aclexplode(c.relacl) as a
  where c.relnamespace = 'llm_private'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
    and a.grantee <> c.relowner
    and (a.grantee = 0 or a.grantee::regrole::text in ('anon', 'authenticated', 'service_role', 'authenticator'))
  $$,
  'no table, view or sequence in llm_private is granted to an API role'
);
select is_empty(
  $$
  select a.attrelid::regclass, a.attname
  from pg_attribute as a
  inner join pg_class as c on c.oid = a.attrelid
  where c.relnamespace = 'llm_private'::regnamespace and a.attacl is not null
  $$,
  'no column is either'
);
select set_eq(
  $$
  select case a.grantee when 0 then 'public' else a.grantee::regrole::text end || ' ' || a.privilege_type
  from pg_namespace as n
  cross join lateral aclexplode(n.nspacl) as a
  where n.nspname = 'llm_private' and a.grantee <> n.nspowner
  $$,
  array['anon USAGE', 'authenticated USAGE', 'service_role USAGE', 'llm_definer USAGE'],
  'API roles and helpers can call granted functions in the schema, and create nothing in it'
);
select is_empty(
  $$
  select s.setconfig from pg_db_role_setting as s
  where array_to_string(s.setconfig, ' ') ~ 'pgrst\.db_schemas=\S*llm_private'
  $$,
  'PostgREST is not set to expose it'
);
select is_empty(
  $$
  select from pg_publication_tables as p
  where p.schemaname = 'llm_private' and p.tablename in ('key_secrets', 'key_owners', 'master_keys', 'ticket_keys', 'runtimes')
  $$,
  'Realtime does not publish its secrets'
);

set local role authenticated;
set local "request.jwt.claims" = '{"sub": "ada00000-0000-4000-8000-000000000001", "role": "authenticated"}';
select throws_ok(format('select from llm_private.%I', t.name), '42501', null, format('a user cannot read %s', t.name))
from unnest(array[
  'key_secrets', 'key_owners', 'master_keys', 'ticket_keys', 'runtimes', 'leases', 'key_reveals', 'quotas',
  'operator_settings'
]) as t (name);
set local role service_role;
set local "request.jwt.claims" = '{"role": "service_role"}';
select
  throws_ok(
    format('select from llm_private.%I', t.name), '42501', null, format('an administrator cannot read %s', t.name)
  )
from unnest(array[
  'key_secrets', 'key_owners', 'master_keys', 'ticket_keys', 'runtimes', 'leases', 'key_reveals', 'quotas',
  'operator_settings'
]) as t (name);
set local role anon;
set local "request.jwt.claims" = '';
select
  throws_ok(
    format('select from llm_private.%I', t.name), '42501', null,
    format('a visitor cannot read %s', t.name)
  )
from unnest(array[
  'key_secrets', 'key_owners', 'master_keys', 'ticket_keys', 'runtimes', 'leases', 'key_reveals', 'quotas',
  'operator_settings'
]) as t (name);

select * from finish();
rollback;
