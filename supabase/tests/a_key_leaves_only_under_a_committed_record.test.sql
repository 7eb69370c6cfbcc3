-- A caller can roll back the transaction that returns a key, and the record of it with it. So the first call writes the
-- record and returns no key, and a later transaction returns the key. These tests are one transaction: it asks again
-- until the record looks as if an earlier transaction had committed it.
begin;
select plan(25);

-- The operator's settings and quotas do not matter here.
update llm_private.operator_settings
set
  keys_readable_by = 'owner', reveal_enabled = true, reveal_sign_in_within = null, operator_keys_by_default = true,
  changes_per_day = 500, own_prices_per_user = 500, usage_names_per_day = 200;
update llm_private.quotas set group_name = 'nobody ' || id
where team_id is null;

insert into auth.users (id, email) values ('ada00000-0000-4000-8000-000000000001', 'ada@policies.test');
insert into public.llm_providers (id, name, base_url, default_model)
values ('policies', 'Policies', 'https://policies.test', 'small');
set local role authenticated;
set local "request.jwt.claims" = '{"sub": "ada00000-0000-4000-8000-000000000001", "role": "authenticated"}';
select public.set_llm_key('{"provider": "policies", "key": "sk-policies-of-ada"}') is not null as stored;

-- Revealing a key.
select is(public.reveal_llm_key('policies')::text, '{"again" : true}', 'the first reveal returns no key');
select is(
  (
    select count(*) from public.get_llm_audit_log()
    where action = 'key_revealed'
  ), 1::bigint,
  'it is on the audit log'
);
select is(public.reveal_llm_key('policies')::text, '{"again" : true}', 'nor does another in the same transaction');
reset role;
update llm_private.key_reveals set granted_in = '3'
where owner_id = 'ada00000-0000-4000-8000-000000000001';
set local role authenticated;
set local "request.jwt.claims"
= '{"sub": "ada00000-0000-4000-8000-000000000001", "session_id": "ada00000-0000-4000-8000-00000000000b"}';
reset role;
insert into auth.sessions (id, user_id)
values ('ada00000-0000-4000-8000-00000000000b', 'ada00000-0000-4000-8000-000000000001');
set local role authenticated;
select is(public.reveal_llm_key('policies')::text, '{"again" : true}', 'a record of one session serves no other');
set local "request.jwt.claims" = '{"sub": "ada00000-0000-4000-8000-000000000001", "role": "authenticated"}';
select is(public.reveal_llm_key('policies') ->> 'key', 'sk-policies-of-ada', 'a committed record releases the key');
select is(public.reveal_llm_key('policies')::text, '{"again" : true}', 'once');
reset role;
update llm_private.key_reveals set granted_in = '3', expires_at = now()
where owner_id = 'ada00000-0000-4000-8000-000000000001';
set local role authenticated;
select is(public.reveal_llm_key('policies')::text, '{"again" : true}', 'an expired record releases nothing');
reset role;
update llm_private.operator_settings set keys_readable_by = 'runtime', reveal_enabled = false;
set local role authenticated;
select throws_ok(
  $$select public.reveal_llm_key('policies')$$, 'PT403', 'Stored keys cannot be shown in this project.',
  'the operator can switch reveals off'
);
reset role;
update llm_private.operator_settings set reveal_enabled = true, reveal_sign_in_within = '10 minutes';
set local role authenticated;
select throws_ok(
  $$select public.reveal_llm_key('policies')$$, 'PT403',
  'Showing a key requires a recent sign-in, and the access token does not contain the time of the sign-in.',
  'and ask for a token that contains the time of the sign-in'
);
set local "request.jwt.claims"
= '{"sub": "ada00000-0000-4000-8000-000000000001", "role": "authenticated", "amr": [{"timestamp": 1}]}';
select throws_ok(
  $$select public.reveal_llm_key('policies')$$, 'PT403', 'Showing a key requires a recent sign-in.',
  'and for a recent sign-in'
);
reset role;
update llm_private.operator_settings set reveal_sign_in_within = null, require_second_factor = true;
set local role authenticated;
set local "request.jwt.claims"
= '{"sub": "ada00000-0000-4000-8000-000000000001", "role": "authenticated", "aal": "aal1"}';
select throws_ok(
  $$select public.reveal_llm_key('policies')$$, 'PT403', 'This requires a sign-in with a second factor.',
  'and for a second factor'
);
set local "request.jwt.claims" = '{"sub": "ada00000-0000-4000-8000-000000000001", "role": "authenticated"}';
select throws_ok(
  $$select public.reveal_llm_key('policies')$$, 'PT403',
  'This requires a sign-in with a second factor, and the access token does not contain how the user signed in.',
  'which a token must show'
);
reset role;
update llm_private.operator_settings set keys_readable_by = 'owner', require_second_factor = false;

