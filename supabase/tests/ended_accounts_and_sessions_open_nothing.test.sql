-- A token outlives a suspension, a ban, a sign-out and the deletion of its account. After each of them, it opens
-- neither keys nor the operator's budget.
begin;
select plan(78);

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
insert into auth.sessions (id, user_id) values
('ada00000-0000-4000-8000-00000000000b', 'ada00000-0000-4000-8000-000000000001'),
('be200000-0000-4000-8000-00000000000c', 'be200000-0000-4000-8000-000000000002');
insert into public.llm_providers (id, name, base_url, default_model)
values ('policies', 'Policies', 'https://policies.test', 'small');

create temporary table calls (call text);
insert into calls values
('select public.resolve_llm_route()'),
('select public.explain_llm_route()'),
($$select public.explain_llm_route(p_changes => '{"enable_fallbacks": false}')$$),
($$select public.reveal_llm_key('policies')$$),
($$select public.begin_llm_key_check('{"provider": "policies"}')$$),
($$select public.reserve_llm_attempt(llm_id(), 1, 'policies', 'small', 'user')$$);
update calls set call = replace(call, 'llm_id()', quote_literal(llm_private.uuid_v7()));
grant select on table calls to authenticated;

set local role authenticated;
set local "request.jwt.claims"
= '{"sub": "ada00000-0000-4000-8000-000000000001", "session_id": "ada00000-0000-4000-8000-00000000000b"}';
select public.set_llm_key('{"provider": "policies", "key": "sk-policies-of-ada"}') is not null as stored;
select lives_ok(c.call, format('signed in: %s', c.call)) from calls as c;

reset role;
update auth.users set banned_until = now() + interval '1 day'
where id = 'ada00000-0000-4000-8000-000000000001';
set local role authenticated;
select throws_ok(c.call, 'PT403', 'This account is banned.', format('banned: %s', c.call)) from calls as c;

reset role;
update auth.users set banned_until = null
where id = 'ada00000-0000-4000-8000-000000000001';
insert into llm_private.suspended_users (user_id) values ('ada00000-0000-4000-8000-000000000001');
set local role authenticated;
select throws_ok(c.call, 'PT403', 'This account is suspended from using models.', format('suspended: %s', c.call))
from calls as c;

reset role;
update llm_private.suspended_users set user_id = 'be200000-0000-4000-8000-000000000002'
where user_id = 'ada00000-0000-4000-8000-000000000001';
set local role authenticated;
select lives_ok(c.call, format('Ben suspended: %s', c.call)) from calls as c;

reset role;
delete from auth.sessions
where id = 'ada00000-0000-4000-8000-00000000000b';
set local role authenticated;
select throws_ok(c.call, 'PT401', 'This session has ended.', format('signed out: %s', c.call)) from calls as c;

set local "request.jwt.claims"
= '{"sub": "ada00000-0000-4000-8000-000000000001", "session_id": "be200000-0000-4000-8000-00000000000c"}';
select throws_ok(c.call, 'PT401', 'This session has ended.', format('in Ben''s session: %s', c.call)) from calls as c;

reset role;
update auth.users set deleted_at = now()
where id = 'ada00000-0000-4000-8000-000000000001';
set local role authenticated;
set local "request.jwt.claims" = '{"sub": "ada00000-0000-4000-8000-000000000001", "role": "authenticated"}';
select
  throws_ok(
    c.call, 'PT401', 'The account of this access token does not exist or was deleted.',
    format('marked as deleted: %s', c.call)
  )
from calls as c;
select is_empty('select from public.llm_keys', 'marked as deleted, it reads no table');

reset role;
delete from auth.users
where id = 'ada00000-0000-4000-8000-000000000001';
insert into calls values
('select public.get_llm_settings()'),
($$select public.set_llm_settings('{"enable_fallbacks": true}')$$),
($$select public.explain_llm_route(p_changes => '{"enable_fallbacks": true}')$$),
('select public.list_llm_keys()'),
($$select public.set_llm_key('{"provider": "policies", "key": "sk-policies-of-ada"}')$$),
($$select public.remove_llm_key('policies')$$),
($$select public.record_llm_key_check(gen_random_uuid(), 'works')$$),
($$select public.list_llm_models('policies')$$),
($$select public.list_llm_prices('policies')$$),
($$select public.set_llm_price('policies', 'small', '{"input": 1}')$$),
('select public.end_llm_price(1)'),
('select public.list_llm_quotas()'),
($$select public.set_llm_quota('{"limit": 1, "unit": "requests", "period": "day"}')$$),
('select public.remove_llm_quota(1)'),
('select public.release_llm_request(gen_random_uuid())'),
($$select public.record_llm_usage(llm_id(), 1, 'policies', 'small', 'user', 'succeeded')$$),
($$select public.record_llm_usage_batch('[]')$$),
($$select public.record_llm_refusals('{"no_usable_key": 1}')$$),
('select public.list_llm_refusals()'),
('select public.get_llm_usage()'),
('select public.list_llm_requests()'),
('select public.list_llm_usage_events()'),
('select public.get_llm_forecast()'),
('select public.list_llm_hints()'),
('select public.list_llm_alerts()'),
('select public.dismiss_llm_alerts()'),
('select public.get_llm_audit_log()');
update calls set call = replace(call, 'llm_id()', quote_literal(llm_private.uuid_v7()));
set local role authenticated;
select
  throws_ok(
    c.call, 'PT401', 'The account of this access token does not exist or was deleted.', format('deleted: %s', c.call)
  )
from calls as c;
set local "request.jwt.claims" = '{"sub": "ada@elsewhere.test", "role": "authenticated"}';
select throws_ok(
  'select public.get_llm_settings()', 'PT403',
  'This access token is not of an account of Supabase Auth.', 'a token of another issuer is not of a deleted account'
);
reset role;
select is_empty(
  $$select from llm_private.key_secrets where owner_id = 'ada00000-0000-4000-8000-000000000001'$$,
  'with the account, its keys are deleted'
);

select * from finish();
rollback;
