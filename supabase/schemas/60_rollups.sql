-- Project totals: the usage of all users together, so that a report over the project does not read every user's totals.
--
-- No request writes them, because all requests would wait for one row. Instead, each hour is rolled up once after its
-- end: the totals of its users become a few rows, and the 24 hours of a day become the rows of the day. Reports add
-- the users' totals of hours that are not rolled up yet. They are therefore exact at any time, and faster after a
-- rollup.
--
-- A request may be recorded days after it began, and a cost may be recalculated. A transaction that changes the totals
-- of an hour holds a shared lock on the hour and marks it stale if it is over. A rollup of the hour holds the lock
-- exclusively. So either the rollup sees the change, or the change sees the rollup and marks it. Reports read stale
-- hours from the users' totals until they are rolled up again. A rollup never waits for the lock: it skips an hour
-- that is being recorded.

create table llm_private.usage_rollups (
  span text not null,
  starts_at timestamptz not null,
  stale boolean not null,
  rolled_up_at timestamptz not null default now(),
  primary key (span, starts_at),
  constraint span_is_known check (span in ('hour', 'day'))
);

create index usage_rollups_stale on llm_private.usage_rollups (span, starts_at) where stale;

comment on table llm_private.usage_rollups is
'The hours and days (UTC) in the project totals. The hours have no gap from the first one on, but may be stale.';
comment on column llm_private.usage_rollups.stale is
'The users'' totals have changed since the rollup, or the rollup skipped the hour.';

create table llm_private.project_totals (
  span text not null,
  like public.llm_usage_totals including identity including defaults,
  primary key (id)
);

create index project_totals_span on llm_private.project_totals (span, hour);

comment on table llm_private.project_totals is
'Sums of llm_usage_totals over all users and keys, per hour or day (UTC). Only rows of spans in usage_rollups count.';
comment on column llm_private.project_totals.hour is 'The hour, or the first hour of the day.';
comment on column llm_private.project_totals.recorder is
'The user_id, as in the users'' totals, if users reported the usage themselves; otherwise all ones, for any runtime.';

alter table llm_private.usage_rollups enable row level security;
alter table llm_private.project_totals enable row level security;

-- For hours that are not rolled up. Recording never updates the hour of a row, so updates stay within the page. The
-- index includes the user because the planner would otherwise choose it for recording, which then reads the hour's rows
-- of all users.
create index llm_usage_totals_hour on public.llm_usage_totals (hour, user_id);

-- Private helpers -----------------------------------------------------------------------------------------------------

create function llm_private.hour_number(p_hour timestamptz)
returns integer
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (extract(epoch from p_hour) / 3600)::integer;
end
$$;

comment on function llm_private.hour_number is
'Hours since 1970; with the class usage_rollups, the key of the advisory lock on an hour.';

-- add_to_totals() repeats the lock inline and calls this only for an hour that is over.
create function llm_private.note_hour(p_hour timestamptz)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  perform pg_advisory_xact_lock_shared(hashtext('llm_private.usage_rollups'), llm_private.hour_number(p_hour));
  -- Checked while the lock is held, so after any earlier rollup; an hour that is not over has none.
  if p_hour + interval '1 hour' > clock_timestamp() then
    return;
  end if;
  -- The day before its hour, so that two transactions lock rows in the same order.
  update llm_private.usage_rollups set stale = true
  where span = 'day' and starts_at = date_trunc('day', p_hour, 'UTC') and not stale;
  update llm_private.usage_rollups set stale = true
  where span = 'hour' and starts_at = p_hour and not stale;
end
$$;

comment on function llm_private.note_hour is
'Mark an hour as stale if it is over. Call it in the transaction that changes the totals, for the earliest hour first.';

create function llm_private.counted(p_counts integer[], p_buckets integer[])
returns integer[]
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_bucket integer;
begin
  foreach v_bucket in array p_buckets loop
    p_counts[v_bucket] := p_counts[v_bucket] + 1;
  end loop;
  return p_counts;
end
$$;

comment on function llm_private.counted is 'A histogram with one more latency in each of these buckets.';

