-- The operator's keys and budget serve requests that a registered runtime runs, never a browser's. Where the operator
-- asks for it, users' own keys leave to runtimes alone as well, so that a stolen token reads none.
begin;
select plan(37);

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
create function pg_temp.through(p_runtime text) returns void language sql as $$
  select set_config('request.headers', json_build_object('x-llm-runtime', current_setting(p_runtime))::text, true)
$$;
do $$
begin
  perform set_config('policies.request', llm_private.uuid_v7()::text, true);
  -- The app's server, and one that was replaced.
  perform set_config('policies.runtime', public.register_llm_runtime('policies') ->> 'secret', true);
  perform set_config('policies.revoked', public.register_llm_runtime('revoked') ->> 'secret', true);
  perform public.revoke_llm_runtime(r.id)
  from llm_private.runtimes as r where r.name = 'revoked' and r.created_at = now();
end
$$;

-- Ada's browser.
set local role authenticated;
set local "request.jwt.claims" = '{"sub": "ada00000-0000-4000-8000-000000000001", "role": "authenticated"}';
select throws_ok(
  $$select public.resolve_llm_route(p_operator_providers => '{policies}')$$,
  'PT422',
  'No provider can serve this request.',
  'a browser that claims operator keys gets no route'
);
select throws_ok(
  format(
    'select public.record_llm_usage(%L, 1, %L, %L, %L, %L)',
    current_setting('policies.request'), 'policies', 'small', 'operator', 'succeeded'
  ),
  'PT403', null, 'it cannot record their use'
);
select throws_ok(
  format(
    'select public.reserve_llm_attempt(%L, 1, %L, %L, %L)',
    current_setting('policies.request'), 'policies', 'small', 'operator'
  ),
  'PT403', null, 'nor reserve for it'
);

-- A secret that is not registered. Ada has a key, a price and a quota.
do $$
begin
  perform public.set_llm_key('{"provider": "policies", "key": "sk-policies-of-ada"}');
  perform set_config('policies.price', public.set_llm_price('policies', 'small', '{"input": 1}') ->> 'id', true);
  perform set_config('policies.quota', public.set_llm_quota(
    '{"limit": 100, "unit": "requests", "period": "day", "provider": "policies"}'
  ) ->> 'id', true);
end
$$;
set local "request.headers" = '{"x-llm-runtime": "slr_guess"}';
select
  throws_ok(
    call, 'PT403', 'The runtime secret in x-llm-runtime is not registered or was revoked.',
    format('a wrong secret is refused: %s', call)
  )
from (
  values
  ($$select public.resolve_llm_route(p_operator_providers => '{policies}')$$),
  ($$select public.reveal_llm_key('policies')$$),
  ($$select public.set_llm_key('{"provider": "policies", "key": "sk-policies-of-ada"}')$$),
  ($$select public.begin_llm_key_check('{"provider": "policies"}')$$),
  ($$select public.release_llm_request(gen_random_uuid())$$),
  ($$select public.record_llm_key_check(gen_random_uuid(), 'works')$$),
  ($$select public.remove_llm_key('policies')$$),
  ($$select public.set_llm_settings('{"time_zone": "Europe/Berlin"}')$$),
  ($$select public.explain_llm_route()$$),
  ($$select public.set_llm_quota('{"limit": 1, "unit": "requests", "period": "day"}')$$),
  ('select public.remove_llm_quota(' || current_setting('policies.quota') || ')'),
  ($$select public.set_llm_price('policies', 'small', '{"input": 1}')$$),
  ('select public.end_llm_price(' || current_setting('policies.price') || ')'),
  (
    format(
      'select public.reserve_llm_attempt(%L, 1, %L, %L, %L)',
      current_setting('policies.request'),
      'policies',
      'small',
      'user'
    )
  ),
  (
    format(
      'select public.record_llm_usage(%L, 1, %L, %L, %L, %L)',
      current_setting('policies.request'),
      'policies',
      'small',
      'user',
      'succeeded'
    )
  ),
  ($$select public.record_llm_usage_batch('[]')$$)
) as c (call);
do $$
begin
  perform pg_temp.through('policies.revoked');
end
$$;
select throws_ok(
  $$select public.resolve_llm_route(p_operator_providers => '{policies}')$$,
  'PT403',
  null,
  'a revoked secret gets no route'
);

-- The secret of the app's server is rotated. Until the overlap ends, it may send the old one.
reset role;
do $$
begin
  perform set_config('policies.rotated', public.rotate_llm_runtime(r.id, 3600) ->> 'secret', true)
  from llm_private.runtimes as r where r.name = 'policies' and r.created_at = now();
end
$$;
set local role authenticated;

