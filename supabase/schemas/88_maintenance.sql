-- Maintenance of the usage ledger: rolling up, dropping old events, and checking that the totals are correct.

create table llm_private.usage_retention (
  only_row boolean primary key default true check (only_row),
  events_since timestamptz not null default '-infinity'
);

comment on table llm_private.usage_retention is 'How far back events go; exactly one row.';
comment on column llm_private.usage_retention.events_since is
'Events of earlier requests were dropped; their totals are kept.';

alter table llm_private.usage_retention enable row level security;

-- Private helpers -----------------------------------------------------------------------------------------------------

create function llm_private.drop_months(p_table text, p_column text, p_since timestamptz)
returns text[]
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_partition text;
  v_dropped text[] := '{}'::text[];
  v_deleted text[];
begin
  for v_partition in
    select c.relname from pg_inherits as i inner join pg_class as c on c.oid = i.inhrelid
    where
      i.inhparent = format('public.%I', p_table)::regclass
      and c.relname ~ '_[0-9]{4}_[0-9]{2}$'
      and right(c.relname, 7) < to_char(p_since at time zone 'UTC', 'YYYY_MM')
    order by 1
  loop
    execute format('drop table llm_private.%I', v_partition);
    v_dropped := v_dropped || replace(right(v_partition, 7), '_', '-');
  end loop;
  -- Months without a partition have their rows in the default partition.
  execute format(
    'with deleted as (delete from public.%I where %I < %L returning %I as id) '
    'select array_agg(distinct to_char(llm_private.uuid_v7_time(d.id) at time zone ''UTC'', ''YYYY-MM'')) '
    'from deleted as d',
    p_table, p_column, llm_private.first_uuid_v7(p_since), p_column
  ) into v_deleted;
  return array(
    select distinct m.month from unnest(v_dropped || v_deleted) as m (month) order by m.month
  );
end
$$;

comment on function llm_private.drop_months is
'Drop the rows of an append-only table from months before p_since. Returns these months.';

create function llm_private.first_kept_month(p_months integer)
returns timestamptz
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (date_trunc('month', now() at time zone 'UTC') - make_interval(months => p_months - 1)) at time zone 'UTC';
end
$$;

comment on function llm_private.first_kept_month is
'When the oldest of the last p_months months began, including this one; null for null.';

create function llm_private.drop_old_events()
returns text[]
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '250ms'
as $$
declare
  v_since constant timestamptz := llm_private.first_kept_month(
    (select o.events_kept_months from llm_private.operator_settings as o)
  );
  v_dropped text[];
begin
  if v_since is null or exists (select from llm_private.usage_retention as r where r.events_since >= v_since) then
    return '{}'::text[];
  end if;
  v_dropped := llm_private.drop_months('llm_usage_events', 'request_id', v_since);
  delete from public.llm_usage_adjustments where request_id < llm_private.first_uuid_v7(v_since);
  update llm_private.usage_retention set events_since = v_since;
  return v_dropped;
exception when lock_not_available then
  -- The next run drops them; recording must not wait for this one.
  return null;
end
$$;

comment on function llm_private.drop_old_events is
'Drop events of months that the operator no longer keeps. Returns these months; null if another transaction blocks it.';

create function llm_private.drop_old_audit()
returns text[]
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '250ms'
as $$
declare
  v_since constant timestamptz := llm_private.first_kept_month(
    (select o.audit_kept_months from llm_private.operator_settings as o)
  );
begin
  if v_since is null then
    return '{}'::text[];
  end if;
  perform llm_private.forget_dropped_seals(v_since);
  return llm_private.drop_months('llm_audit_log', 'id', v_since);
exception when lock_not_available then
  return null;
end
$$;

comment on function llm_private.drop_old_audit is
'Drop the audit log''s entries of months that the operator no longer keeps. Returns these months; null if another
transaction blocks it.';

create function llm_private.run_maintenance()
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_left integer;
  v_dropped text[];
  v_dropped_audit text[];
  v_sealing jsonb;
begin
  perform llm_private.require_plain_call('run_llm_maintenance');
  v_left := llm_private.roll_up_usage('4 seconds');
  perform llm_private.add_month_partitions();
  v_dropped := llm_private.drop_old_events();
  v_dropped_audit := llm_private.drop_old_audit();
  delete from llm_private.refused_events where day < (now() at time zone 'UTC')::date - 30;
  -- The quotas of a user go with the user, also during a request.
  delete from llm_private.reservations as r
  where not exists (select from llm_private.quotas as q where q.id = r.quota_id);
  delete from llm_private.dropped_events where day < (now() at time zone 'UTC')::date - 30;
  delete from llm_private.refusals where day < (now() at time zone 'UTC')::date - 30;
  delete from llm_private.team_invitations where expires_at <= now();
  update llm_private.installation set maintained_at = now();
  if v_dropped <> '{}' or v_dropped_audit <> '{}' then
    perform llm_private.audit_operator(
      'months_dropped', p_detail => jsonb_build_object('events', v_dropped, 'audit', v_dropped_audit)
    );
  end if;
  -- Last, because a verification waits for the seals of its log.
  v_sealing := llm_private.seal_audit_logs('2 seconds');
  return jsonb_build_object(
    'hours_left', v_left,
    'dropped_months', v_dropped,
    'dropped_audit_months', v_dropped_audit,
    'sealed_entries', v_sealing -> 'sealed',
    'done', coalesce(v_left, 1) = 0 and v_dropped is not null and v_dropped_audit is not null
    and (v_sealing -> 'done')::boolean
  );
end
$$;

