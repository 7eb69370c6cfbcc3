-- Usage: one event per attempt, and its totals.
--
-- (user, request id, attempt, recorder) identifies an event. The recorder is part of the key because a user can read
-- a request id in a response header: with it, they can only add an event of their own, which names no runtime. The
-- event of the runtime stays as it is.
--
-- An event keeps its cost and the price behind it. An attempt is unpriced if its model has no price, and unreported if
-- the provider reported no tokens; neither costs 0. Corrections are appended beside the events.
--
-- Recording keeps the totals exact at any time, and no row is shared by all requests of a busy user: each group (user,
-- hour, provider, …) has a few rows, which readers sum. A writer takes any free one, or adds one. usage_measures lists
-- the summed columns. They come last in every table of totals, so that a migration can add one.
--
-- The other files about usage: 60 rolls up the totals, 80 records events, 82 recalculates costs, 84 reports usage, 85
-- lists requests and events, 86 has forecasts and hints, and 88 checks the totals.

create table public.llm_usage_events (
  user_id uuid not null,
  request_id uuid not null,
  attempt smallint not null,
  recorder uuid not null,
  task text,
  provider text not null,
  model text not null,
  key_source text not null,
  key_id uuid,
  outcome text not null,
  error_class text,
  streamed boolean not null,
  latency_ms integer,
  input_tokens integer,
  cached_input_tokens integer,
  cache_write_tokens integer,
  output_tokens integer,
  reasoning_tokens integer,
  other_tokens jsonb,
  service_tier text,
  cost numeric,
  cache_savings numeric,
  list_cost numeric,
  price_id bigint,
  recorded_at timestamptz not null default now(),
  team_id uuid,
  primary key (user_id, request_id, attempt, recorder)
) partition by range (request_id);

comment on table public.llm_usage_events is
'Append-only, one partition per month: one event per attempt, without prompts and completions. Users read their own.';
comment on column public.llm_usage_events.request_id is 'UUIDv7, created when the request began.';
comment on column public.llm_usage_events.recorder is
'The runtime that ran the attempt, or the id of the user who ran it without a runtime.';
comment on column public.llm_usage_events.key_source is 'Whose key paid: user, team or operator.';
comment on column public.llm_usage_events.outcome is 'succeeded, failed or cancelled.';
comment on column public.llm_usage_events.error_class is
'Why the attempt failed: auth, forbidden, rate_limited, out_of_credit, bad_request, context_too_long, unsupported,
not_found, server_error, timeout, connection or invalid_response.';
comment on column public.llm_usage_events.latency_ms is
'Milliseconds from sending the request to the end of the answer.';
comment on column public.llm_usage_events.input_tokens is 'Input tokens, including cached ones; null if not reported.';
comment on column public.llm_usage_events.cached_input_tokens is 'Part of the input, read from the provider''s cache.';
comment on column public.llm_usage_events.cache_write_tokens is 'Part of the input, written to the provider''s cache.';
comment on column public.llm_usage_events.output_tokens is 'Output tokens, including reasoning; null if not reported.';
comment on column public.llm_usage_events.other_tokens is
'Parts of the other counts that some providers price separately: {"input_audio": 120, "cache_write_1h": 2048, …}.';
comment on column public.llm_usage_events.service_tier is
'The tier that the provider reported (flex, priority, …); null is standard.';
comment on column public.llm_usage_events.cost is
'US dollars, at the price when the request began. Null is unpriced without a price_id and unreported with one.';
comment on column public.llm_usage_events.cache_savings is
'US dollars that the provider''s cache saved, less the cost of writing to it; the cost includes it.';

comment on column public.llm_usage_events.list_cost is
'US dollars, at the price of the operator or the catalog: differs from the cost if the user has set a price. Null if
there is no such price or the usage was not reported.';

-- Without a foreign key, because usage is kept longer than a team.
comment on column public.llm_usage_events.team_id is 'The team whose key paid; null unless key_source is team.';

