-- Reports, requests, refusals, events, forecasts, hints and the audit log are about the caller, whatever the arguments
-- say.
begin;
select plan(32);

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
select
  public.set_llm_price('policies', 'large', '{"input": 10, "output": 10}') is not null as priced,
  public.set_llm_price('policies', 'small', '{"input": 1, "output": 1}') is not null as priced_too;

-- Ben used an expensive model that failed often, and the provider's cache at a loss.
set local role authenticated;
set local "request.jwt.claims" = '{"sub": "be200000-0000-4000-8000-000000000002", "role": "authenticated"}';
select public.get_llm_settings() is not null as made;
reset role;
do $$
begin
  perform set_config('policies.first', llm_private.uuid_v7()::text, true);
  for i in 1..20 loop
    perform set_config('policies.request', llm_private.uuid_v7()::text, true);
    perform public.record_llm_usage(
      current_setting('policies.request')::uuid, 1, 'policies', 'large', 'user', 'succeeded',
      p_task => 'bens', p_input_tokens => 1000000, p_output_tokens => 1000000
    );
    perform public.record_llm_usage(
      current_setting('policies.request')::uuid, 2, 'policies', 'large', 'user', 'failed', p_error_class => 'timeout'
    );
  end loop;
  update public.llm_usage_totals set cache_savings = -1 where user_id = 'be200000-0000-4000-8000-000000000002';
  -- He began a week ago.
  insert into public.llm_usage_totals (
    user_id, hour, provider, model, key_source, recorder, latency_counts, last_used_at
  )
  select
    t.user_id, t.hour - interval '7 days', t.provider, t.model, t.key_source, t.recorder, t.latency_counts,
    t.last_used_at
  from public.llm_usage_totals as t where t.user_id = 'be200000-0000-4000-8000-000000000002' limit 1;
end
$$;
select set_config(
  'policies.cursor',
  'be200000-0000-4000-8000-000000000002/00000000-0000-0000-0000-000000000000/0/be200000-0000-4000-8000-000000000002',
  true
) is not null as prepared;

