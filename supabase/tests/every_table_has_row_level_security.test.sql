-- Without row level security, a grant on a table would open all of its rows.
begin;
select plan(2);

select is_empty(
  $$
  select c.oid::regclass from pg_class as c
  where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relrowsecurity
    and c.relname = any(array[
      'user_llm_settings', 'llm_keys', 'llm_audit_log', 'llm_alerts', 'llm_usage_events', 'llm_usage_totals',
      'llm_usage_adjustments', 'llm_prices', 'llm_providers', 'llm_tasks'
    ])
  $$,
  'every table in public has row level security'
);
select is_empty(
  $$
  select c.oid::regclass from pg_class as c
  where c.relnamespace = 'llm_private'::regnamespace and c.relkind in ('r', 'p') and not c.relrowsecurity
  $$,
  'every table in llm_private has row level security, the months of usage and audit log included'
);

select * from finish();
rollback;
