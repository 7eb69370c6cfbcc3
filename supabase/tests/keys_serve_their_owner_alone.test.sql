-- Ada cannot list, use, reveal, check, replace or remove Ben's key, even if she knows its id.
begin;
select plan(23);

-- The operator's settings and quotas do not matter here.
update llm_private.operator_settings
set
  keys_readable_by = 'owner', reveal_enabled = true, reveal_sign_in_within = null, operator_keys_by_default = true,
  changes_per_day = 500, own_prices_per_user = 500, usage_names_per_day = 200, teams_created_by = 'users',
  teams_per_user = 10;
update llm_private.quotas set group_name = 'nobody ' || id
where team_id is null;

insert into auth.users (id, email) values
('ada00000-0000-4000-8000-000000000001', 'ada@policies.test'),
('be200000-0000-4000-8000-000000000002', 'ben@policies.test');
insert into public.llm_providers (id, name, base_url, default_model)
values ('policies', 'Policies', 'https://policies.test', 'small');
select set_config('policies.request', llm_private.uuid_v7()::text, true) is not null as prepared;

-- Both send their requests through the app's server, which is a registered runtime.
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
select public.set_llm_key('{"provider": "policies", "key": "sk-policies-of-ben"}') is not null as stored;
do $$
begin
  perform set_config('policies.key', k.id::text, true) from public.llm_keys as k;
end
$$;
-- Ben has committed a reveal, a lease and a check of it.
select public.reveal_llm_key('policies') is not null as granted;
select public.resolve_llm_route() is not null as granted;
do $$
begin
  perform set_config('policies.check', public.begin_llm_key_check('{"provider": "policies"}') ->> 'check_id', true);
end
$$;
reset role;
update llm_private.key_reveals set granted_in = '3'
where owner_id = 'be200000-0000-4000-8000-000000000002';
update llm_private.leases set granted_in = '3'
where user_id = 'be200000-0000-4000-8000-000000000002';
update llm_private.key_checks set granted_in = '3'
where user_id = 'be200000-0000-4000-8000-000000000002';

-- Ada has no key.
set local role authenticated;
set local "request.jwt.claims" = '{"sub": "ada00000-0000-4000-8000-000000000001", "role": "authenticated"}';
select is(public.list_llm_keys(), '[]', 'Ada does not see Ben''s key');
select throws_ok(
  $$select public.reveal_llm_key('policies')$$, 'PT404', 'There is no key for this provider.', 'she cannot reveal it'
);
select throws_ok(
  $$select public.begin_llm_key_check('{"provider": "policies"}')$$, 'PT404', 'There is no key for this provider.',
  'she cannot check it'
);
select throws_ok(
  $$select public.begin_llm_key_check(json_build_object('check_id', current_setting('policies.check')))$$, 'PT404',
  'Key check not found, or it began more than a minute ago.', 'she cannot take over his check'
);
select throws_ok(
  $$select public.record_llm_key_check(current_setting('policies.check')::uuid, 'rejected')$$, 'PT404',
  'Key check not found, or its result is already recorded.', 'she cannot record its result'
);
select throws_ok(
  $$select public.remove_llm_key('policies')$$, 'PT404', 'There is no key for this provider.', 'she cannot remove it'
);
select throws_ok(
  'select public.resolve_llm_route()', 'PT422', 'No provider can serve this request.', 'her route does not use it'
);
select ok(
  not jsonb_path_exists(public.explain_llm_route(), '$.candidates[*] ? (@.provider == "policies")'),
  'nor does its explanation'
);
-- She reports that his key was rejected.
select ok(
  public.record_llm_usage(
    current_setting('policies.request')::uuid, 1, 'policies', 'small', 'user', 'failed', p_error_class => 'auth',
    p_key_id => current_setting('policies.key')::uuid
  ),
  'she can name it in what she records'
);

-- She stores, checks, rejects and removes a key of her own.
select public.set_llm_key('{"provider": "policies", "key": "sk-policies-of-ada"}') is not null as stored;
select public.set_llm_key('{"provider": "policies", "key": "sk-policies-of-ada-2"}') is not null as stored;
select is(jsonb_array_length(public.list_llm_keys()), 1, 'she sees her own key');
select is(public.resolve_llm_route()::text, '{"again" : true}', 'Ben''s lease does not serve her');
select is(public.reveal_llm_key('policies')::text, '{"again" : true}', 'nor does his reveal');
do $$
begin
  perform set_config('policies.own_check', public.begin_llm_key_check('{"provider": "policies"}') ->> 'check_id', true);
end
$$;
select is(
  public.record_llm_key_check(current_setting('policies.own_check')::uuid, 'rejected') ->> 'status', 'rejected',
  'she rejects her own key'
);
-- Her data key is damaged, so that what it encrypts is lost.
reset role;
update llm_private.key_owners set wrapped_key = '\x00'
where id = 'ada00000-0000-4000-8000-000000000001';
set local role authenticated;
select public.set_llm_key('{"provider": "policies", "key": "sk-policies-of-ada-3"}') is not null as stored;
select is(public.list_llm_keys() #>> '{0,status}', 'untested', 'she stores a key again');
select public.remove_llm_key('policies') is null as removed;
-- She makes a team.
do $$
begin
  perform set_config('policies.team', public.create_llm_team('Lab') ->> 'id', true);
end
$$;

-- Nothing happened to Ben's.
set local "request.jwt.claims" = '{"sub": "be200000-0000-4000-8000-000000000002", "role": "authenticated"}';
select is(
  (select k.id || ' ' || k.status from public.llm_keys as k), current_setting('policies.key') || ' untested',
  'Ben''s key is unchanged'
);
select is(public.list_llm_keys() -> 0 ->> 'last_used_at', null, 'he has not used it');
select is(public.resolve_llm_route() #>> '{candidates,0,key}', 'sk-policies-of-ben', 'it serves his requests');
select matches(
  public.resolve_llm_route() ->> 'version', '^[0-9]+[.][0-9]+$', 'no change of Ada''s team makes his routes outdated'
);
select throws_ok(
  $$select public.explain_llm_route(p_team => current_setting('policies.team'))$$, 'PT404',
  'Team not found, or you are not a member of it.', 'his requests cannot name her team'
);
select is(public.reveal_llm_key('policies') ->> 'key', 'sk-policies-of-ben', 'he can reveal it');
select is(
  public.begin_llm_key_check(json_build_object('check_id', current_setting('policies.check'))) ->> 'key',
  'sk-policies-of-ben',
  'his check goes on'
);
select is(
  public.record_llm_key_check(current_setting('policies.check')::uuid, 'works') ->> 'status', 'working',
  'and its result is his key''s'
);
select is_empty($$select from public.llm_alerts where kind = 'key_rejected'$$, 'he has no alert about it');

select * from finish();
rollback;
