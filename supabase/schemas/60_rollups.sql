-- Project totals: what all users together used, so that a report over the project does not read every user's totals.
--
-- No request writes them: all would wait for one row. An hour that is over is rolled up once: its users' totals
-- are summed into a few rows, and the 24 hours of a day into a day's. Reports add what is not rolled up yet from the
-- users' totals, so they are exact at any time; rolling up only makes them quick.
--
-- A request may be recorded days after it began, and a cost may be recalculated. Whoever changes the totals of an
-- hour holds a shared lock on it until they commit, and marks it as stale where it is over; whoever rolls it up holds
-- the lock alone. So a rollup either sees a change, or the change sees the rollup and marks it. What is stale is
-- read from the users' totals until it is rolled up again. Rolling up never waits for that lock: it leaves an hour
-- that is being recorded for later.

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
'Which hours and days (UTC) the project totals hold. Hours without a gap from the first one on, be they stale.';
comment on column llm_private.usage_rollups.stale is
'The users'' totals say something else by now, or it was being recorded when it was its turn.';

create table llm_private.project_totals (
  id bigint generated always as identity primary key,
  span text not null,
  starts_at timestamptz not null,
  provider text not null,
  model text not null,
  task text,
  key_source text not null,
  requests bigint not null,
  attempts bigint not null,
  fallbacks bigint not null,
  failures bigint not null,
  cancelled bigint not null,
  input_tokens bigint not null,
  cached_input_tokens bigint not null,
  cache_write_tokens bigint not null,
  output_tokens bigint not null,
  reasoning_tokens bigint not null,
  cost numeric not null,
  cache_savings numeric not null,
  unpriced bigint not null,
  unreported bigint not null,
  latency_counts integer[] not null,
  last_used_at timestamptz not null
);

create index project_totals_span on llm_private.project_totals (span, starts_at);

comment on table llm_private.project_totals is
'Sums of llm_usage_totals over all users, an hour or a day (UTC) at a time; only what usage_rollups holds counts.';

alter table llm_private.usage_rollups enable row level security;
alter table llm_private.project_totals enable row level security;

-- For what is not rolled up. Recording never updates the hour of a row, so updates stay within the page. With the user,
-- or recording would look for its row among everybody's of the hour wherever few were recorded in an hour until then.
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
'Hours since 1970: together with the class usage_rollups the advisory lock on an hour.';

-- Of an hour that is not over, record_usage() does by itself what is done here.
create function llm_private.note_hour(p_hour timestamptz)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  perform pg_advisory_xact_lock_shared(hashtext('llm_private.usage_rollups'), llm_private.hour_number(p_hour));
  -- Asked after the lock is there, and so after any rollup before it: an hour that is not over yet is not rolled up.
  if p_hour + interval '1 hour' > clock_timestamp() then
    return;
  end if;
  -- The day before its hour, whoever marks several: two of them wait for each other in one order.
  update llm_private.usage_rollups set stale = true
  where span = 'day' and starts_at = date_trunc('day', p_hour, 'UTC') and not stale;
  update llm_private.usage_rollups set stale = true
  where span = 'hour' and starts_at = p_hour and not stale;
end
$$;

comment on function llm_private.note_hour is
'Whoever changes the totals of an hour says so in the same transaction; of several hours the earliest first.';

create function llm_private.sum_usage(
  p_source text, p_user uuid, p_from timestamptz, p_until timestamptz, p_bucket text, p_zone text, p_by text[]
)
returns table (
  hour timestamptz,
  day date,
  user_id uuid,
  provider text,
  model text,
  task text,
  key_source text,
  key_id uuid,
  requests bigint,
  attempts bigint,
  fallbacks bigint,
  failures bigint,
  cancelled bigint,
  input_tokens bigint,
  cached_input_tokens bigint,
  cache_write_tokens bigint,
  output_tokens bigint,
  reasoning_tokens bigint,
  cost numeric,
  cache_savings numeric,
  unpriced bigint,
  unreported bigint,
  latency_counts bigint[],
  last_used_at timestamptz
)
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  -- Days of other zones are made of hours.
  v_days constant boolean := p_source = 'project' and p_zone = 'UTC' and p_bucket is distinct from 'hour';