-- For the usage of a team's members. Usage of other keys is not in it, so recording it costs nothing.
create index llm_usage_events_team on public.llm_usage_events (team_id, user_id, request_id, attempt, recorder)
where team_id is not null;

create table llm_private.llm_usage_events_default partition of public.llm_usage_events default;

create table public.llm_usage_adjustments (
  user_id uuid not null,
  request_id uuid not null,
  attempt smallint not null,
  recorder uuid not null,
  recalculation_id bigint not null,
  cost numeric,
  cache_savings numeric,
  list_cost numeric,
  price_id bigint not null,
  adjusted_at timestamptz not null default now(),
  primary key (user_id, request_id, attempt, recorder, recalculation_id)
);

comment on table public.llm_usage_adjustments is
'Append-only: what a recalculation adds to the cost of a usage event. Users read their own.';
comment on column public.llm_usage_adjustments.cost is
'US dollars to add to the cost of the event, negative if it became cheaper. Null if the event is now priced, but its
tokens were not reported.';
comment on column public.llm_usage_adjustments.price_id is 'The price of the recalculation.';

create table llm_private.usage_measures (
  requests bigint not null default 0,
  attempts bigint not null default 0,
  fallbacks bigint not null default 0,
  failures bigint not null default 0,
  cancelled bigint not null default 0,
  input_tokens bigint not null default 0,
  cached_input_tokens bigint not null default 0,
  cache_write_tokens bigint not null default 0,
  output_tokens bigint not null default 0,
  reasoning_tokens bigint not null default 0,
  cost numeric not null default 0,
  cache_savings numeric not null default 0,
  list_cost numeric not null default 0,
  unpriced bigint not null default 0,
  unreported bigint not null default 0,
  -- For its one row; totals do not take it over.
  primary key (attempts)
);

insert into llm_private.usage_measures default values;

comment on table llm_private.usage_measures is
'The sums of attempts: the columns of all totals, and the type of a sum. Its one row is an empty sum.';
comment on column llm_private.usage_measures.requests is 'First attempts, so that each request counts once.';
comment on column llm_private.usage_measures.fallbacks is 'Second attempts: requests whose first attempt failed.';
comment on column llm_private.usage_measures.failures is 'Failed attempts, without cancelled ones.';
comment on column llm_private.usage_measures.cost is
'US dollars, including adjustments, without unpriced and unreported attempts.';
comment on column llm_private.usage_measures.cache_savings is
'US dollars that the providers'' caches saved, less the cost of writing to them; the cost includes it.';
comment on column llm_private.usage_measures.list_cost is
'US dollars at the prices of the operator and the catalog, which the operator''s quotas count. Without attempts that
have no such price.';
comment on column llm_private.usage_measures.unpriced is 'Attempts of models without a price.';
comment on column llm_private.usage_measures.unreported is 'Attempts whose provider reported no tokens.';

create table public.llm_usage_totals (
  user_id uuid not null,
  id bigint generated always as identity,
  hour timestamptz not null,
  provider text not null,
  model text not null,
  task text,
  key_source text not null,
  key_id uuid,
  recorder uuid not null,
  team_id uuid,
  latency_counts integer[] not null,
  last_used_at timestamptz not null,
  like llm_private.usage_measures including defaults including comments,
  primary key (user_id, id)
-- Leaves room on each page for new versions of rows, because every request updates one.
) with (fillfactor = 50);

-- Contains no column that recording updates, so that updates stay within the page.
create index llm_usage_totals_group on public.llm_usage_totals (user_id, hour, provider, model);
create index llm_usage_totals_team on public.llm_usage_totals (team_id, hour) where team_id is not null;

comment on table public.llm_usage_totals is
'Sums of usage events, in several rows per group; get_llm_usage() adds them up.';
comment on column public.llm_usage_totals.hour is 'The hour in which the requests began, whenever they were recorded.';
comment on column public.llm_usage_totals.recorder is
'As in the events, so that usage recorded by users and by runtimes stays separate.';
comment on column public.llm_usage_totals.latency_counts is
'Histogram of the latencies in 40 buckets, each wider than the previous one by the square root of 2: see
latency_bucket().';

