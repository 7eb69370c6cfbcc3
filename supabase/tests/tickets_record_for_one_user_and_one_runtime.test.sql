-- A ticket lets the runtime that got it record what it ran for its user, for a day. It is good for nothing else.
begin;
select plan(17);

-- The operator's settings and quotas do not matter here.
update llm_private.operator_settings
set
  keys_readable_by = 'owner', reveal_enabled = true, reveal_sign_in_within = null, operator_keys_by_default = true,
  changes_per_day = 500, own_prices_per_user = 500, usage_names_per_day = 200;
update llm_private.quotas set group_name = 'nobody ' || id
where team_id is null;

insert into auth.users (id, email) values
('ada00000-0000-4000-8000-000000000001', 'ada@policies.test'),
('be200000-0000-4000-8000-000000000002', 'ben@policies.test');
insert into public.llm_providers (id, name, base_url, default_model)
values ('policies', 'Policies', 'https://policies.test', 'small');
do $$
begin
  perform set_config('policies.runtime', public.register_llm_runtime('policies') ->> 'secret', true);
  perform set_config('policies.other', public.register_llm_runtime('other') ->> 'secret', true);
end
$$;
create function pg_temp.through(p_secret text) returns void language sql as $$
  select set_config('request.headers', json_build_object('x-llm-runtime', p_secret)::text, true)
$$;
create function pg_temp.record(p_ticket text) returns text language sql as $$
  select coalesce(r ->> 'code', r ->> 'status')
  from (
    select public.record_llm_usage_batch(json_build_array(json_build_object(
      'ticket', p_ticket, 'request_id', current_setting('policies.request'), 'attempt', 1, 'provider', 'policies',
      'model', 'small', 'key_source', 'operator', 'outcome', 'succeeded'
    ))) -> 0 as r
  ) as recorded
$$;
select set_config('policies.request', llm_private.uuid_v7()::text, true) is not null as prepared;

-- A runtime resolves a route for Ada.
set local role authenticated;
set local "request.jwt.claims" = '{"sub": "ada00000-0000-4000-8000-000000000001", "role": "authenticated"}';
do $$
begin
  perform pg_temp.through(current_setting('policies.runtime'));
  perform set_config(
    'policies.ticket', public.resolve_llm_route(p_operator_providers => '{policies}') ->> 'ticket', true
  );
end
$$;
select isnt(current_setting('policies.ticket'), '', 'the route comes with a ticket');

-- Her token expires.
set local role anon;
set local "request.jwt.claims" = '';
select is(pg_temp.record(null), 'not_signed_in', 'without a ticket and a token, nothing is recorded');
select is(pg_temp.record(repeat('0', 112)), 'ticket_invalid', 'a made-up ticket is refused');
select is(
  pg_temp.record('be200000000040008000000000000002' || substr(current_setting('policies.ticket'), 33)),
  'ticket_invalid',
  'a ticket cannot be changed to another user'
);
select is(
  pg_temp.record(overlay(current_setting('policies.ticket') placing 'f' from 37 for 1)), 'ticket_invalid',
  'nor to another time'
);
do $$
begin
  perform pg_temp.through(current_setting('policies.other'));
end
$$;
select is(pg_temp.record(current_setting('policies.ticket')), 'ticket_invalid', 'another runtime cannot use it');
set local "request.headers" = '{}';
select throws_ok(
  $$select pg_temp.record(current_setting('policies.ticket'))$$, 'PT401', 'You are not signed in.',
  'nor can anyone without a runtime''s secret'
);
set local role authenticated;
set local "request.jwt.claims" = '{"sub": "ada00000-0000-4000-8000-000000000001", "role": "authenticated"}';
select is(
  pg_temp.record(current_setting('policies.ticket')), 'runtime_required', 'nor can Ada herself, who may have copied it'
);
reset role;
do $$
begin
  perform set_config('policies.expired', llm_private.sign_ticket(
    'ada00000-0000-4000-8000-000000000001',
    (select r.id from llm_private.runtimes as r where r.name = 'policies' and r.created_at = now()),
    extract(epoch from now())::bigint - 1,
    (select t.secret from llm_private.ticket_keys as t where t.valid_until is null)
  ), true);
  perform pg_temp.through(current_setting('policies.runtime'));
end
$$;
set local role anon;
set local "request.jwt.claims" = '';
select is(pg_temp.record(current_setting('policies.expired')), 'ticket_expired', 'an expired ticket is refused');
select is(pg_temp.record(current_setting('policies.ticket')), 'recorded', 'the runtime records with its ticket');
select is(pg_temp.record(current_setting('policies.ticket')), 'known', 'the same attempt once');

-- A ticket is no credential.
select throws_ok('select public.resolve_llm_route()', '42501', null, 'it resolves no route');
select throws_ok('select public.get_llm_settings()', '42501', null, 'it opens no settings');

-- A revoked runtime may still report what it ran, and only that.
reset role;
update llm_private.runtimes set revoked_at = now()
where name = 'policies' and created_at = now();
select set_config('policies.request', llm_private.uuid_v7()::text, true) is not null as prepared;
set local role anon;
select is(pg_temp.record(current_setting('policies.ticket')), 'recorded', 'a revoked runtime records with its ticket');
set local role authenticated;
set local "request.jwt.claims" = '{"sub": "be200000-0000-4000-8000-000000000002", "role": "authenticated"}';
select is(pg_temp.record(null), 'runtime_unknown', 'but nothing with a user''s token');

reset role;
select results_eq(
  $$select distinct e.user_id from public.llm_usage_events as e where e.provider = 'policies'$$,
  array['ada00000-0000-4000-8000-000000000001'::uuid], 'everything was recorded for Ada'
);
select is(
  (
    select count(*) from public.llm_usage_events as e
    where e.provider = 'policies'
  ), 2::bigint, 'and nothing else'
);

select * from finish();
rollback;
