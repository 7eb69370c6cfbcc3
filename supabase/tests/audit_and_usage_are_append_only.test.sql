-- What happened stays: no API role changes or deletes an entry of the audit log, an event of usage, or an adjustment.
begin;
select plan(19);

-- The operator's settings do not matter here.
update llm_private.operator_settings
set
  keys_readable_by = 'owner', reveal_enabled = true, reveal_sign_in_within = null, operator_keys_by_default = true,
  changes_per_day = 500, own_prices_per_user = 500, usage_names_per_day = 200;

insert into auth.users (id, email) values ('ada00000-0000-4000-8000-000000000001', 'ada@policies.test');
insert into public.llm_providers (id, name, base_url, default_model)
values ('policies', 'Policies', 'https://policies.test', 'small');
select set_config('policies.request', llm_private.uuid_v7()::text, true) is not null as prepared;

set local role authenticated;
set local "request.jwt.claims" = '{"sub": "ada00000-0000-4000-8000-000000000001", "role": "authenticated"}';
select ok(
  public.record_llm_usage(
    current_setting('policies.request')::uuid, 1, 'policies', 'small', 'user', 'succeeded', p_input_tokens => 1000
  ),
  'Ada records an attempt'
);
select ok(
  not public.record_llm_usage(
    current_setting('policies.request')::uuid, 1, 'policies', 'small', 'user', 'failed', p_error_class => 'timeout'
  ),
  'recording it again changes nothing'
);
select results_eq(
  $$select outcome, input_tokens from public.llm_usage_events$$,
  $$values ('succeeded', 1000)$$,
  'the first record stands'
);

select
  throws_ok(
    format(
      case c.command
        when 'update' then 'update public.%I set user_id = user_id'
        when 'delete' then 'delete from public.%I'
        else 'truncate public.%I'
      end, t.name
    ), '42501', null, format('a user cannot %s %s', c.command, t.name)
  )
from unnest(array['llm_audit_log', 'llm_usage_events', 'llm_usage_totals', 'llm_usage_adjustments']) as t (name)
cross join unnest(array['update', 'delete']) as c (command);
set local role service_role;
set local "request.jwt.claims" = '{"role": "service_role"}';
select
  throws_ok(
    format(
      case c.command
        when 'update' then 'update public.%I set user_id = user_id'
        when 'delete' then 'delete from public.%I'
        else 'truncate public.%I'
      end, t.name
    ), '42501', null, format('an administrator cannot %s %s', c.command, t.name)
  )
from unnest(array['llm_audit_log', 'llm_usage_events']) as t (name)
cross join unnest(array['update', 'delete', 'truncate']) as c (command);

-- An administrator's change is on record, too.
select is(
  (
    select count(*) from public.get_llm_audit_log()
    where action = 'provider_set' and at = now()
  ), 0::bigint, 'before a change, the operator''s audit log has none'
);
select public.set_llm_provider('{"id": "policies", "name": "Renamed"}') is not null as changed;
select is(
  (
    select l.detail -> 'by' ->> 'role' from public.get_llm_audit_log() as l
    where l.action = 'provider_set' and l.at = now()
  ), 'service_role', 'after it, the log says who made it'
);

select * from finish();
rollback;