create type llm_private.attempt as (
  user_id uuid,
  request_id uuid,
  attempt integer,
  recorder uuid,
  requested_at timestamptz,
  task text,
  provider text,
  model text,
  key_source text,
  key_id uuid,
  outcome text,
  error_class text,
  streamed boolean,
  latency_ms integer,
  input_tokens integer,
  cached_input_tokens integer,
  cache_write_tokens integer,
  output_tokens integer,
  reasoning_tokens integer,
  other_tokens jsonb,
  service_tier text,
  retry_after double precision,
  reservation uuid,
  released_requests integer,
  cost numeric,
  cache_savings numeric,
  list_cost numeric,
  price_id bigint,
  unpriced boolean,
  unreported boolean,
  ignored_limit integer,
  team_id uuid
);

comment on type llm_private.attempt is
'An attempt to record: an event, and what recording needs besides. retry_after: seconds that the provider asked to wait.
reservation: the request that reserved for this one, if not itself. Without a number, it is a request that did not run:
its reservation is released, for released_requests requests or for all of them. ignored_limit: the limit of output tokens
that the provider exceeded.';

create type llm_private.usage_sum as (
  hour timestamptz,
  day date,
  user_id uuid,
  provider text,
  model text,
  task text,
  key_source text,
  key_id uuid,
  recorder uuid,
  recorded_by text,
  team_id uuid,
  measures llm_private.usage_measures,
  latency_counts bigint [],
  last_used_at timestamptz
);

comment on type llm_private.usage_sum is
'The usage of a group. Columns that it is not grouped by are null; either hour or day is set. recorded_by is runtime, or
user for usage that users reported themselves.';

alter table public.llm_usage_events enable row level security;
alter table llm_private.llm_usage_events_default enable row level security;
alter table public.llm_usage_adjustments enable row level security;
alter table llm_private.usage_measures enable row level security;
alter table public.llm_usage_totals enable row level security;

create policy "users read their own usage events" on public.llm_usage_events
for select to authenticated using (llm_private.is_not_estimate() and user_id = (select llm_private.user_id()));
create policy "users read their own usage adjustments" on public.llm_usage_adjustments
for select to authenticated using (llm_private.is_not_estimate() and user_id = (select llm_private.user_id()));
create policy "users read their own usage totals" on public.llm_usage_totals
for select to authenticated using (llm_private.is_not_estimate() and user_id = (select llm_private.user_id()));

create function llm_private.team_name(p_team uuid)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (select t.name from llm_private.teams as t where t.id = p_team);
end
$$;

comment on function llm_private.team_name is 'The name of a team, also of a removed one.';

-- The columns are in the order of list_llm_usage_events().
create view llm_private.adjusted_events with (security_invoker = true) as
select -- noqa: ST06
  e.user_id,
  e.request_id,
  e.attempt,
  e.recorder,
  llm_private.uuid_v7_time(e.request_id) as requested_at,
  e.task,
  e.provider,
  e.model,
  e.key_source,
  e.key_id,
  e.outcome,
  e.error_class,
  e.streamed,
  e.latency_ms,
  e.input_tokens,
  e.cached_input_tokens,
  e.cache_write_tokens,
  e.output_tokens,
  e.reasoning_tokens,
  e.other_tokens,
  e.service_tier,
  case
    when e.cost is not null or a.cost is not null then trim_scale(coalesce(e.cost, 0) + coalesce(a.cost, 0))
  end as cost,
  case
    when e.cost is not null or a.cost is not null then 'priced'
    when coalesce(a.price_id, e.price_id) is null then 'unpriced'
    else 'unreported'
  end as cost_status,
  coalesce(e.cache_savings, 0) + coalesce(a.cache_savings, 0) as cache_savings,
  case
    when e.list_cost is not null or a.list_cost is not null
      then trim_scale(coalesce(e.list_cost, 0) + coalesce(a.list_cost, 0))
  end as list_cost,
  coalesce(a.price_id, e.price_id) as price_id,
  e.recorded_at,
  e.team_id,
  case when e.team_id is not null then llm_private.team_name(e.team_id) end as team,
  concat_ws('/', e.user_id, e.request_id, e.attempt, e.recorder) as cursor