comment on function llm_private.run_maintenance is 'See run_llm_maintenance().';

create type llm_private.usage_difference as (
  totals text,
  starts_at timestamptz,
  user_id uuid,
  provider text,
  model text,
  task text,
  key_source text,
  key_id uuid,
  recorder uuid,
  recorded_by text,
  team_id uuid,
  differences jsonb
);

comment on type llm_private.usage_difference is
'A group whose totals are wrong, with the excess of each measure.';

create function llm_private.usage_differences(p_from timestamptz, p_until timestamptz)
returns setof llm_private.usage_difference
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_group constant text[] := '{provider,model,task,key_source}'::text[];
begin
  return query
  with sides as (
    -- The users' totals minus the events.
    select 1 as sign, 'users' as totals, s.* from llm_private.sum_usage(
      'users', null, p_from, p_until, 'hour', 'UTC', v_group || '{user,key_id,recorder,team}'
    ) as s
    union all
    select -1, 'users', e.* from llm_private.totals_of_events(p_from, p_until) as e
    union all
    -- The project's totals minus the users' totals.
    select r.sign, r.span, s.*
    from (
      values (1, 'hour', 'hours'), (1, 'day', 'days'), (-1, 'hour', 'users'), (-1, 'day', 'users')
    ) as r (sign, span, source)
    cross join lateral llm_private.sum_usage(
      r.source, null, p_from, p_until, r.span, 'UTC', v_group || 'recorded_by'::text
    ) as s
    where exists (
      select from llm_private.usage_rollups as f
      where f.span = r.span and not f.stale and f.starts_at = coalesce(s.hour, s.day::timestamp at time zone 'UTC')
    )
  ),
  differing as (
    select
      s.totals, coalesce(s.hour, s.day::timestamp at time zone 'UTC') as starts_at, s.user_id, s.provider, s.model,
      s.task, s.key_source, s.key_id, s.recorder, s.recorded_by, s.team_id, m.measure, sum(s.sign * m.value) as value
    from sides as s
    cross join lateral (
      select j.key as measure, j.value::numeric as value from jsonb_each_text(to_jsonb(s.measures)) as j
      union all
      select 'latency_counts ' || c.i, c.n from unnest(s.latency_counts) with ordinality as c (n, i) where c.n <> 0
      union all
      select 'last_used_at', extract(epoch from s.last_used_at)
    ) as m
    group by 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12
    having sum(s.sign * m.value) <> 0
  )
  select
    d.totals, d.starts_at, d.user_id, d.provider, d.model, d.task, d.key_source, d.key_id, d.recorder,
    d.recorded_by, d.team_id, jsonb_object_agg(d.measure, d.value)
  from differing as d
  group by 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
  order by 2, 1, 4, 5;
end
$$;

comment on function llm_private.usage_differences is
'Groups whose totals differ from the sums of their parts, with the excess, for hours that begin from p_from to before
p_until. The users'' totals are compared with the events and adjustments, the project''s rolled up hours and days with
the users'' totals.';

create function llm_private.check_usage(p_since date, p_until date)
returns jsonb
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_events_since constant timestamptz := (select r.events_since from llm_private.usage_retention as r);
  v_first constant timestamptz := (select min(t.hour) from public.llm_usage_totals as t);
  v_last constant date := (now() at time zone 'UTC')::date + 1;
  v_from timestamptz;
  v_until timestamptz;
  v_differing bigint;
  v_shown jsonb;
begin
  -- Whole days, because the project's totals include days, from the first one with events. Days may be infinite.
  v_from := greatest(
    least(coalesce(p_since, (coalesce(v_first, now()) at time zone 'UTC')::date), v_last)::timestamp at time zone 'UTC',
    v_events_since, 'epoch'
  );
  v_until := greatest((least(p_until, v_last) + 1)::timestamp at time zone 'UTC', 'epoch');
  select count(*), coalesce(jsonb_agg(to_jsonb(d)) filter (where d.position <= 100), '[]') into v_differing, v_shown
  from (
    select row_number() over () as position, u.* from llm_private.usage_differences(v_from, v_until) as u
  ) as d;
  return jsonb_build_object(
    'first_day', case when v_first is not null then (greatest(v_first, v_events_since) at time zone 'UTC')::date end,
    'since', (v_from at time zone 'UTC')::date,
    'until', (v_until at time zone 'UTC')::date - 1,
    'differing', v_differing,
    'differences', v_shown
  );
end
$$;

comment on function llm_private.check_usage is 'See check_llm_usage().';

-- Public RPCs ---------------------------------------------------------------------------------------------------------

create function public.run_llm_maintenance()
returns jsonb
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select llm_private.run_maintenance()
$$;

comment on function public.run_llm_maintenance is
'For administrators or pg_cron: roll up finished hours into the project''s totals for a few seconds, create the next
months'' partitions, drop events and the audit log''s entries that are no longer kept, and seal the new entries. Returns
hours_left (null: another run is in progress), dropped_months (of events), dropped_audit_months (null: another
transaction blocked it), sealed_entries (null: another run is sealing) and done; call again until done is true. Without
maintenance, reports are correct but slower.';

create function public.check_llm_usage(p_since date default null, p_until date default null)
returns jsonb
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select llm_private.check_usage(p_since, p_until)
$$;

comment on function public.check_llm_usage is
'For administrators: compare the users'' totals with the events and adjustments that they sum, and the project''s totals
with the users'', on the days (UTC) from p_since to p_until that have events. Returns first_day (with events), since and
until (the compared days), differing (how many groups differ; 0: the totals are exact) and differences: the first 100
groups, each with how much higher its totals are.';
