-- Users record their own usage. Another user's id of a request, key or price changes nothing of that user's.
begin;
select plan(17);

-- The operator's settings do not matter here.
update llm_private.operator_settings
set
  keys_readable_by = 'owner', reveal_enabled = true, reveal_sign_in_within = null, operator_keys_by_default = true,
  changes_per_day = 500, own_prices_per_user = 500, usage_names_per_day = 200;

insert into auth.users (id, email) values
('ada00000-0000-4000-8000-000000000001', 'ada@policies.test'),
('be200000-0000-4000-8000-000000000002', 'ben@policies.test');
insert into public.llm_providers (id, name, base_url, default_model)
values ('policies', 'Policies', 'https://policies.test', 'small');
set local role service_role;
select public.set_llm_price('policies', 'small', '{"input": 10}') is not null as priced;
reset role;
select set_config('policies.request', llm_private.uuid_v7()::text, true) is not null as prepared;

set local role authenticated;
set local "request.jwt.claims" = '{"sub": "be200000-0000-4000-8000-000000000002", "role": "authenticated"}';
-- Ben's models cost him nothing, he says.
select public.set_llm_price('policies', 'small', '{"input": 0}') is not null as priced;
select ok(
  public.record_llm_usage(
    current_setting('policies.request')::uuid, 1, 'policies', 'small', 'user', 'succeeded', p_input_tokens => 1000000
  ), 'Ben records a request'
);
set local "request.jwt.claims" = '{"sub": "ada00000-0000-4000-8000-000000000001", "role": "authenticated"}';
select ok(
  public.record_llm_usage(
    current_setting('policies.request')::uuid, 1, 'policies', 'small', 'user', 'succeeded', p_input_tokens => 1000000
  ), 'Ada records one with the same id'
);
select throws_ok(
  format(
    'select public.record_llm_usage(p_user_id => %L, p_request_id => %L, p_attempt => 1)',
    'be200000-0000-4000-8000-000000000002', current_setting('policies.request')
  ), '42883', null, 'no argument names the user'
);
select is(
  public.record_llm_usage_batch(json_build_array(json_build_object(
    'user_id', 'be200000-0000-4000-8000-000000000002', 'request_id', current_setting('policies.request'), 'attempt', 2,
    'provider', 'policies', 'model', 'small', 'key_source', 'user', 'outcome', 'succeeded'
  ))) #>> '{0,status}', 'recorded', 'a field of that name is ignored'
);
reset role;
select results_eq(
  $$
  select e.user_id, e.attempt::integer, e.recorder, e.cost from public.llm_usage_events as e
  where e.provider = 'policies' order by 1, 2
  $$,
  $$
  values
  ('ada00000-0000-4000-8000-000000000001'::uuid, 1, 'ada00000-0000-4000-8000-000000000001'::uuid, 10::numeric),
  ('ada00000-0000-4000-8000-000000000001'::uuid, 2, 'ada00000-0000-4000-8000-000000000001'::uuid, null),
  ('be200000-0000-4000-8000-000000000002'::uuid, 1, 'be200000-0000-4000-8000-000000000002'::uuid, 0::numeric)
  $$, 'each event is its caller''s, at the caller''s price'
);
select results_eq(
  $$
  select t.user_id, sum(t.attempts)::integer from public.llm_usage_totals as t
  where t.provider = 'policies' group by 1 order by 1
  $$,
  $$
  values ('ada00000-0000-4000-8000-000000000001'::uuid, 2), ('be200000-0000-4000-8000-000000000002'::uuid, 1)
  $$, 'and so are the totals'
);
select is(
  (
    select e.list_cost from public.llm_usage_events as e
    where e.user_id = 'be200000-0000-4000-8000-000000000002'
  ), 10::numeric, 'the operator''s quotas count Ben''s usage at the operator''s price'
);

-- Prices that are missing are reported to the users who miss them.
set local role authenticated;
set local "request.jwt.claims" = '{"sub": "be200000-0000-4000-8000-000000000002", "role": "authenticated"}';
select ok(
  public.record_llm_usage(current_setting('policies.request')::uuid, 3, 'policies', 'bens-own', 'user', 'succeeded'),
  'Ben records a model without a price'
);
set local "request.jwt.claims" = '{"sub": "ada00000-0000-4000-8000-000000000001", "role": "authenticated"}';
select ok(
  public.record_llm_usage(current_setting('policies.request')::uuid, 3, 'policies', 'bens-own', 'user', 'succeeded'),
  'so does Ada'
);
reset role;
select results_eq(
  $$select a.user_id from public.llm_alerts as a where a.subject = 'policies/bens-own' order by 1$$,
  array['ada00000-0000-4000-8000-000000000001'::uuid, 'be200000-0000-4000-8000-000000000002'],
  'each of them has an alert, and the operator has none about a model that a user may have made up'
);

-- Through the app's server.
do $$
begin
  perform set_config(
    'request.headers',
    json_build_object('x-llm-runtime', public.register_llm_runtime('policies') ->> 'secret')::text, true
  );
end
$$;
set local role authenticated;
set local "request.jwt.claims" = '{"sub": "be200000-0000-4000-8000-000000000002", "role": "authenticated"}';
select ok(
  public.record_llm_usage(current_setting('policies.request')::uuid, 4, 'policies', 'small', 'user', 'succeeded'),
  'a runtime records for Ben'
);
set local "request.jwt.claims" = '{"sub": "ada00000-0000-4000-8000-000000000001", "role": "authenticated"}';
select ok(
  public.record_llm_usage(current_setting('policies.request')::uuid, 4, 'policies', 'small', 'user', 'succeeded'),
  'and the same for Ada'
);
reset role;
select results_eq(
  $$
  select t.user_id, sum(t.attempts)::integer from public.llm_usage_totals as t
  where t.provider = 'policies' and t.recorder <> t.user_id group by 1 order by 1
  $$,
  $$
  values ('ada00000-0000-4000-8000-000000000001'::uuid, 1), ('be200000-0000-4000-8000-000000000002'::uuid, 1)
  $$, 'each of them has it in their totals'
);

-- The models that users have used are theirs.
set local "request.headers" = '{}';
set local role authenticated;
set local "request.jwt.claims" = '{"sub": "be200000-0000-4000-8000-000000000002", "role": "authenticated"}';
select ok(
  public.record_llm_usage(current_setting('policies.request')::uuid, 5, 'policies', 'bens-secret', 'user', 'succeeded'),
  'Ben uses a model of his own'
);
set local "request.jwt.claims" = '{"sub": "ada00000-0000-4000-8000-000000000001", "role": "authenticated"}';
select unalike(public.list_llm_models('policies')::text, '%bens-secret%', 'Ada does not see it in the list of models');
select is(
  (
    select m ->> 'input_price' from json_array_elements(public.list_llm_models('policies')) as m
    where m ->> 'model' = 'small'
  ),
  '10', 'which has the operator''s price, not Ben''s'
);

-- A token without an account.
reset role;
set local role authenticated;
set local "request.jwt.claims" = '{"sub": "dead0000-0000-4000-8000-000000000003", "role": "authenticated"}';
select throws_ok(
  format(
    'select public.record_llm_usage(%L, 9, %L, %L, %L, %L)',
    current_setting('policies.request'),
    'policies',
    'small',
    'user',
    'succeeded'
  ), 'PT401', null, 'a token without an account records nothing'
);

select * from finish();
rollback;
