-- What an administrator reads, suspends or removes of Ada is Ada's alone.
begin;
select plan(18);

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

-- Ben has settings, a key, a price, an alert, a failed attempt and a group. Ada has an attempt.
-- A runtime records the attempts, both with the same id.
select set_config('policies.request', llm_private.uuid_v7()::text, true) is not null as prepared;
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
select
  public.set_llm_key('{"provider": "policies", "key": "sk-policies-of-ben"}') is not null as stored,
  public.set_llm_price('policies', 'large', '{"input": 1}') is not null as priced,
  public.record_llm_usage(
    current_setting('policies.request')::uuid, 1, 'policies', 'unpriced', 'user', 'failed', p_error_class => 'timeout',
    p_input_tokens => 1
  ) as recorded;
set local "request.jwt.claims" = '{"sub": "ada00000-0000-4000-8000-000000000001", "role": "authenticated"}';
select public.record_llm_usage(
  current_setting('policies.request')::uuid, 1, 'policies', 'unpriced', 'user', 'succeeded'
) as recorded;

reset role;
insert into llm_private.reservations
(user_id, request_id, attempt, holder, quota_id, owner, starts_at, amount, requests, expires_at)
values (
  'be200000-0000-4000-8000-000000000002', current_setting('policies.request')::uuid, 1,
  'be200000-0000-4000-8000-000000000002', 0, 'be200000-0000-4000-8000-000000000002', now(), 1, 1, now()
);

set local role service_role;
set local "request.headers" = '{}';
set local "request.jwt.claims" = '{"role": "service_role"}';
select public.set_llm_user_group('be200000-0000-4000-8000-000000000002', 'policies') is null as grouped;
select public.set_llm_user_group('ada00000-0000-4000-8000-000000000001', null) is null as in_no_group;
select is_empty(
  $$
  select from public.get_llm_audit_log() as l
  where l.action = 'user_group_set' and l.detail ->> 'user_id' = 'ada00000-0000-4000-8000-000000000001'
  $$, 'Ada has left no group, as she was in none'
);
select is(
  (
    select
      jsonb_build_array(
        u -> 'keys', u -> 'prices', u -> 'errors', jsonb_array_length(u -> 'alerts'), u -> 'settings', u -> 'group_name'
      )
    from public.get_llm_user('ada00000-0000-4000-8000-000000000001') as u
  ), '[[], [], [], 1, null, null]', 'an administrator sees of Ada what is hers'
);
select is(
  (
    select
      jsonb_build_array(
        jsonb_array_length(u -> 'keys'), jsonb_array_length(u -> 'prices'), jsonb_array_length(u -> 'errors')
      )
    from public.get_llm_user('be200000-0000-4000-8000-000000000002') as u
  ), '[1, 1, 1]', 'and of Ben what is his'
);
select unalike(
  public.get_llm_user('be200000-0000-4000-8000-000000000002')::text, '%sk-policies-of-ben%', 'without his key'
);
select unalike(
  public.explain_llm_user_route('be200000-0000-4000-8000-000000000002')::text, '%sk-policies-of-ben%',
  'nor does his route show it'
);
select ok(
  not jsonb_path_exists(
    public.explain_llm_user_route('ada00000-0000-4000-8000-000000000001'),
    '$.candidates[*] ? (@.provider == "policies")'
  ), 'Ada''s route does not use Ben''s key'
);

select public.set_llm_user_suspended('ada00000-0000-4000-8000-000000000001', true, 'test') is null as suspended;
select public.set_llm_user_suspended('be200000-0000-4000-8000-000000000002', true) is null as suspended;
select public.set_llm_user_suspended('be200000-0000-4000-8000-000000000002', false) is null as resumed;
select isnt(
  public.get_llm_user('ada00000-0000-4000-8000-000000000001') ->> 'suspended_at', null, 'Ada stays suspended'
);
select is(
  public.get_llm_user('be200000-0000-4000-8000-000000000002') ->> 'suspended_at', null, 'when Ben is not any more'
);

select is(
  public.get_llm_user('be200000-0000-4000-8000-000000000002') ->> 'suspended_reason', null, 'nor has a reason to be'
);
select throws_ok(
  $$select public.explain_llm_user_route('ada00000-0000-4000-8000-000000000001')$$, 'PT403', null, 'Ada has no route'
);
select lives_ok($$select public.explain_llm_user_route('be200000-0000-4000-8000-000000000002')$$, 'Ben has one');

-- Ada's data is removed.
select is(
  public.remove_llm_user_data('ada00000-0000-4000-8000-000000000001') ->> 'done',
  'true',
  'all of Ada''s data is removed'
);
reset role;
select is_empty(
  $$select from public.llm_usage_events where user_id = 'ada00000-0000-4000-8000-000000000001'$$, 'her usage is gone'
);
select results_eq(
  $$
  select 'event' from public.llm_usage_events where user_id = 'be200000-0000-4000-8000-000000000002'
  union all
  select 'total' from public.llm_usage_totals where user_id = 'be200000-0000-4000-8000-000000000002'
  union all
  select 'key' from public.llm_keys where owner_id = 'be200000-0000-4000-8000-000000000002'
  union all
  select 'price' from public.llm_prices where user_id = 'be200000-0000-4000-8000-000000000002'
  union all
  select 'settings' from public.user_llm_settings where user_id = 'be200000-0000-4000-8000-000000000002'
  union all
  select 'group' from llm_private.user_groups where user_id = 'be200000-0000-4000-8000-000000000002'
  union all
  select 'reservation' from llm_private.reservations where user_id = 'be200000-0000-4000-8000-000000000002'
  $$, array['event', 'total', 'key', 'price', 'settings', 'group', 'reservation'], 'Ben''s is all there'
);
select is(
  (
    select count(*)::integer from public.llm_audit_log as l
    where l.user_id = 'be200000-0000-4000-8000-000000000002' and l.action in ('key_set', 'price_set')
  ), 2, 'and so is his audit log'
);

-- Ben deletes his account.
update auth.users set deleted_at = now()
where id = 'be200000-0000-4000-8000-000000000002';
set local role service_role;
select throws_ok(
  $$select public.get_llm_user('be200000-0000-4000-8000-000000000002')$$, 'PT404', 'User not found.',
  'a deleted account is not found'
);
select is_empty($$select from public.list_llm_users('ben@policies.test')$$, 'nor listed');
select throws_ok(
  $$select public.get_llm_user('dead0000-0000-4000-8000-000000000003')$$, 'PT404', 'User not found.',
  'nor is an account that never was'
);

select * from finish();
rollback;
