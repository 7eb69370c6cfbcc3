-- Row level security: users read their own rows and what everyone shares, visitors read nothing.
begin;
select plan(43);

-- Ada and Ben use the same app.
insert into auth.users (id, email) values
('ada00000-0000-4000-8000-000000000001', 'ada@policies.test'),
('be200000-0000-4000-8000-000000000002', 'ben@policies.test');
insert into public.llm_providers (id, name, base_url, default_model)
values ('policies', 'Policies', 'https://policies.test', 'small');
insert into public.llm_tasks (task) values ('policies');
insert into public.llm_prices (provider, model, source, rates)
values ('policies', 'small', 'operator', '{"input": 1}');

-- Each of them has a row in every table.
insert into public.user_llm_settings (user_id) values
('ada00000-0000-4000-8000-000000000001'),
('be200000-0000-4000-8000-000000000002');
select
  llm_private.ensure_key_owner('ada00000-0000-4000-8000-000000000001', false) is null as ada,
  llm_private.ensure_key_owner('be200000-0000-4000-8000-000000000002', false) is null as ben;
insert into public.llm_keys (owner_id, provider, hint) values
('ada00000-0000-4000-8000-000000000001', 'policies', '…'),
('be200000-0000-4000-8000-000000000002', 'policies', '…');
insert into public.llm_prices (user_id, provider, model, source, rates, key_source) values
('ada00000-0000-4000-8000-000000000001', 'policies', 'own', 'user', '{"input": 1}', 'user'),
('be200000-0000-4000-8000-000000000002', 'policies', 'own', 'user', '{"input": 1}', 'user');
insert into public.llm_audit_log (user_id, action, actor) values
('ada00000-0000-4000-8000-000000000001', 'settings_changed', 'user'),
('be200000-0000-4000-8000-000000000002', 'settings_changed', 'user');
insert into public.llm_alerts (user_id, kind, subject, detail) values
('ada00000-0000-4000-8000-000000000001', 'price_missing', 'policies/other', '{}'),
('be200000-0000-4000-8000-000000000002', 'price_missing', 'policies/other', '{}');
insert into public.llm_usage_events
(user_id, request_id, attempt, recorder, provider, model, key_source, outcome, streamed)
values
(
  'ada00000-0000-4000-8000-000000000001',
  llm_private.uuid_v7(),
  1,
  'ada00000-0000-4000-8000-000000000001',
  'policies',
  'small',
  'user',
  'succeeded',
  false
),
(
  'be200000-0000-4000-8000-000000000002',
  llm_private.uuid_v7(),
  1,
  'be200000-0000-4000-8000-000000000002',
  'policies',
  'small',
  'user',
  'succeeded',
  false
);
insert into public.llm_usage_totals
(user_id, hour, provider, model, key_source, recorder, latency_counts, last_used_at)
values
(
  'ada00000-0000-4000-8000-000000000001',
  date_trunc('hour', now()),
  'policies',
  'small',
  'user',
  'ada00000-0000-4000-8000-000000000001',
  array_fill(0, '{40}'::integer[]),
  now()
),
(
  'be200000-0000-4000-8000-000000000002',
  date_trunc('hour', now()),
  'policies',
  'small',
  'user',
  'be200000-0000-4000-8000-000000000002',
  array_fill(0, '{40}'::integer[]),
  now()
);
insert into public.llm_usage_adjustments (user_id, request_id, attempt, recorder, recalculation_id, price_id) values
('ada00000-0000-4000-8000-000000000001', llm_private.uuid_v7(), 1, 'ada00000-0000-4000-8000-000000000001', 0, 0),
('be200000-0000-4000-8000-000000000002', llm_private.uuid_v7(), 1, 'be200000-0000-4000-8000-000000000002', 0, 0);

-- Ada signs in.
set local role authenticated;
set local "request.jwt.claims" = '{"sub": "ada00000-0000-4000-8000-000000000001", "role": "authenticated"}';

select
  results_eq(
    format('select %I from public.%I', t.owner, t.name),
    array['ada00000-0000-4000-8000-000000000001'::uuid],
    format('Ada sees her row of %s and not Ben''s', t.name)
  )
