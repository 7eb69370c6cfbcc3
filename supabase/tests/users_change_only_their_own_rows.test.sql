-- Ada's changes of settings, prices and alerts leave Ben's as they are, even if she knows their ids.
begin;
select plan(16);

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

-- Ben has settings, a price and an alert.
insert into public.llm_alerts (user_id, kind, subject, detail) values
('ada00000-0000-4000-8000-000000000001', 'price_missing', 'policies/small', '{}'),
('be200000-0000-4000-8000-000000000002', 'price_missing', 'policies/small', '{}');
set local role service_role;
do $$
begin
  perform set_config('policies.operators', public.set_llm_price('policies', 'shared', '{"input": 1}') ->> 'id', true);
end
$$;
set local role authenticated;
set local "request.jwt.claims" = '{"sub": "be200000-0000-4000-8000-000000000002", "role": "authenticated"}';
select public.get_llm_settings() is not null as made;
do $$
begin
  perform set_config('policies.price', public.set_llm_price('policies', 'bens', '{"input": 1}') ->> 'id', true);
  perform set_config('policies.alert', (select a.id from public.llm_alerts as a)::text, true);
end
$$;

set local "request.jwt.claims" = '{"sub": "ada00000-0000-4000-8000-000000000001", "role": "authenticated"}';
select is(
  public.set_llm_settings('{"default_provider": "policies", "enable_fallbacks": false}') ->> 'user_id',
  'ada00000-0000-4000-8000-000000000001', 'Ada changes her settings'
);
select throws_ok(
  $$select public.set_llm_settings('{"user_id": "be200000-0000-4000-8000-000000000002"}')$$, 'PT400', null,
  'she cannot name another user in them'
);
select is(public.get_llm_settings() ->> 'default_provider', 'policies', 'her settings are changed');
select
  isnt(
    public.set_llm_price('policies', 'adas', '{"input": 2}') ->> 'id',
    current_setting('policies.price'),
    'she sets a price'
  );
select throws_ok(
  format('select public.end_llm_price(%s)', current_setting('policies.price')), 'PT404',
  'Price not found among your prices.', 'she cannot end Ben''s price'
);
select throws_ok(
  format('select public.end_llm_price(%s)', current_setting('policies.operators')), 'PT404',
  'Price not found among your prices.', 'nor the operator''s'
);
select is(
  (
    select jsonb_agg(p -> 'model') from jsonb_array_elements(public.list_llm_prices('policies')) as p
    where p ->> 'source' = 'user'
  ),
  '["adas"]',
  'she does not see it either'
);
select is(
  jsonb_array_length(public.list_llm_prices('policies', 'bens')), 0, 'nor by the name of its model'
);
select unalike(
  (select jsonb_agg(to_jsonb(m))::text from public.list_llm_models('policies') as m),
  '%bens%',
  'nor in the list of models'
);
select alike(
  (select jsonb_agg(to_jsonb(m))::text from public.list_llm_models('policies') as m), '%adas%', 'which has hers'
);
select results_eq(
  'select user_id from public.list_llm_alerts()',
  array['ada00000-0000-4000-8000-000000000001'::uuid],
  'she sees her alert'
);
select is(
  public.dismiss_llm_alerts(array[current_setting('policies.alert')::uuid]), 0, 'she cannot dismiss Ben''s'
);
select is(public.dismiss_llm_alerts(), 1, 'dismissing all dismisses hers');

-- Nothing of Ben's has changed.
set local "request.jwt.claims" = '{"sub": "be200000-0000-4000-8000-000000000002", "role": "authenticated"}';
select is(
  (select s.version || ' ' || coalesce(s.default_provider, 'none') from public.user_llm_settings as s), '1 none',
  'Ben''s settings are unchanged'
);
select is(
  (
    select jsonb_agg(p -> 'model') from jsonb_array_elements(public.list_llm_prices('policies')) as p
    where p ->> 'source' = 'user'
  ),
  '["bens"]',
  'his price is in force'
);
select is((select count(*) from public.list_llm_alerts()), 1::bigint, 'and his alert is unread');

select * from finish();
rollback;
