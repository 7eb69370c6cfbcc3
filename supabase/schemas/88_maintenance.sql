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

create function llm_private.drop_old_events()
returns text[]
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set lock_timeout = '250ms'
as $$
declare
  v_months constant integer := (select o.events_kept_months from llm_private.operator_settings as o);
  v_since constant timestamptz := (
    date_trunc('month', now() at time zone 'UTC') - make_interval(months => v_months - 1)
  ) at time zone 'UTC';
  v_oldest constant uuid := llm_private.first_uuid_v7(v_since);
  v_partition text;
  v_dropped text[] := '{}'::text[];
begin
  if v_since is null or exists (select from llm_private.usage_retention as r where r.events_since >= v_since) then
    return '{}'::text[];
  end if;
  for v_partition in
    select c.relname from pg_inherits as i inner join pg_class as c on c.oid = i.inhrelid
    where
      i.inhparent = 'public.llm_usage_events'::regclass
      and c.relname ~ '_[0-9]{4}_[0-9]{2}$'
      and right(c.relname, 7) < to_char(v_since at time zone 'UTC', 'YYYY_MM')
    order by 1
  loop
    execute format('drop table llm_private.%I', v_partition);
    v_dropped := v_dropped || replace(right(v_partition, 7), '_', '-');
  end loop;
  -- Months without a partition have their events in the default partition.
  delete from public.llm_usage_events where request_id < v_oldest;
  delete from public.llm_usage_adjustments where request_id < v_oldest;
  update llm_private.usage_retention set events_since = v_since;
  return v_dropped;
exception when lock_not_available then
  -- The next run drops them; recording must not wait for this one.
  return null;
end
$$;

comment on function llm_private.drop_old_events is
'Drop events of months that the operator no longer keeps. Returns these months; null if another transaction blocks it.';

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
begin
  v_left := llm_private.roll_up_usage('4 seconds');
  perform llm_private.add_month_partitions();
  v_dropped := llm_private.drop_old_events();
  return jsonb_build_object(
    'hours_left', v_left,
    'dropped_months', v_dropped,
    'done', coalesce(v_left, 1) = 0 and v_dropped is not null
  );
end
$$;

comment on function llm_private.run_maintenance is 'See run_llm_maintenance().';

