-- The operator's quotas bind their users: users see them, and can neither change, remove, replace nor leave them.
begin;
select plan(30);

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
  perform set_config('policies.request', llm_private.uuid_v7()::text, true);
  perform set_config('policies.more', llm_private.uuid_v7()::text, true);
end
$$;

-- Ben is in a group, which may send nothing.
set local role service_role;
set local "request.jwt.claims" = '{"role": "service_role"}';
select
  public.set_llm_user_group('be200000-0000-4000-8000-000000000002', 'policies') is null as grouped,
  public.set_llm_quota(
    '{"limit": 0, "unit": "requests", "period": "month", "provider": "policies", "group": "policies"}'
  ) is not null as set;
reset role;
do $$
begin
  perform set_config('policies.groups', q.id::text, true)
  from llm_private.quotas as q where q.group_name = 'policies';
end
$$;
set local role authenticated;
set local "request.jwt.claims" = '{"sub": "be200000-0000-4000-8000-000000000002", "role": "authenticated"}';
select throws_ok(
  format(
    'select public.reserve_llm_attempt(%L, 1, %L, %L, %L)',
    current_setting('policies.request'),
    'policies',
    'small',
    'user'
  ),
  'PT429', null, 'a quota of Ben''s group binds him'
);
set local "request.jwt.claims" = '{"sub": "ada00000-0000-4000-8000-000000000001", "role": "authenticated"}';
select is_empty(
  $$select from jsonb_array_elements(public.list_llm_quotas()) as q where q ->> 'provider' = 'policies'$$,
  'and not Ada, who is not in it'
);
reset role;
delete from llm_private.quotas
where id = current_setting('policies.groups')::bigint;

-- The operator allows Ada one request a day, and Ben five.
set local role service_role;
set local "request.jwt.claims" = '{"role": "service_role"}';
do $$
begin
  perform set_config('policies.quota', public.set_llm_quota(
    '{"limit": 1, "unit": "requests", "period": "day", "provider": "policies",
      "user_id": "ada00000-0000-4000-8000-000000000001"}'
  ) ->> 'id', true);
  perform set_config('policies.bens', public.set_llm_quota(
    '{"limit": 5, "unit": "requests", "period": "day", "provider": "policies",
      "user_id": "be200000-0000-4000-8000-000000000002"}'
  ) ->> 'id', true);
end
$$;

-- Ben sets one for himself.
set local role authenticated;
set local "request.jwt.claims" = '{"sub": "be200000-0000-4000-8000-000000000002", "role": "authenticated"}';
do $$
begin
  perform set_config('policies.bens_own', public.set_llm_quota(
    '{"limit": 3, "unit": "requests", "period": "day", "provider": "policies"}'
  ) ->> 'id', true);
end
$$;

set local "request.jwt.claims" = '{"sub": "ada00000-0000-4000-8000-000000000001", "role": "authenticated"}';
select is(
  (
    select jsonb_agg(q -> 'limit')
    from jsonb_array_elements(public.list_llm_quotas('be200000-0000-4000-8000-000000000002')) as q
    where q ->> 'provider' = 'policies'
  ), '[1]', 'Ada sees her quota and not Ben''s, even if she asks for his'
);
select throws_ok(
  $$
  select public.set_llm_quota(
    '{"limit": 9, "unit": "requests", "period": "day", "user_id": "ada00000-0000-4000-8000-000000000001"}'
  )
  $$,
  'PT400', null, 'she cannot set a quota for a user'
);
select throws_ok(
  $$select public.set_llm_quota('{"limit": 9, "unit": "requests", "period": "day", "group": "trial"}')$$, 'PT400', null,
  'nor for a group'
);
select throws_ok(
  $$select public.set_llm_quota('{"limit": 9, "unit": "requests", "period": "day", "shared": true}')$$, 'PT400', null,
  'nor for everyone together'
);
select throws_ok(
  'select public.remove_llm_quota(' || current_setting('policies.quota') || ')', 'PT404',
  'Quota not found among those that you set.', 'she cannot remove the operator''s quota'
);
select throws_ok(
  'select public.remove_llm_quota(' || current_setting('policies.bens_own') || ')', 'PT404',
  'Quota not found among those that you set.', 'nor Ben''s own'
);
select throws_ok(
  $$select public.set_llm_user_group('ada00000-0000-4000-8000-000000000001', 'unlimited')$$, '42501', null,
  'she cannot join a group'
);

-- A quota of her own does not replace the operator's.
do $$
begin
  perform set_config('policies.own', public.set_llm_quota(
    '{"limit": 100, "unit": "requests", "period": "day", "provider": "policies"}'
  ) ->> 'id', true);
end
$$;
select is(
  (
    select jsonb_agg(q -> 'limit' order by q -> 'limit') from jsonb_array_elements(public.list_llm_quotas()) as q
    where q ->> 'provider' = 'policies'
  ), '[1, 100]', 'her own quota stands beside the operator''s'
);
select is(
  (
    select count(*) from public.get_llm_audit_log() as l
    where l.action = 'quota_set' and l.user_id = 'ada00000-0000-4000-8000-000000000001'
  ), 1::bigint, 'it is on her audit log'
);
select lives_ok(
  format(
    'select public.reserve_llm_attempt(%L, 1, %L, %L, %L)',
    current_setting('policies.request'),
    'policies',
    'small',
    'user'
  ),
  'her first request is allowed'
);
select throws_ok(
  format(
    'select public.reserve_llm_attempt(%L, 1, %L, %L, %L)',
    current_setting('policies.more'),
    'policies',
    'small',
    'user'
  ),
  'PT429', null, 'the second one is not'
);
select throws_ok(
  format(
    'select public.resolve_llm_route(p_model => %L, p_request_id => %L)',
    'policies/small',
    current_setting('policies.more')
  ),
  'PT422', null, 'and without a key there is no route'
);