-- Ada's browser cannot record a check that the app's server began.
do $$
begin
  perform pg_temp.through('policies.runtime');
  perform set_config('policies.check', public.begin_llm_key_check('{"provider": "policies"}') ->> 'check_id', true);
  perform set_config('request.headers', '{}', true);
end
$$;
select throws_ok(
  $$select public.record_llm_key_check(current_setting('policies.check')::uuid, 'works')$$, 'PT404', null,
  'a browser cannot record the check that a runtime began'
);
select
  public.remove_llm_key('policies') is null as removed,
  public.remove_llm_quota(current_setting('policies.quota')::bigint) is null as removed_too;

-- The app's server, for Ada.
do $$
begin
  perform pg_temp.through('policies.runtime');
end
$$;
select is(
  public.resolve_llm_route(p_operator_providers => '{policies}') #>> '{candidates,0,key_source}', 'operator',
  'a runtime gets the operator''s candidate'
);
select is(
  public.resolve_llm_route(p_operator_providers => '{policies}') #>> '{candidates,0,key}', null,
  'whose key stays in the operator''s environment'
);
select ok(
  public.record_llm_usage(current_setting('policies.request')::uuid, 1, 'policies', 'small', 'operator', 'succeeded'),
  'it records the use of the operator''s keys'
);
select public.set_llm_settings('{"allow_operator_keys": false}') is not null as declined;
select throws_ok(
  $$select public.resolve_llm_route(p_operator_providers => '{policies}')$$, 'PT422', null,
  'unless the user has declined them'
);
select public.set_llm_settings('{"allow_operator_keys": true}') is not null as accepted;
reset role;
update auth.users set is_anonymous = true
where id = 'ada00000-0000-4000-8000-000000000001';
update llm_private.operator_settings set operator_keys_for_anonymous = false;
set local role authenticated;
select throws_ok(
  $$select public.resolve_llm_route(p_operator_providers => '{policies}')$$, 'PT422', null,
  'or is anonymous, as anyone can be any number of times'
);
reset role;
update auth.users set is_anonymous = false
where id = 'ada00000-0000-4000-8000-000000000001';

-- keys_readable_by = runtime: a token alone reads no key.
update llm_private.operator_settings set keys_readable_by = 'runtime';
set local role authenticated;
select public.set_llm_key('{"provider": "policies", "key": "sk-policies-of-ada"}') is not null as stored;
select is(public.resolve_llm_route()::text, '{"again" : true}', 'the runtime may lease Ada''s key');
select is(public.reveal_llm_key('policies')::text, '{"again" : true}', 'and show it to her');
reset role;
update llm_private.leases set granted_in = '3'
where user_id = 'ada00000-0000-4000-8000-000000000001';
update llm_private.key_reveals set granted_in = '3'
where owner_id = 'ada00000-0000-4000-8000-000000000001';
set local role authenticated;
set local "request.headers" = '{}';
select
  throws_ok(
    call, 'PT403', 'Only a registered runtime gets keys in this project.', format('a token alone cannot: %s', call)
  )
from (
  values
  ('select public.resolve_llm_route()'),
  ($$select public.begin_llm_key_check('{"provider": "policies"}')$$)
) as c (call);
do $$
begin
  perform pg_temp.through('policies.runtime');
end
$$;
select is(
  public.resolve_llm_route() #>> '{candidates,0,key}', 'sk-policies-of-ada', 'with the secret, the route has her key'
);

-- The overlap ends.
reset role;
update llm_private.runtimes set previous_until = now()
where name = 'policies' and created_at = now();
set local role authenticated;
select throws_ok('select public.resolve_llm_route()', 'PT403', null, 'the old secret is refused');
do $$
begin
  perform pg_temp.through('policies.rotated');
end
$$;
select is(
  public.resolve_llm_route() #>> '{candidates,0,key}', 'sk-policies-of-ada', 'the new one gets the route'
);

-- Revoking the runtime ends both secrets.
reset role;
update llm_private.runtimes set previous_until = now() + interval '1 hour', revoked_at = now()
where name = 'policies' and created_at = now();
set local role authenticated;
select throws_ok('select public.resolve_llm_route()', 'PT403', null, 'a revoked runtime is refused');
do $$
begin
  perform pg_temp.through('policies.runtime');
end
$$;
select throws_ok('select public.resolve_llm_route()', 'PT403', null, 'with its old secret as well');

-- A secret without a user opens nothing.
set local role anon;
set local "request.jwt.claims" = '';
select throws_ok(
  'select public.resolve_llm_route()', '42501', null,
  'the secret without a user''s token gets no route'
);
select throws_ok($$select public.reveal_llm_key('policies')$$, '42501', null, 'and no key');

select * from finish();
rollback;