begin
  return query
  with days as (
    select f.starts_at from llm_private.usage_rollups as f
    where
      v_days and f.span = 'day' and not f.stale
      and f.starts_at >= p_from and f.starts_at + interval '1 day' <= p_until
  ),
  hours as (
    select f.starts_at, f.stale from llm_private.usage_rollups as f
    where
      p_source in ('project', 'hours') and f.span = 'hour' and f.starts_at >= p_from and f.starts_at < p_until
      and not exists (select from days as d where d.starts_at = date_trunc('day', f.starts_at, 'UTC'))
  ),
  -- Hours that are rolled up have no gap between the first and the last.
  bounds as (
    select
      (
        select f.starts_at from llm_private.usage_rollups as f where f.span = 'hour' order by f.starts_at limit 1
      ) as first_hour,
      (
        select f.starts_at from llm_private.usage_rollups as f where f.span = 'hour' order by f.starts_at desc limit 1
      ) as last_hour
  ),
  not_rolled_up as (
    select h.starts_at, h.starts_at + interval '1 hour' as ends_at from hours as h where h.stale
    union all
    select p_from, least(p_until, b.first_hour) from bounds as b
    union all
    select greatest(p_from, b.last_hour + interval '1 hour'), p_until from bounds as b where b.last_hour is not null
  ),
  rows_to_sum as (
    select
      t.hour as starts_at, t.user_id, t.provider, t.model, t.task, t.key_source, t.key_id, t.requests, t.attempts,
      t.fallbacks, t.failures, t.cancelled, t.input_tokens, t.cached_input_tokens, t.cache_write_tokens,
      t.output_tokens, t.reasoning_tokens, t.cost, t.cache_savings, t.unpriced, t.unreported,
      t.latency_counts, t.last_used_at
    from public.llm_usage_totals as t
    where p_source = 'user' and t.user_id = p_user and t.hour >= p_from and t.hour < p_until
    union all
    select
      t.hour, t.user_id, t.provider, t.model, t.task, t.key_source, t.key_id, t.requests, t.attempts,
      t.fallbacks, t.failures, t.cancelled, t.input_tokens, t.cached_input_tokens, t.cache_write_tokens,
      t.output_tokens, t.reasoning_tokens, t.cost, t.cache_savings, t.unpriced, t.unreported,
      t.latency_counts, t.last_used_at
    from public.llm_usage_totals as t
    where p_source = 'users' and t.hour >= p_from and t.hour < p_until
    union all
    select
      p.starts_at, null, p.provider, p.model, p.task, p.key_source, null, p.requests, p.attempts,
      p.fallbacks, p.failures, p.cancelled, p.input_tokens, p.cached_input_tokens, p.cache_write_tokens,
      p.output_tokens, p.reasoning_tokens, p.cost, p.cache_savings, p.unpriced, p.unreported,
      p.latency_counts, p.last_used_at
    from llm_private.project_totals as p
    where
      p.span = 'day' and p.starts_at = any(array(select d.starts_at from days as d))
      or p.span = 'hour' and p.starts_at = any(array(select h.starts_at from hours as h where not h.stale))
    union all
    select
      t.hour, null, t.provider, t.model, t.task, t.key_source, null, t.requests, t.attempts,
      t.fallbacks, t.failures, t.cancelled, t.input_tokens, t.cached_input_tokens, t.cache_write_tokens,
      t.output_tokens, t.reasoning_tokens, t.cost, t.cache_savings, t.unpriced, t.unreported,
      t.latency_counts, t.last_used_at
    from not_rolled_up as n
    -- offset 0: each by itself and by its index, or the planner reads the whole table for all of them.
    cross join lateral (
      select u.* from public.llm_usage_totals as u where u.hour >= n.starts_at and u.hour < n.ends_at offset 0
    ) as t
    where p_source = 'project'
  )
  select
    case when p_bucket = 'hour' then r.starts_at end as hour,
    case
      when p_bucket = 'day' then (r.starts_at at time zone p_zone)::date
      when p_bucket = 'month' then date_trunc('month', r.starts_at at time zone p_zone)::date
    end as day,
    case when 'user' = any(p_by) then r.user_id end as user_id,
    case when 'provider' = any(p_by) then r.provider end as provider,
    case when 'model' = any(p_by) then r.model end as model,
    case when 'task' = any(p_by) then r.task end as task,
    case when 'key_source' = any(p_by) then r.key_source end as key_source,
    case when 'key_id' = any(p_by) then r.key_id end as key_id,
    sum(r.requests)::bigint,
    sum(r.attempts)::bigint,
    sum(r.fallbacks)::bigint,
    sum(r.failures)::bigint,
    sum(r.cancelled)::bigint,
    sum(r.input_tokens)::bigint,
    sum(r.cached_input_tokens)::bigint,
    sum(r.cache_write_tokens)::bigint,
    sum(r.output_tokens)::bigint,
    sum(r.reasoning_tokens)::bigint,
    sum(r.cost),
    sum(r.cache_savings),
    sum(r.unpriced)::bigint,
    sum(r.unreported)::bigint,
    -- Written out, because unnesting and summing again takes ten times as long.
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
  group by 1, 2, 3, 4, 5, 6, 7, 8;