-- The period starts again only with the clock.
select throws_ok(
  'select public.remove_llm_quota(' || current_setting('policies.bens') || ')',
  'PT404',
  null,
  'she cannot remove Ben''s quota'
);
select public.remove_llm_quota(current_setting('policies.own')::bigint) is null as removed;
select throws_ok(
  format(
    'select public.reserve_llm_attempt(%L, 1, %L, %L, %L)',
    current_setting('policies.more'),
    'policies',
    'small',
    'user'
  ),
  'PT429', null, 'removing her own quota does not free the operator''s'
);

-- Ben knows the id of her request.
set local "request.jwt.claims" = '{"sub": "be200000-0000-4000-8000-000000000002", "role": "authenticated"}';
select public.release_llm_request(current_setting('policies.request')::uuid) is null as released;
select ok(
  public.record_llm_usage(current_setting('policies.request')::uuid, 1, 'policies', 'small', 'user', 'succeeded'),
  'Ben can record a request with the same id'
);
set local "request.jwt.claims" = '{"sub": "ada00000-0000-4000-8000-000000000001", "role": "authenticated"}';
select throws_ok(
  format(
    'select public.reserve_llm_attempt(%L, 1, %L, %L, %L)',
    current_setting('policies.more'),
    'policies',
    'small',
    'user'
  ),
  'PT429', null, 'it neither releases nor settles Ada''s reservation'
);
select is(
  (
    select q -> 'used'
    from jsonb_array_elements(public.list_llm_quotas()) as q
    where q ->> 'id' = current_setting('policies.quota')
  ), '0', 'and does not count in her quota'
);
set local "request.jwt.claims" = '{"sub": "be200000-0000-4000-8000-000000000002", "role": "authenticated"}';
select is(
  (
    select q -> 'used'
    from jsonb_array_elements(public.list_llm_quotas()) as q
    where q ->> 'id' = current_setting('policies.bens')
  ), '1', 'it counts in his'
);

-- She settles it herself, and what she used stays used.
set local "request.jwt.claims" = '{"sub": "ada00000-0000-4000-8000-000000000001", "role": "authenticated"}';
select ok(
  public.record_llm_usage(current_setting('policies.request')::uuid, 1, 'policies', 'small', 'user', 'succeeded'),
  'Ada records her request'
);
select public.release_llm_request(current_setting('policies.request')::uuid) is null as released;
select is(
  (
    select q -> 'used'
    from jsonb_array_elements(public.list_llm_quotas()) as q
    where q ->> 'id' = current_setting('policies.quota')
  ), '1', 'releasing it afterwards gives nothing back'
);
reset role;
select is(
  (
    select count(*) from llm_private.quotas as q
    where q.provider = 'policies'
  ),
  3::bigint,
  'all other quotas are still there'
);

-- What a runtime reserved, the runtime alone settles. A further quota is for everyone.
set local role service_role;
select
  public.set_llm_quota('{"limit": 9, "unit": "requests", "period": "month", "provider": "policies"}') is not null
    as set;
reset role;
do $$
begin
  update llm_private.quotas set amount = 2 where id = current_setting('policies.quota')::bigint;
  perform set_config('policies.runtime', public.register_llm_runtime('policies') ->> 'secret', true);
  perform set_config(
    'request.headers', json_build_object('x-llm-runtime', current_setting('policies.runtime'))::text, true
  );
end
$$;
set local role authenticated;
select lives_ok(
  format(
    'select public.reserve_llm_attempt(%L, 1, %L, %L, %L)',
    current_setting('policies.more'),
    'policies',
    'small',
    'operator'
  ),
  'a runtime reserves for Ada'
);
set local "request.jwt.claims" = '{"sub": "be200000-0000-4000-8000-000000000002", "role": "authenticated"}';
select ok(
  public.record_llm_usage(current_setting('policies.more')::uuid, 1, 'policies', 'small', 'operator', 'succeeded'),
  'it records a request of Ben''s with the same id'
);
reset role;
select is(
  (
    select count(*) from llm_private.reservations as r
    where r.request_id = current_setting('policies.more')::uuid and r.user_id = 'ada00000-0000-4000-8000-000000000001'
  ), 2::bigint, 'which settles none of Ada''s reservations'
);
set local role authenticated;
set local "request.jwt.claims" = '{"sub": "ada00000-0000-4000-8000-000000000001", "role": "authenticated"}';
set local "request.headers" = '{}';
select public.release_llm_request(current_setting('policies.more')::uuid) is null as released;
select ok(
  public.record_llm_usage(
    current_setting('policies.more')::uuid, 1, 'policies', 'small', 'user', 'failed', p_error_class => 'timeout'
  ), 'Ada claims that the request failed'
);
reset role;
select is(
  (
    select count(*) from llm_private.reservations as r
    where r.request_id = current_setting('policies.more')::uuid
  ),
  2::bigint,
  'the runtime''s reservations stay'
);
do $$
begin
  perform set_config(
    'request.headers', json_build_object('x-llm-runtime', current_setting('policies.runtime'))::text, true
  );
end
$$;
set local role authenticated;
select ok(
  public.record_llm_usage(current_setting('policies.more')::uuid, 1, 'policies', 'small', 'operator', 'succeeded'),
  'the runtime records what happened'
);
reset role;
select is(
  (
    select c.used::integer || ' ' || c.reserved::integer from llm_private.quota_counters as c
    where c.quota_id = current_setting('policies.quota')::bigint
  ),
  '2 0', 'and settles its reservation'
);

select * from finish();
rollback;