from public.llm_usage_events as e
left join lateral (
  select
    sum(u.cost) as cost,
    sum(u.cache_savings) as cache_savings,
    sum(u.list_cost) as list_cost,
    (array_agg(u.price_id order by u.recalculation_id desc))[1] as price_id
  from public.llm_usage_adjustments as u
  where u.user_id = e.user_id and u.request_id = e.request_id and u.attempt = e.attempt and u.recorder = e.recorder
) as a on true;

comment on view llm_private.adjusted_events is
'Usage events with their current cost. cost_status is priced, unpriced (no price) or unreported (no tokens reported); in
the last two cases, cost is null. team is the name of the team whose key paid, also of a removed team.';

-- Private helpers -----------------------------------------------------------------------------------------------------

create function llm_private.latency_bucket(p_latency_ms integer)
returns integer
language plpgsql
immutable
strict
set search_path = pg_catalog, pg_temp
as $$
begin
  return least(40, 1 + floor(2 * ln(greatest(p_latency_ms, 1)) / ln(2.0::double precision)))::integer;
end
$$;

comment on function llm_private.latency_bucket is
'The bucket of a latency, 1 to 40: bucket b has latencies from 2^((b-1)/2) to below 2^(b/2) milliseconds. Null if the
latency was not measured.';

create function llm_private.histogram(p_latencies integer[])
returns bigint[]
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_counts bigint[] := array_fill(0::bigint, '{40}'::integer[]);
  v_latency integer;
  v_bucket integer;
begin
  foreach v_latency in array p_latencies loop
    v_bucket := llm_private.latency_bucket(v_latency);
    if v_bucket is not null then
      v_counts[v_bucket] := v_counts[v_bucket] + 1;
    end if;
  end loop;
  return v_counts;
end
$$;

comment on function llm_private.histogram is 'The number of latencies in each bucket.';

create function llm_private.totals_of_events(p_from timestamptz, p_until timestamptz)
returns setof llm_private.usage_sum
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  select
    date_trunc('hour', e.requested_at, 'UTC'),
    null::date,
    e.user_id,
    e.provider,
    e.model,
    e.task,
    e.key_source,
    e.key_id,
    e.recorder,
    null,
    e.team_id,
    row(
      count(*) filter (where e.attempt = 1),
      count(*),
      count(*) filter (where e.attempt = 2),
      count(*) filter (where e.outcome = 'failed'),
      count(*) filter (where e.outcome = 'cancelled'),
      coalesce(sum(e.input_tokens), 0),
      coalesce(sum(e.cached_input_tokens), 0),
      coalesce(sum(e.cache_write_tokens), 0),
      coalesce(sum(e.output_tokens), 0),
      coalesce(sum(e.reasoning_tokens), 0),
      coalesce(sum(e.cost), 0),
      sum(e.cache_savings),
      coalesce(sum(e.list_cost), 0),
      count(*) filter (where e.cost_status = 'unpriced'),
      count(*) filter (where e.cost_status = 'unreported')
    )::llm_private.usage_measures,
    llm_private.histogram(array_agg(e.latency_ms)),
    max(e.requested_at)
  from llm_private.adjusted_events as e
  where e.request_id >= llm_private.first_uuid_v7(p_from) and e.request_id < llm_private.first_uuid_v7(p_until)
  group by 1, 3, 4, 5, 6, 7, 8, 9, 11;
end
$$;

comment on function llm_private.totals_of_events is
'The correct totals of requests that began from p_from to before p_until, computed from their events.';