create function llm_private.add_to_totals(
  p_user uuid,
  p_hour timestamptz,
  p_provider text,
  p_model text,
  p_task text,
  p_key_source text,
  p_key_id uuid,
  p_recorder uuid,
  p_team_id uuid,
  p_latency_buckets integer[],
  p_last_used_at timestamptz,
  p_measures llm_private.usage_measures
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  -- Any free row of the group takes the sums; without one, a new row does.
  update public.llm_usage_totals as t
  set
    requests = t.requests + p_measures.requests,
    attempts = t.attempts + p_measures.attempts,
    fallbacks = t.fallbacks + p_measures.fallbacks,
    failures = t.failures + p_measures.failures,
    cancelled = t.cancelled + p_measures.cancelled,
    input_tokens = t.input_tokens + p_measures.input_tokens,
    cached_input_tokens = t.cached_input_tokens + p_measures.cached_input_tokens,
    cache_write_tokens = t.cache_write_tokens + p_measures.cache_write_tokens,
    output_tokens = t.output_tokens + p_measures.output_tokens,
    reasoning_tokens = t.reasoning_tokens + p_measures.reasoning_tokens,
    cost = t.cost + p_measures.cost,
    cache_savings = t.cache_savings + p_measures.cache_savings,
    list_cost = t.list_cost + p_measures.list_cost,
    unpriced = t.unpriced + p_measures.unpriced,
    unreported = t.unreported + p_measures.unreported,
    latency_counts = llm_private.counted(t.latency_counts, p_latency_buckets),
    last_used_at = greatest(t.last_used_at, p_last_used_at)
  where
    t.user_id = p_user and t.id = (
      select u.id
      from public.llm_usage_totals as u
      where
        u.user_id = p_user and u.hour = p_hour and u.provider = p_provider
        and u.model = p_model and u.task is not distinct from p_task and u.key_source = p_key_source
        and u.key_id is not distinct from p_key_id and u.recorder = p_recorder
        and u.team_id is not distinct from p_team_id
      limit 1
      for update skip locked
    );
  if not found then
    insert into public.llm_usage_totals overriding user value
    values (
      p_user, 0, p_hour, p_provider, p_model, p_task, p_key_source, p_key_id, p_recorder,
      p_team_id, llm_private.counted(array_fill(0, '{40}'::integer[]), p_latency_buckets),
      p_last_used_at, (p_measures).*
    );
  end if;
  -- The same as in note_hour(), without the call. It may wait for a rollup, so it precedes every lock that other
  -- transactions wait for.
  perform pg_advisory_xact_lock_shared(
    hashtext('llm_private.usage_rollups'), (extract(epoch from p_hour) / 3600)::integer
  );
  if p_hour + interval '1 hour' <= clock_timestamp() then
    perform llm_private.note_hour(p_hour);
  end if;
end
$$;

comment on function llm_private.add_to_totals is
'Add to the users'' totals of an hour, and mark the hour as stale if it was rolled up.';

create type llm_private.usage_span as (
  span text,
  starts_at timestamptz,
  ends_at timestamptz
);

comment on type llm_private.usage_span is
'A part of the time of a sum. span is hour or day if the part is rolled up, else null.';

create function llm_private.usage_spans(p_from timestamptz, p_until timestamptz, p_days boolean)
returns setof llm_private.usage_span
language plpgsql
stable
rows 100
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  with days as (
    select f.starts_at from llm_private.usage_rollups as f
    where
      p_days and f.span = 'day' and not f.stale
      and f.starts_at >= p_from and f.starts_at + interval '1 day' <= p_until
  ),
  -- Rolled up hours have no gap between the first and the last one.
  bounds as (
    select
      (
        select f.starts_at from llm_private.usage_rollups as f where f.span = 'hour' order by f.starts_at limit 1
      ) as first_hour,
      (
        select f.starts_at from llm_private.usage_rollups as f where f.span = 'hour' order by f.starts_at desc limit 1
      ) as last_hour
  )
  select 'day', d.starts_at, d.starts_at + interval '1 day' from days as d
  union all
  select case when not f.stale then 'hour' end, f.starts_at, f.starts_at + interval '1 hour'
  from llm_private.usage_rollups as f
  where
    f.span = 'hour' and f.starts_at >= p_from and f.starts_at < p_until
    and not exists (select from days as d where d.starts_at = date_trunc('day', f.starts_at, 'UTC'))
  union all
  select null, p_from, least(p_until, b.first_hour) from bounds as b
  union all
  select null, greatest(p_from, b.last_hour + interval '1 hour'), p_until from bounds as b where b.last_hour is not
null; end
$$;

comment on function llm_private.usage_spans is
'The parts of a sum over the project: rolled up days (if p_days) and hours, and parts without a span, which are read
from the users'' totals.';

create function llm_private.sum_usage(
  p_source text,
  p_user uuid,
  p_from timestamptz,
  p_until timestamptz,
  p_bucket text,
  p_zone text,
  p_by text[],
  p_recorded_by text default null,
  p_team_id uuid default null
)
returns setof llm_private.usage_sum
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  -- Days of other time zones are sums of hours.
  v_days constant boolean := p_source = 'days'
    or p_source = 'project' and p_zone = 'UTC' and p_bucket is distinct from 'hour';
begin
  return query
  with spans as materialized (
    select s.* from llm_private.usage_spans(p_from, p_until, v_days) as s
    where p_source in ('project', 'hours', 'days')
  ),
  rows_to_sum as (
    select null as span, t.* from public.llm_usage_totals as t
    where p_source = 'user' and t.user_id = p_user and t.hour >= p_from and t.hour < p_until
    union all
    select null, t.* from public.llm_usage_totals as t
    where p_source = 'users' and t.hour >= p_from and t.hour < p_until
    union all
    select null, t.* from public.llm_usage_totals as t
    where
      p_source = 'team' and t.team_id = p_team_id and t.hour >= p_from and t.hour < p_until
      and (p_user is null or t.user_id = p_user)
    union all
    select p.* from llm_private.project_totals as p
    where
      p.span = 'day' and p.hour = any(array(select s.starts_at from spans as s where s.span = 'day'))
      or p_source <> 'days' and p.span = 'hour'
      and p.hour = any(array(select s.starts_at from spans as s where s.span = 'hour'))
    union all
    select null, t.* from spans as s
    -- offset 0 makes the planner read each part by the index, instead of the whole table for all parts.
    cross join lateral (
      select u.* from public.llm_usage_totals as u where u.hour >= s.starts_at and u.hour < s.ends_at offset 0
    ) as t
    where p_source = 'project' and s.span is null
  )
  select
    case when p_bucket = 'hour' then r.hour end,
    case
      when p_bucket = 'day' then (r.hour at time zone p_zone)::date
      when p_bucket = 'month' then date_trunc('month', r.hour at time zone p_zone)::date
    end,
    case when 'user' = any(p_by) then r.user_id end,
    case when 'provider' = any(p_by) then r.provider end,
    case when 'model' = any(p_by) then r.model end,
    case when 'task' = any(p_by) then r.task end,
    case when 'key_source' = any(p_by) then r.key_source end,
    case when 'key_id' = any(p_by) then r.key_id end,
    case when 'recorder' = any(p_by) then r.recorder end,
    case when 'recorded_by' = any(p_by) then case when r.recorder = r.user_id then 'user' else 'runtime' end end,
    case when 'team' = any(p_by) then r.team_id end,
    row(
      sum(r.requests), sum(r.attempts), sum(r.fallbacks), sum(r.failures), sum(r.cancelled), sum(r.input_tokens),
      sum(r.cached_input_tokens), sum(r.cache_write_tokens), sum(r.output_tokens), sum(r.reasoning_tokens),
      sum(r.cost), sum(r.cache_savings), sum(r.list_cost), sum(r.unpriced), sum(r.unreported)
    )::llm_private.usage_measures,
    -- Written out, because unnesting the arrays and summing takes ten times as long.
    array[
      sum(r.latency_counts[1]), sum(r.latency_counts[2]), sum(r.latency_counts[3]), sum(r.latency_counts[4]),
      sum(r.latency_counts[5]), sum(r.latency_counts[6]), sum(r.latency_counts[7]), sum(r.latency_counts[8]),
      sum(r.latency_counts[9]), sum(r.latency_counts[10]), sum(r.latency_counts[11]), sum(r.latency_counts[12]),
      sum(r.latency_counts[13]), sum(r.latency_counts[14]), sum(r.latency_counts[15]), sum(r.latency_counts[16]),
      sum(r.latency_counts[17]), sum(r.latency_counts[18]), sum(r.latency_counts[19]), sum(r.latency_counts[20]),
      sum(r.latency_counts[21]), sum(r.latency_counts[22]), sum(r.latency_counts[23]), sum(r.latency_counts[24]),
      sum(r.latency_counts[25]), sum(r.latency_counts[26]), sum(r.latency_counts[27]), sum(r.latency_counts[28]),
      sum(r.latency_counts[29]), sum(r.latency_counts[30]), sum(r.latency_counts[31]), sum(r.latency_counts[32]),
      sum(r.latency_counts[33]), sum(r.latency_counts[34]), sum(r.latency_counts[35]), sum(r.latency_counts[36]),
      sum(r.latency_counts[37]), sum(r.latency_counts[38]), sum(r.latency_counts[39]), sum(r.latency_counts[40])
    ]::bigint[],
    max(r.last_used_at)
  from rows_to_sum as r
  where p_recorded_by is null or (r.recorder = r.user_id) = (p_recorded_by = 'user')
  group by 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11;
end
$$;

comment on function llm_private.sum_usage is
'Sums of totals whose hour begins from p_from to before p_until, by hour, day or month (named by its first day) of a
time zone, and by the columns in p_by: user, provider, model, task, key_source, key_id, recorder, recorded_by and team;
with p_recorded_by (runtime or user), only such usage. p_source is user
(the totals of one user), users (of all users), team (of a team''s keys, with p_user of one member), hours or days (project totals of that span) or project (project totals,
and the totals of all users where nothing is rolled up).';

create function llm_private.roll_up_span(p_span text, p_starts_at timestamptz)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  delete from llm_private.project_totals where span = p_span and hour = p_starts_at;
  insert into llm_private.project_totals overriding user value
  select
    p_span, llm_private.operator_id(), 0, p_starts_at, s.provider, s.model, s.task, s.key_source, null,
    case s.recorded_by when 'user' then llm_private.operator_id() else 'ffffffff-ffff-ffff-ffff-ffffffffffff' end,
    null, s.latency_counts, s.last_used_at, (s.measures).*
  from llm_private.sum_usage(
    case p_span when 'hour' then 'users' else 'hours' end, null,
    p_starts_at, p_starts_at + ('1 ' || p_span)::interval, null, 'UTC',
    '{provider,model,task,key_source,recorded_by}'
  ) as s;
  insert into llm_private.usage_rollups (span, starts_at, stale) values (p_span, p_starts_at, false)
  on conflict (span, starts_at) do update set stale = false, rolled_up_at = now();
end
$$;

comment on function llm_private.roll_up_span is
'Roll up an hour of all users, or a day from its hours. The caller holds the locks of the hours.';

create function llm_private.roll_up_usage(p_budget interval)
returns integer
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  -- Most late events arrive within minutes.
  v_over constant timestamptz := date_trunc('hour', clock_timestamp() - interval '15 minutes', 'UTC');
  v_give_up constant timestamptz := clock_timestamp() + p_budget;
  -- Each hour holds a lock until the end of the transaction, and the number of locks is limited.
  v_most constant integer := 500;
  v_next timestamptz;
  v_hour timestamptz;
  v_day timestamptz;
  v_left integer;
begin
  -- Each statement must see earlier commits, and only one transaction may roll up.
  if current_setting('transaction_read_only')::boolean
    or current_setting('transaction_isolation') <> 'read committed'
    or not pg_try_advisory_xact_lock(hashtext('llm_private.roll_up_usage')) then
    return null;
  end if;
  select max(f.starts_at) + interval '1 hour' into v_next from llm_private.usage_rollups as f where f.span = 'hour';
  if v_next is null then
    -- Events of an earlier time are no longer accepted.
    select date_trunc('day', least(min(t.hour), now() - interval '8 days'), 'UTC') into v_next
    from public.llm_usage_totals as t;
  end if;

  for v_hour in
    select f.starts_at from llm_private.usage_rollups as f where f.span = 'hour' and f.stale
    union all
    select g from generate_series(v_next, v_over - interval '1 hour', interval '1 hour') as g
    order by 1
    limit v_most
  loop
    exit when clock_timestamp() > v_give_up;
    if pg_try_advisory_xact_lock(hashtext('llm_private.usage_rollups'), llm_private.hour_number(v_hour)) then
      perform llm_private.roll_up_span('hour', v_hour);
    else
      insert into llm_private.usage_rollups (span, starts_at, stale) values ('hour', v_hour, true)
      on conflict do nothing;
    end if;
  end loop;

  for v_day in
    select date_trunc('day', f.starts_at, 'UTC') from llm_private.usage_rollups as f
    where f.span = 'hour' and not f.stale
    group by 1
    having count(*) = 24
    except
    select f.starts_at from llm_private.usage_rollups as f where f.span = 'day' and not f.stale
    order by 1
    limit v_most / 24
  loop
    exit when clock_timestamp() > v_give_up;
    if (
      select bool_and(pg_try_advisory_xact_lock(hashtext('llm_private.usage_rollups'), llm_private.hour_number(v_day) +
i))       from generate_series(0, 23) as i
    ) and not exists (
      -- Checked again while the locks are held.
      select from llm_private.usage_rollups as f
      where f.span = 'hour' and f.stale and f.starts_at >= v_day and f.starts_at < v_day + interval '1 day'
    ) then
      perform llm_private.roll_up_span('day', v_day);
    end if;
  end loop;

  select
    count(*) filter (where f.stale)
    + greatest(extract(epoch from v_over - max(f.starts_at)) / 3600 - 1, 0)
  into v_left
  from llm_private.usage_rollups as f where f.span = 'hour';
  return v_left;
end
$$;

comment on function llm_private.roll_up_usage is
'Roll up finished hours and days for about p_budget. Returns the number of hours left, or null if another run is in
progress or the transaction cannot write.';
