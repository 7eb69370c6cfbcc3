-- Limits are each user's own: what Ben does costs Ada none of hers.
begin;
select plan(15);

-- The operator's limits are narrow.
update llm_private.operator_settings
set
  keys_readable_by = 'owner', reveal_enabled = true, reveal_sign_in_within = null, operator_keys_by_default = true,
  changes_per_day = 2, own_prices_per_user = 1, usage_names_per_day = 1;
update llm_private.quotas set group_name = 'nobody ' || id
where team_id is null;

insert into auth.users (id, email) values
('ada00000-0000-4000-8000-000000000001', 'ada@policies.test'),
('be200000-0000-4000-8000-000000000002', 'ben@policies.test');
insert into public.llm_providers (id, name, base_url, default_model)
values ('policies', 'Policies', 'https://policies.test', 'small');
do $$
begin
  for i in 1..5 loop
    perform set_config('policies.request' || i, llm_private.uuid_v7()::text, true);
  end loop;
  perform set_config(
    'policies.headers',
    json_build_object('x-llm-runtime', public.register_llm_runtime('policies') ->> 'secret')::text, true
  );
end
$$;

-- Ben uses everything up: changes, prices, checks and quotas of his own.
set local role authenticated;
set local "request.jwt.claims" = '{"sub": "be200000-0000-4000-8000-000000000002", "role": "authenticated"}';
select public.set_llm_key('{"provider": "policies", "key": "sk-policies-of-ben"}') is not null as stored;
select public.set_llm_key('{"provider": "policies", "key": "sk-policies-of-ben"}') is not null as stored;
select public.set_llm_price('policies', 'small', '{"input": 1}') is not null as priced;
do $$
begin
  for i in 1..10 loop
    perform public.begin_llm_key_check('{"provider": "policies"}');
  end loop;
  for i in 1..5 loop
    perform public.reveal_llm_key('policies');
  end loop;
end
$$;
select throws_ok(
  $$select public.set_llm_key('{"provider": "policies", "key": "sk-policies-of-ben"}')$$,
  'PT429',
  null,
  'Ben has changed too much'
);
select
  throws_ok(
    $$select public.set_llm_price('policies', 'large', '{"input": 1}')$$, 'PT400', null, 'has a price too many'
  );
select
  throws_ok(
    $$select public.begin_llm_key_check('{"provider": "policies"}')$$, 'PT429', null, 'has checked too often'
  );
select throws_ok($$select public.reveal_llm_key('policies')$$, 'PT429', null, 'and has revealed too often');
reset role;
insert into llm_private.quotas (set_by, user_id, shared, task, unit, period, clock, amount, enforced, unpriced)
select
  'user',
  'be200000-0000-4000-8000-000000000002',
  false,
  'task ' || i,
  'requests',
  'day',
  'utc',
  100,
  false,
  'allow'
from generate_series(1, 50) as i;

set local role authenticated;
set local "request.jwt.claims" = '{"sub": "ada00000-0000-4000-8000-000000000001", "role": "authenticated"}';
select lives_ok(
  $$select public.set_llm_key('{"provider": "policies", "key": "sk-policies-of-ada"}')$$, 'Ada can set a key'
);
select lives_ok($$select public.set_llm_price('policies', 'small', '{"input": 1}')$$, 'a price');
select lives_ok(
  $$select public.set_llm_quota('{"limit": 100, "unit": "requests", "period": "month", "enforced": false}')$$,
  'and a quota'
);
select lives_ok($$select public.begin_llm_key_check('{"provider": "policies"}')$$, 'check her key');
select lives_ok($$select public.reveal_llm_key('policies')$$, 'and reveal it');

-- Everyone may send two requests a day. Ben has sent one, and reserves the other.
set local role service_role;
do $$
begin
  perform set_config('policies.quota', public.set_llm_quota(
    '{"limit": 2, "unit": "requests", "period": "day", "provider": "policies"}'
  ) ->> 'id', true);
end
$$;
set local role authenticated;
set local "request.jwt.claims" = '{"sub": "be200000-0000-4000-8000-000000000002", "role": "authenticated"}';
select
  public.record_llm_usage(current_setting('policies.request1')::uuid, 1, 'policies', 'small', 'user', 'succeeded')
    as recorded;
select
  public.reserve_llm_attempt(current_setting('policies.request2')::uuid, 1, 'policies', 'small', 'user') is null
    as reserved;
select throws_ok(
  format(
    'select public.reserve_llm_attempt(%L, 1, %L, %L, %L)',
    current_setting('policies.request3'),
    'policies',
    'small',
    'user'
  ),
  'PT429', null, 'Ben has used his quota'
);
set local "request.jwt.claims" = '{"sub": "ada00000-0000-4000-8000-000000000001", "role": "authenticated"}';
select is(
  (
    select (q ->> 'used') || ' ' || (q ->> 'reserved') from jsonb_array_elements(public.list_llm_quotas()) as q
    where q ->> 'id' = current_setting('policies.quota')
  ), '0 0', 'Ada has used none of hers'
);
select lives_ok(
  format(
    'select public.reserve_llm_attempt(%L, 1, %L, %L, %L)',
    current_setting('policies.request3'),
    'policies',
    'small',
    'user'
  ),
  'she can send one request'
);
select lives_ok(
  format(
    'select public.reserve_llm_attempt(%L, 1, %L, %L, %L)',
    current_setting('policies.request4'),
    'policies',
    'small',
    'user'
  ),
  'and another'
);
select throws_ok(
  format(
    'select public.reserve_llm_attempt(%L, 1, %L, %L, %L)',
    current_setting('policies.request5'),
    'policies',
    'small',
    'user'
  ),
  'PT429', null, 'and then has used hers'
);

-- The names of models that a runtime may record in a day.
create function pg_temp.record(p_attempt integer, p_model text) returns boolean language sql as $$
  select public.record_llm_usage(
    current_setting('policies.request1')::uuid, p_attempt, 'policies', p_model, 'operator', 'succeeded'
  )
$$;
select set_config('request.headers', current_setting('policies.headers'), true) is not null as through_the_runtime;
set local "request.jwt.claims" = '{"sub": "be200000-0000-4000-8000-000000000002", "role": "authenticated"}';
select pg_temp.record(2, 'first') as recorded;
set local "request.jwt.claims" = '{"sub": "ada00000-0000-4000-8000-000000000001", "role": "authenticated"}';
select
  pg_temp.record(2, 'second') as recorded,
  pg_temp.record(3, 'first') as recorded_too;
reset role;
select results_eq(
  $$
  select e.user_id, e.model from public.llm_usage_events as e
  where e.recorder <> e.user_id and e.provider = 'policies' order by e.user_id, e.attempt
  $$,
  $$
  values
  ('ada00000-0000-4000-8000-000000000001'::uuid, 'second'),
  ('ada00000-0000-4000-8000-000000000001'::uuid, '(other)'),
  ('be200000-0000-4000-8000-000000000002'::uuid, 'first')
  $$, 'are counted for each user'
);

select * from finish();
rollback;