end
$$;

comment on function llm_private.sum_usage is
'Sums of totals whose hour begins from p_from to before p_until, by hour, day or month (by the day it begins with) of a
zone, and by user, provider, model, task, key_source and key_id as named in p_by. p_source: user (one user''s totals),
users (everybody''s), hours (the project''s, of rolled up hours) or project (of rolled_up days and hours, and everybody''s
where nothing is rolled up).';

create function llm_private.roll_up_span(p_span text, p_starts_at timestamptz)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  delete from llm_private.project_totals where span = p_span and starts_at = p_starts_at;
  insert into llm_private.project_totals (
    span, starts_at, provider, model, task, key_source, requests, attempts, fallbacks, failures, cancelled,
    input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens, cost, cache_savings,
    unpriced, unreported, latency_counts, last_used_at
  )
  select
    p_span, p_starts_at, s.provider, s.model, s.task, s.key_source, s.requests, s.attempts, s.fallbacks, s.failures,
    s.cancelled, s.input_tokens, s.cached_input_tokens, s.cache_write_tokens, s.output_tokens, s.reasoning_tokens,
    s.cost, s.cache_savings, s.unpriced, s.unreported, s.latency_counts, s.last_used_at
  from llm_private.sum_usage(
    case p_span when 'hour' then 'users' else 'hours' end, null,
    p_starts_at, p_starts_at + ('1 ' || p_span)::interval, null, 'UTC', '{provider,model,task,key_source}'
  ) as s;
  insert into llm_private.usage_rollups (span, starts_at, stale) values (p_span, p_starts_at, false)
  on conflict (span, starts_at) do update set stale = false, rolled_up_at = now();
end
$$;

comment on function llm_private.roll_up_span is
'Sum an hour of all users, or the rolled up hours of a day, whose locks the caller holds.';

create function llm_private.roll_up_usage(p_budget interval)
returns integer
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  -- Late ones mostly come within minutes.
  v_over constant timestamptz := date_trunc('hour', clock_timestamp() - interval '15 minutes', 'UTC');
  v_give_up constant timestamptz := clock_timestamp() + p_budget;
  -- Each holds a lock until the end of the transaction, and there are so many.
  v_most constant integer := 500;
  v_next timestamptz;
  v_hour timestamptz;
  v_day timestamptz;
  v_left integer;
begin
  -- Each statement must see what was committed before it, and there must be one who rolls up.
  if current_setting('transaction_read_only')::boolean
    or current_setting('transaction_isolation') <> 'read committed'
    or not pg_try_advisory_xact_lock(hashtext('llm_private.roll_up_usage')) then
    return null;
  end if;
  select max(f.starts_at) + interval '1 hour' into v_next from llm_private.usage_rollups as f where f.span = 'hour';
  if v_next is null then
    -- Nothing is recorded for a time before this one any more.
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
      select bool_and(pg_try_advisory_xact_lock(hashtext('llm_private.usage_rollups'), llm_private.hour_number(v_day) + i))
      from generate_series(0, 23) as i
    ) and not exists (
      -- Asked again now that the locks are held.
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
'Roll up hours and days that are over, for about so long; returns how many hours are left, null where another run
is in progress or nothing may be written.';