-- What is compared is unpivoted: a row a group and measure. Both sides of each comparison add up to 0.
create function llm_private.usage_differences(p_from timestamptz, p_until timestamptz)
returns table (
  totals text,
  starts_at timestamptz,
  user_id uuid,
  provider text,
  model text,
  task text,
  key_source text,
  key_id uuid,
  recorder uuid,
  differences jsonb
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_measures constant text[] := array[
    'requests', 'attempts', 'fallbacks', 'failures', 'cancelled', 'input_tokens', 'cached_input_tokens',
    'cache_write_tokens', 'output_tokens', 'reasoning_tokens', 'cost', 'cache_savings', 'unpriced', 'unreported',
    'last_used_at'
  ];
begin
  return query
  with adjustments as (
    select
      a.user_id, a.request_id, a.attempt, a.recorder, sum(a.cost) as cost, sum(a.cache_savings) as cache_savings
    from public.llm_usage_adjustments as a
    where
      a.request_id >= llm_private.first_uuid_v7(p_from) and a.request_id < llm_private.first_uuid_v7(p_until)
    group by a.user_id, a.request_id, a.attempt, a.recorder
  ),
  events as (
    select
      e.*, t.at, date_trunc('hour', t.at, 'UTC') as hour,
      coalesce(e.cost, 0) + coalesce(a.cost, 0) as cost_now,
      coalesce(e.cache_savings, 0) + coalesce(a.cache_savings, 0) as savings_now,
      e.cost is null and a.cost is null and e.price_id is null and a.user_id is null as unpriced,
      e.cost is null and a.cost is null and (e.price_id is not null or a.user_id is not null) as unreported
    from public.llm_usage_events as e
    cross join lateral (select llm_private.uuid_v7_time(e.request_id) as at) as t
    left join adjustments as a
      on a.user_id = e.user_id and a.request_id = e.request_id and a.attempt = e.attempt and a.recorder = e.recorder
    where
      e.request_id >= llm_private.first_uuid_v7(p_from) and e.request_id < llm_private.first_uuid_v7(p_until)
  ),
  rolled_up as (
    select p.*, f.starts_at + ('1 ' || f.span)::interval as ends_at
    from llm_private.usage_rollups as f
    inner join llm_private.project_totals as p using (span, starts_at)
    where not f.stale and f.starts_at >= p_from and f.starts_at < p_until
  ),
  users as (
    select 'users' as totals, t.hour as starts_at, t.* from public.llm_usage_totals as t
    where t.hour >= p_from and t.hour < p_until
    union all
    select f.span, f.starts_at, t.* from public.llm_usage_totals as t
    inner join llm_private.usage_rollups as f
      on not f.stale and f.starts_at >= p_from and f.starts_at < p_until
        and f.starts_at = date_trunc(f.span, t.hour, 'UTC')
    where t.hour >= p_from and t.hour < p_until + interval '1 day'
  ),
  of_users as (
    select
      u.totals, u.starts_at,
      case when u.totals = 'users' then u.user_id end as user_id, u.provider, u.model, u.task, u.key_source,
      case when u.totals = 'users' then u.key_id end as key_id,
      case when u.totals = 'users' then u.recorder end as recorder,
      array[
        sum(u.requests), sum(u.attempts), sum(u.fallbacks), sum(u.failures), sum(u.cancelled), sum(u.input_tokens),
        sum(u.cached_input_tokens), sum(u.cache_write_tokens), sum(u.output_tokens), sum(u.reasoning_tokens),
        sum(u.cost), sum(u.cache_savings), sum(u.unpriced), sum(u.unreported), extract(epoch from max(u.last_used_at))
      ]::numeric[] as sums
    from users as u
    group by 1, 2, 3, 4, 5, 6, 7, 8, 9
  ),
  sides as (
    -- The users' totals are more than the events by …
    select
      u.totals, u.starts_at, u.user_id, u.provider, u.model, u.task, u.key_source, u.key_id, u.recorder,
      v_measures[m.i] as measure, m.value * case when u.totals = 'users' then 1 else -1 end as value
    from of_users as u
    cross join lateral unnest(u.sums) with ordinality as m (value, i)
    union all
    select
      'users', e.hour, e.user_id, e.provider, e.model, e.task, e.key_source, e.key_id, e.recorder,
      v_measures[m.i], -m.value
    from (
      select
        e.hour, e.user_id, e.provider, e.model, e.task, e.key_source, e.key_id, e.recorder,
        array[
          count(*) filter (where e.attempt = 1), count(*), count(*) filter (where e.attempt = 2),
          count(*) filter (where e.outcome = 'failed'), count(*) filter (where e.outcome = 'cancelled'),
          coalesce(sum(e.input_tokens), 0), coalesce(sum(e.cached_input_tokens), 0),
          coalesce(sum(e.cache_write_tokens), 0), coalesce(sum(e.output_tokens), 0),
          coalesce(sum(e.reasoning_tokens), 0), sum(e.cost_now), sum(e.savings_now),
          count(*) filter (where e.unpriced), count(*) filter (where e.unreported), extract(epoch from max(e.at))
        ]::numeric[] as sums
      from events as e
      group by 1, 2, 3, 4, 5, 6, 7, 8
    ) as e
    cross join lateral unnest(e.sums) with ordinality as m (value, i)
    union all
    select
      'users', e.hour, e.user_id, e.provider, e.model, e.task, e.key_source, e.key_id, e.recorder,
      'latency_counts ' || llm_private.latency_bucket(e.latency_ms), -count(*)
    from events as e
    where e.latency_ms is not null
    group by 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
    union all
    select
      u.totals, u.starts_at,
      case when u.totals = 'users' then u.user_id end, u.provider, u.model, u.task, u.key_source,
      case when u.totals = 'users' then u.key_id end, case when u.totals = 'users' then u.recorder end,
      'latency_counts ' || c.i, sum(c.n) * case when u.totals = 'users' then 1 else -1 end
    from users as u
    cross join lateral unnest(u.latency_counts) with ordinality as c (n, i)
    where c.n <> 0
    group by 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, u.totals
    union all
    -- … and the project's more than the users'.
    select
      f.span, f.starts_at, null, f.provider, f.model, f.task, f.key_source, null, null, v_measures[m.i], m.value
    from rolled_up as f
    cross join lateral unnest(
      array[
        f.requests, f.attempts, f.fallbacks, f.failures, f.cancelled, f.input_tokens, f.cached_input_tokens,
        f.cache_write_tokens, f.output_tokens, f.reasoning_tokens, f.cost, f.cache_savings, f.unpriced, f.unreported,
        extract(epoch from f.last_used_at)
      ]::numeric[]
    ) with ordinality as m (value, i)
    union all
    select
      f.span, f.starts_at, null, f.provider, f.model, f.task, f.key_source, null, null, 'latency_counts ' || c.i, c.n
    from rolled_up as f
    cross join lateral unnest(f.latency_counts) with ordinality as c (n, i)
    where c.n <> 0
  ),
  differing as (
    select
      s.totals, s.starts_at, s.user_id, s.provider, s.model, s.task, s.key_source, s.key_id, s.recorder,
      s.measure, sum(s.value) as value
    from sides as s
    group by 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
    having sum(s.value) <> 0
  )
  select
    d.totals, d.starts_at, d.user_id, d.provider, d.model, d.task, d.key_source, d.key_id, d.recorder,
    jsonb_object_agg(d.measure, d.value)
  from differing as d
  group by 1, 2, 3, 4, 5, 6, 7, 8, 9
  order by 2, 1, 4, 5;
end
$$;

comment on function llm_private.usage_differences is
'Groups whose totals are not the sums of what they are made of, and by how much they are more, for hours that begin from
p_from to before p_until: the users'' against the events and their adjustments, the project''s (rolled up hours and days)
against the users''.';

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
  v_from timestamptz;
  v_until timestamptz;
  v_differing bigint;
  v_shown jsonb;
begin
  -- Whole days, because the project's totals include days, from the first one with events.
  v_from := greatest(
    coalesce(p_since::timestamp at time zone 'UTC', date_trunc('day', coalesce(v_first, now()), 'UTC')),
    v_events_since, 'epoch'
  );
  v_until := least(
    (p_until + 1)::timestamp at time zone 'UTC', date_trunc('day', now(), 'UTC') + interval '2 days'
  );
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
months'' partitions, and drop events that are no longer kept. Returns hours_left (null: another run is in progress),
dropped_months (null: another transaction blocked it) and done; call again until done is true. Without maintenance,
reports are correct but slower.';

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