set local role authenticated;
select ok(jsonb_array_length(public.list_llm_hints()) >= 3, 'Ben gets hints about his usage');
select is((public.get_llm_forecast() ->> 'cost_so_far')::numeric, 400::numeric, 'a forecast of it');
select is(public.get_llm_usage() #>> '{0,requests}', '20', 'a report');
select is((select count(*) from public.list_llm_requests()), 20::bigint, 'his requests');
select is((select count(*) from public.list_llm_usage_events()), 40::bigint, 'and their events');
select public.record_llm_refusals('{"no_usable_key": 7}') is null as counted;
select is((select r.refusals from public.list_llm_refusals() as r), 7::bigint, 'and his refused requests');

set local "request.jwt.claims" = '{"sub": "ada00000-0000-4000-8000-000000000001", "role": "authenticated"}';
select public.get_llm_settings() is not null as made;
select is(public.get_llm_usage()::text, '[]', 'Ada''s report is empty');
select
  is(
    public.get_llm_usage(p_user_id => 'be200000-0000-4000-8000-000000000002')::text, '[]', 'also if she asks for Ben''s'
  );
select throws_ok(
  $$select public.get_llm_usage(p_by => '{user}')$$, 'PT400', null, 'she cannot group by users'
);
select is_empty('select * from public.list_llm_requests()', 'she has no requests');
select is_empty(
  format('select * from public.list_llm_requests(p_before => %L)', 'ffffffff-ffff-7fff-bfff-ffffffffffff'), 'on no page'
);
select is_empty('select * from public.list_llm_usage_events()', 'she has no events');
select is_empty(
  $$select * from public.list_llm_usage_events(p_user_id => 'be200000-0000-4000-8000-000000000002')$$,
  'also if she asks for Ben''s'
);
select is_empty(
  format('select * from public.list_llm_usage_events(p_after => %L)', current_setting('policies.cursor')),
  'or begins where his begin'
);
select is_empty('select * from public.list_llm_refusals()', 'she has no refused requests');
select is_empty(
  $$select * from public.list_llm_refusals(p_user_id => 'be200000-0000-4000-8000-000000000002')$$,
  'also if she asks for Ben''s'
);
select is((public.get_llm_forecast() ->> 'cost_so_far')::numeric, 0::numeric, 'she has spent nothing');
select is(public.list_llm_hints(), '[]', 'she has no hints');
select is(public.get_llm_settings() ->> 'total_requests', '0', 'she has made no request');
select is_empty(
  $$
  select * from public.get_llm_audit_log(p_user_id => 'be200000-0000-4000-8000-000000000002') as l
  where l.user_id <> 'ada00000-0000-4000-8000-000000000001'
  $$,
  'she does not see Ben''s audit log'
);
select is_empty(
  $$
  select * from public.get_llm_audit_log(p_user_id => '00000000-0000-0000-0000-000000000000') as l
  where l.user_id <> 'ada00000-0000-4000-8000-000000000001'
  $$,
  'nor the operator''s'
);

-- She records requests: one before Ben's, and one with the id of his last one.
select ok(
  public.record_llm_usage(current_setting('policies.first')::uuid, 1, 'policies', 'small', 'user', 'succeeded'),
  'Ada records a request'
);
select is(
  (select r.request_id::text from public.list_llm_requests(p_limit => 1) as r), current_setting('policies.first'),
  'Ben''s newer requests do not take its place'
);
select ok(
  public.record_llm_usage(current_setting('policies.request')::uuid, 1, 'policies', 'small', 'user', 'succeeded'),
  'she records one with the id of Ben''s'
);
select is(
  (select jsonb_array_length(r.attempts) from public.list_llm_requests(p_limit => 1) as r),
  1,
  'she does not see his attempts in it'
);
select is(
  (public.get_llm_forecast() ->> 'days_averaged')::integer, 0, 'her average begins with her usage, not with his'
);

-- An administrator sees each user's.
set local role service_role;
set local "request.jwt.claims" = '{"role": "service_role"}';
select is(
  public.get_llm_usage(p_user_id => 'be200000-0000-4000-8000-000000000002') #>> '{0,requests}', '20',
  'an administrator sees Ben''s usage'
);
select is(
  (select r.refusals from public.list_llm_refusals(p_user_id => 'be200000-0000-4000-8000-000000000002') as r),
  7::bigint, 'and his refused requests'
);

-- Ben owns a team, and Ada is a member. Both use its key.
reset role;
do $$
declare
  v_team uuid;
begin
  perform set_config(
    'request.headers',
    json_build_object('x-llm-runtime', public.register_llm_runtime('policies') ->> 'secret')::text, true
  );
  insert into llm_private.teams (name) values ('Lab') returning id into v_team;
  insert into llm_private.team_members (team_id, user_id, role) values
  (v_team, 'ada00000-0000-4000-8000-000000000001', 'member'),
  (v_team, 'be200000-0000-4000-8000-000000000002', 'owner');
  perform set_config('policies.team', v_team::text, true);
end
$$;
set local role authenticated;
set local "request.jwt.claims" = '{"sub": "be200000-0000-4000-8000-000000000002", "role": "authenticated"}';
select public.record_llm_usage(
  current_setting('policies.first')::uuid, 3, 'policies', 'small', 'team', 'succeeded',
  p_team_id => current_setting('policies.team')::uuid
) as recorded;
set local "request.jwt.claims" = '{"sub": "ada00000-0000-4000-8000-000000000001", "role": "authenticated"}';
select public.record_llm_usage(
  current_setting('policies.first')::uuid, 3, 'policies', 'small', 'team', 'succeeded',
  p_team_id => current_setting('policies.team')::uuid
) as recorded;
select is(
  (
    select string_agg(left(e.user_id::text, 3), ' ')
    from public.list_llm_usage_events(
      p_user_id => 'be200000-0000-4000-8000-000000000002', p_team_id => current_setting('policies.team')::uuid
    ) as e
  ), 'ada', 'a member sees only her own events with the team''s key'
);
select is(
  public.get_llm_usage(p_team_id => current_setting('policies.team')::uuid) #>> '{0,attempts}', '1',
  'and reports only her own usage'
);
set local "request.jwt.claims" = '{"sub": "be200000-0000-4000-8000-000000000002", "role": "authenticated"}';
select is(
  (
    select string_agg(left(e.user_id::text, 3), ' ' order by e.user_id)
    from public.list_llm_usage_events(p_team_id => current_setting('policies.team')::uuid) as e
  ), 'ada be2', 'an owner sees those of all members'
);
select is(
  public.get_llm_usage(p_team_id => current_setting('policies.team')::uuid) #>> '{0,attempts}', '2',
  'and reports their usage'
);

select * from finish();
rollback;
