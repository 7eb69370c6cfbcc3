-- A project's secret key manages users and reads their usage, and opens none of their keys.
begin;
select plan(13);

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
select public.set_llm_key('{"provider": "policies", "key": "sk-policies-0123456789-ada"}') is not null as stored;

set local role service_role;
set local "request.jwt.claims" = '{"role": "service_role"}';
select results_eq(
  $$select hint from public.llm_keys where owner_id = 'ada00000-0000-4000-8000-000000000001'$$, array['sk-…-ada'],
  'an administrator sees the masked hint of a key'
);
select throws_ok(c.call, '42501', null, format('an administrator cannot: %s', c.call))
from (
  values
  ($$select public.reveal_llm_key('policies')$$),
  ('select public.resolve_llm_route()'),
  ($$select public.begin_llm_key_check('{"provider": "policies"}')$$),
  ('select ciphertext from llm_private.key_secrets'),
  ('select secret from llm_private.ticket_keys'),
  ($$select llm_private.stored_key('ada00000-0000-4000-8000-000000000001', gen_random_uuid())$$),
  ('select wrapped_key from llm_private.key_owners'),
  ($$select llm_private.data_key('ada00000-0000-4000-8000-000000000001')$$),
  ($$select llm_private.data_key_to_write('ada00000-0000-4000-8000-000000000001')$$),
  ($$select llm_private.unwrap_data_key('ada00000-0000-4000-8000-000000000001', '', '')$$),
  ('select llm_private.master_key(1::smallint)')
) as c (call);
-- Nor with the token of a user beside it.
set local "request.jwt.claims" = '{"sub": "ada00000-0000-4000-8000-000000000001", "role": "service_role"}';
select throws_ok(
  $$select public.reveal_llm_key('policies')$$, '42501', null, 'nor with a user''s id in the token'
);

select * from finish();
rollback;