from (
  values
  ('user_llm_settings', 'user_id'), ('llm_keys', 'owner_id'), ('llm_audit_log', 'user_id'), ('llm_alerts', 'user_id'),
  ('llm_usage_events', 'user_id'), ('llm_usage_totals', 'user_id'), ('llm_usage_adjustments', 'user_id')
) as t (name, owner);
select results_eq(
  $$select user_id from public.llm_prices where user_id is not null$$,
  array['ada00000-0000-4000-8000-000000000001'::uuid],
  'Ada sees her own price and not Ben''s'
);
select isnt_empty(
  $$select from public.llm_prices where provider = 'policies' and user_id is null$$,
  'Ada sees the operator''s price'
);
select isnt_empty($$select from public.llm_providers where id = 'policies'$$, 'Ada sees the catalog of providers');
select isnt_empty($$select from public.llm_tasks where task = 'policies'$$, 'Ada sees the tasks');

-- A token outlives its account, and other issuers may put anything into it.
set local "request.jwt.claims" = '{"sub": "dead0000-0000-4000-8000-000000000003", "role": "authenticated"}';
select is_empty(format('select from public.%I', t.name), format('a token without an account sees no row of %s', t.name))
from unnest(array[
  'user_llm_settings', 'llm_keys', 'llm_audit_log', 'llm_alerts', 'llm_usage_events', 'llm_usage_totals',
  'llm_usage_adjustments'
]) as t (name);
set local "request.jwt.claims" = '{"sub": "00000000-0000-0000-0000-000000000000", "role": "authenticated"}';
select is_empty('select from public.llm_audit_log', 'a token with the operator''s id sees no audit log');
set local "request.jwt.claims" = '{"sub": "ada", "role": "authenticated"}';
select is_empty('select from public.llm_keys', 'a token whose subject is no UUID sees no keys');
set local "request.jwt.claims" = '{"role": "authenticated"}';
select is_empty('select from public.llm_keys', 'a token without a subject sees no keys');

-- A visitor has not signed in.
set local role anon;
set local "request.jwt.claims" = '';
select
  throws_ok(
    format('select from public.%I', t.name), '42501', null, format('a visitor cannot read %s', t.name)
  )
from unnest(array[
  'user_llm_settings', 'llm_keys', 'llm_audit_log', 'llm_alerts', 'llm_usage_events', 'llm_usage_totals',
  'llm_usage_adjustments', 'llm_prices', 'llm_providers', 'llm_tasks'
]) as t (name);

-- Every table has one policy for users, for reading, and one for supa-llm's helpers.
reset role;
select
  policies_are(
    'public', t.name, array[t.policy, 'helpers check rows themselves'], format('%s has no other policy', t.name)
  )
from (
  values
  ('user_llm_settings', 'users read their own settings'),
  ('llm_keys', 'users read their own keys'),
  ('llm_audit_log', 'users read their own audit log'),
  ('llm_alerts', 'users read their own alerts'),
  ('llm_usage_events', 'users read their own usage events'),
  ('llm_usage_totals', 'users read their own usage totals'),
  ('llm_usage_adjustments', 'users read their own usage adjustments'),
  ('llm_prices', 'users read the catalog''s, the operator''s and their own prices'),
  ('llm_providers', 'signed-in users read the catalog'),
  ('llm_tasks', 'signed-in users read the tasks')
) as t (name, policy);
select is_empty(
  $$
  select p.tablename from pg_policies as p
  where p.roles <> '{llm_definer}' and (
    p.schemaname = 'llm_private' or p.policyname = 'helpers check rows themselves'
    or p.schemaname = 'public' and p.policyname like '%users read%'
    and (p.cmd <> 'SELECT' or p.roles <> '{authenticated}')
  )
  $$,
  'policies are for reading, and for signed-in users alone'
);
select is_empty(
  $$
  select p.tablename from pg_policies as p
  where p.schemaname = 'public' and p.policyname ~ '^users read (their|the catalog)'
    and p.qual not like '(llm_private.is_not_estimate() AND %'
  $$,
  'policies refuse the planner''s estimates, which count other users'' rows'
);

select * from finish();
rollback;
