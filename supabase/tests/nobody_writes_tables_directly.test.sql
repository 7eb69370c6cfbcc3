-- Every change goes through a function that checks it. The API's roles can only read the tables.
begin;
select plan(13);

insert into auth.users (id, email) values ('ada00000-0000-4000-8000-000000000001', 'ada@policies.test');
insert into public.user_llm_settings (user_id) values ('ada00000-0000-4000-8000-000000000001');

set local role authenticated;
set local "request.jwt.claims" = '{"sub": "ada00000-0000-4000-8000-000000000001", "role": "authenticated"}';
select throws_ok(
  'update public.user_llm_settings set allow_operator_keys = true', '42501', null, 'Ada cannot update her settings'
);
select throws_ok('delete from public.user_llm_settings', '42501', null, 'Ada cannot delete her settings');
select throws_ok(
  $$
  insert into public.llm_keys (owner_id, provider, hint)
  values ('ada00000-0000-4000-8000-000000000001', 'openai', 'x')
  $$,
  '42501', null, 'Ada cannot insert a key'
);
select throws_ok(
  $$insert into public.llm_prices (provider, model, source, rates) values ('openai', 'gpt', 'operator', '{}')$$,
  '42501', null, 'Ada cannot insert a price'
);
select throws_ok(
  'update public.llm_providers set base_url = base_url', '42501', null,
  'Ada cannot redirect a provider'
);

-- A secret key is an administrator's, and does not bypass the functions either.
set local role service_role;
set local "request.jwt.claims" = '{"role": "service_role"}';
select throws_ok('update public.llm_providers set base_url = base_url', '42501', null, 'neither can a secret key');
select throws_ok('delete from public.llm_keys', '42501', null, 'a secret key cannot delete keys');
select throws_ok('truncate public.llm_alerts', '42501', null, 'a secret key cannot truncate a table');

reset role;
create temporary view granted as
select
  c.relname as name,
  a.grantee,
  a.privilege_type as privilege
from pg_class as c
cross join lateral aclexplode(c.relacl) as a
where
  c.relnamespace = 'public'::regnamespace and a.grantee <> c.relowner
  and c.relname = any(array[
    'user_llm_settings', 'llm_keys', 'llm_audit_log', 'llm_alerts', 'llm_usage_events', 'llm_usage_totals',
    'llm_usage_adjustments', 'llm_prices', 'llm_providers', 'llm_tasks', 'llm_prices_id_seq', 'llm_usage_totals_id_seq'
  ]);

select results_eq(
  $$
  select count(*) from granted
  where grantee in ('authenticated'::regrole, 'service_role'::regrole) and privilege = 'SELECT'
  $$,
  array[20::bigint], 'users and administrators can read the ten tables'
);
select is_empty(
  $$
  select * from granted
  where grantee in ('authenticated'::regrole, 'service_role'::regrole) and privilege <> 'SELECT'
  $$,
  'neither has another privilege on a table or its sequence'
);
select is_empty($$select * from granted where grantee in (0, 'anon'::regrole)$$, 'visitors and PUBLIC have none');
select is_empty(
  $$
  select a.attrelid::regclass, a.attname
  from pg_attribute as a
  inner join pg_class as c on c.oid = a.attrelid
  inner join granted as g on g.name = c.relname
  where c.relnamespace = 'public'::regnamespace and a.attacl is not null
  $$,
  'no column has privileges of its own'
);
select is_empty(
  $$
  select t.tgrelid::regclass, t.tgname from pg_trigger as t
  inner join pg_proc as p on p.oid = t.tgfoid
  where p.pronamespace = 'llm_private'::regnamespace and t.tgrelid = 'auth.users'::regclass
  $$,
  'no trigger of supa-llm is on auth.users, where a failure would block sign-ups'
);

select * from finish();
rollback;