-- Resolving a route.
set local role authenticated;
select is(public.resolve_llm_route()::text, '{"again" : true}', 'the first route returns no key');
select is(
  (
    select count(*) from public.get_llm_audit_log()
    where action = 'lease'
  ), 1::bigint, 'its lease is on the audit log'
);
select is(public.resolve_llm_route()::text, '{"again" : true}', 'nor does another in the same transaction');
reset role;
update llm_private.leases set granted_in = '3'
where user_id = 'ada00000-0000-4000-8000-000000000001';
set local role authenticated;
set local "request.jwt.claims"
= '{"sub": "ada00000-0000-4000-8000-000000000001", "session_id": "ada00000-0000-4000-8000-00000000000b"}';
select is(public.resolve_llm_route()::text, '{"again" : true}', 'a lease of one session serves no other');
set local "request.jwt.claims" = '{"sub": "ada00000-0000-4000-8000-000000000001", "role": "authenticated"}';
select is(
  public.resolve_llm_route() #>> '{candidates,0,key}', 'sk-policies-of-ada', 'a committed lease releases the key'
);
reset role;
update llm_private.leases set expires_at = now()
where user_id = 'ada00000-0000-4000-8000-000000000001';
set local role authenticated;
select is(public.resolve_llm_route()::text, '{"again" : true}', 'an expired lease releases nothing');

-- Checking a stored key.
do $$
begin
  perform set_config('policies.answer', public.begin_llm_key_check('{"provider": "policies"}')::text, true);
  perform set_config(
    'policies.check', json_build_object('check_id', current_setting('policies.answer')::json ->> 'check_id')::text, true
  );
end
$$;
select is(current_setting('policies.answer')::json ->> 'again', 'true', 'the first call of a key check returns no key');
select is(
  (
    select count(*) from public.get_llm_audit_log()
    where action = 'key_checked'
  ), 1::bigint,
  'the check is on the audit log'
);
select is(
  public.begin_llm_key_check(current_setting('policies.check')::json)
  ->> 'again',
  'true', 'nor does another in the same transaction'
);
reset role;
update llm_private.key_checks set granted_in = '3'
where user_id = 'ada00000-0000-4000-8000-000000000001';
set local role authenticated;
set local "request.jwt.claims"
= '{"sub": "ada00000-0000-4000-8000-000000000001", "session_id": "ada00000-0000-4000-8000-00000000000b"}';
select throws_ok(
  $$select public.begin_llm_key_check(current_setting('policies.check')::json)$$,
  'PT404', 'Key check not found, or it began more than a minute ago.', 'a check of one session serves no other'
);
set local "request.jwt.claims" = '{"sub": "ada00000-0000-4000-8000-000000000001", "role": "authenticated"}';
select is(
  public.begin_llm_key_check(current_setting('policies.check')::json)
  ->> 'key',
  'sk-policies-of-ada', 'a committed check releases the key'
);
reset role;
update llm_private.key_checks set begun_at = now() - interval '1 hour'
where user_id = 'ada00000-0000-4000-8000-000000000001';
set local role authenticated;
select throws_ok(
  $$select public.begin_llm_key_check(current_setting('policies.check')::json)$$,
  'PT404', 'Key check not found, or it began more than a minute ago.', 'an expired check releases nothing'
);

-- A route without keys of the user needs no record.
select public.remove_llm_key('policies') is null as removed;
select throws_ok(
  'select public.resolve_llm_route()',
  'PT422',
  'No provider can serve this request.',
  'without a key, there is none to release'
);

select * from finish();
rollback;
