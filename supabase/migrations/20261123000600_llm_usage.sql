-- Usage: one event an attempt, and its totals.
--
-- An event is identified by (user, request id, attempt, recorder). The recorder is part of it so that what a runtime
-- ran, that runtime alone records: a user who knows a request id (it stands in a response header) can only add an
-- event of their own beside it, which shows no runtime.
--
-- An event keeps what it cost and the price that said so. A model that no price is known for is unpriced, tokens that a
-- provider did not count are unreported: neither is ever a cost of 0. Corrections are appended beside the events.
--
-- Totals are kept while recording, exact at any time, without a row that all requests of a busy user wait for: each
-- group (user, hour, provider, …) has a few rows, to be summed; a writer takes whichever is free, or adds one.

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
  price_id bigint,
  recorded_at timestamptz not null default now(),
  primary key (user_id, request_id, attempt, recorder)
) partition by range (request_id);

comment on table public.llm_usage_events is
'Append-only, a partition a month: one event an attempt. Never prompts or answers. A user reads their own.';
comment on column public.llm_usage_events.request_id is 'UUIDv7 made when the request began.';
comment on column public.llm_usage_events.recorder is
'The runtime that ran the attempt, or the user''s own id when they ran it themselves.';
comment on column public.llm_usage_events.key_source is 'Whose key paid: user, team or operator.';
comment on column public.llm_usage_events.outcome is 'succeeded, failed or cancelled.';
comment on column public.llm_usage_events.error_class is
'Of a failed attempt: auth, forbidden, rate_limited, bad_request, not_found, server_error, timeout, connection or
invalid_response.';
comment on column public.llm_usage_events.latency_ms is
'From sending the request to the end of the answer, milliseconds.';
comment on column public.llm_usage_events.input_tokens is 'All input tokens, cached ones included; null: not said.';
comment on column public.llm_usage_events.cached_input_tokens is 'Of the input: read from the provider''s cache.';
comment on column public.llm_usage_events.cache_write_tokens is 'Of the input: written to the provider''s cache.';
comment on column public.llm_usage_events.output_tokens is 'All output tokens, reasoning included; null: not said.';
comment on column public.llm_usage_events.other_tokens is
'Parts of the above that some providers price by themselves: {"input_audio": 120, "cache_write_1h": 2048, …}.';
comment on column public.llm_usage_events.service_tier is
'What the provider served it as (flex, priority, …); null: standard.';
comment on column public.llm_usage_events.cost is
'US dollars, at the price valid when the request began. Null without price_id: unpriced; null with it: unreported.';
comment on column public.llm_usage_events.cache_savings is
'US dollars that the provider''s cache saved, less what writing to it cost; part of the cost already.';

create table llm_private.llm_usage_events_default partition of public.llm_usage_events default;

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
  last_used_at timestamptz not null,
  primary key (user_id, id)
-- Room on each page for new versions of a row that is updated by every request.
) with (fillfactor = 50);

-- Holds no column that recording updates, so that updates stay within the page.
create index llm_usage_totals_group on public.llm_usage_totals (user_id, hour, provider, model);

comment on table public.llm_usage_totals is
'Sums of usage events; several rows a group, to be summed again: see get_llm_usage().';
comment on column public.llm_usage_totals.hour is 'Hour in which the requests began, whenever they were recorded.';
comment on column public.llm_usage_totals.recorder is
'As in the events: what users say of themselves is not mixed with what a runtime says.';
comment on column public.llm_usage_totals.requests is 'First attempts, so that a request counts once.';
comment on column public.llm_usage_totals.fallbacks is 'Second attempts: requests whose first one failed.';
comment on column public.llm_usage_totals.failures is 'Attempts that failed; cancelled ones did not.';
comment on column public.llm_usage_totals.cost is
'US dollars, adjustments included; without what is unpriced or unreported.';
comment on column public.llm_usage_totals.unpriced is 'Attempts of models that no price is known for.';
comment on column public.llm_usage_totals.unreported is 'Attempts whose tokens the provider did not count.';
comment on column public.llm_usage_totals.latency_counts is
'A histogram of the latencies, see latency_bucket(): 40 buckets, each wider than the one before by the root of 2.';

revoke all on table public.llm_usage_events from public, anon, authenticated, service_role;
revoke all on table llm_private.llm_usage_events_default from public, anon, authenticated, service_role;
revoke all on table public.llm_usage_totals from public, anon, authenticated, service_role;
-- Default privileges may open sequences too, and nextval() or setval() asks no row level security.
revoke all on sequence public.llm_usage_totals_id_seq from public, anon, authenticated, service_role;
alter table public.llm_usage_events enable row level security;
alter table llm_private.llm_usage_events_default enable row level security;
alter table public.llm_usage_totals enable row level security;
grant select on table public.llm_usage_events to authenticated, service_role;
grant select on table public.llm_usage_totals to authenticated, service_role;

create policy "users read their own usage events" on public.llm_usage_events
for select to authenticated using (user_id = (select auth.uid()));
create policy "users read their own usage totals" on public.llm_usage_totals
for select to authenticated using (user_id = (select auth.uid()));

select
  llm_private.add_month_partition('llm_usage_events', 'request_id', (now() at time zone 'UTC')::date) as usage,
  llm_private.add_month_partition('llm_audit_log', 'id', (now() at time zone 'UTC')::date) as audit;
select llm_private.add_month_partitions();

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

comment on function llm_private.latency_bucket(integer) is
'Which of 40 buckets a latency falls into: bucket b holds those from 2^((b-1)/2) to below 2^(b/2) milliseconds;
null where it was not measured.';

create function llm_private.check_other_tokens(
  p_other jsonb, p_input integer, p_cached_input integer, p_cache_write integer, p_output integer
)
returns void
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_known constant text[] := array[
    'cache_write_1h', 'input_audio', 'cached_input_audio', 'output_audio', 'input_image', 'cached_input_image',
    'output_image', 'input_video', 'output_video'
  ];
  v_ok boolean;
  v record;
begin
  v_ok := jsonb_typeof(p_other) = 'object';
  if v_ok then
    select bool_and(o.key = any(v_known) and jsonb_typeof(o.value) = 'number' and o.value::text ~ '^[0-9]{1,9}$')
    into v_ok
    from jsonb_each(p_other) as o;
  end if;
  if v_ok then
    select
      coalesce((p_other -> 'cache_write_1h')::integer, 0) as cache_write_1h,
      coalesce((p_other -> 'input_audio')::integer, 0) as input_audio,
      coalesce((p_other -> 'cached_input_audio')::integer, 0) as cached_input_audio,
      coalesce((p_other -> 'output_audio')::integer, 0) as output_audio,
      coalesce((p_other -> 'input_image')::integer, 0) as input_image,
      coalesce((p_other -> 'cached_input_image')::integer, 0) as cached_input_image,
      coalesce((p_other -> 'output_image')::integer, 0) as output_image,
      coalesce((p_other -> 'input_video')::integer, 0) as input_video,
      coalesce((p_other -> 'output_video')::integer, 0) as output_video
    into v;
    v_ok := v.cache_write_1h <= coalesce(p_cache_write, 0)
      and v.input_audio + v.input_image + v.input_video <= coalesce(p_input, 0)
      and v.cached_input_audio <= v.input_audio
      and v.cached_input_image <= v.input_image
      and v.cached_input_audio + v.cached_input_image <= coalesce(p_cached_input, 0)
      and v.output_audio + v.output_image + v.output_video <= coalesce(p_output, 0);
  end if;
  perform llm_private.check_value(
    'invalid_argument', v_ok, 'p_other_tokens',
    'null, or whole numbers for some of ' || array_to_string(v_known, ', ') || ', none larger than what it is part of'
  );
end
$$;

comment on function llm_private.check_other_tokens(jsonb, integer, integer, integer, integer) is
'Error invalid_argument unless these are counts of known kinds of tokens, each part of those beside them.';

create function llm_private.record_usage(
  p_request_id uuid,
  p_attempt integer,
  p_task text,
  p_provider text,
  p_model text,
  p_key_source text,
  p_key_id uuid,
  p_outcome text,
  p_error_class text,
  p_streamed boolean,
  p_latency_ms integer,
  p_input_tokens integer,
  p_cached_input_tokens integer,
  p_output_tokens integer,
  p_reasoning_tokens integer,
  p_retry_after double precision,
  p_cache_write_tokens integer,
  p_other_tokens jsonb,
  p_service_tier text
)
returns boolean
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_user constant uuid := llm_private.require_user();
  v_runtime constant uuid := llm_private.current_runtime();
  v_recorder constant uuid := coalesce(v_runtime, v_user);
  v_reported constant boolean := p_input_tokens is not null or p_output_tokens is not null;
  v_requested_at timestamptz;
  v_hour timestamptz;
  v_charge record;
  v_price bigint;
  v_cost numeric;
  v_savings numeric;
  v_unpriced integer := 0;
  v_unreported integer := 0;
  v_bucket integer;
  v_latency_counts integer[];
begin
  if substr(p_request_id::text, 15, 1) is distinct from '7' then
    perform llm_private.check_value('invalid_argument', false, 'p_request_id', 'a UUIDv7');
  end if;
  -- As uuid_v7_time() and latency_bucket() have it, without a call on the hot path.
  v_requested_at := to_timestamp(('x' || translate(left(p_request_id::text, 13), '-', ''))::bit(48)::bigint / 1000.0);
  v_bucket := case
    when p_latency_ms >= 0
      then least(40, 1 + floor(2 * ln(greatest(p_latency_ms, 1)) / ln(2.0::double precision)))::integer
  end;
  -- One test for what is nearly always right; which argument it was is asked only when something is wrong. Lengths are
  -- compared, since a regular expression that counts to 200 takes as long as all the rest.
  if (
    v_requested_at between now() - interval '7 days' and now() + interval '10 minutes'
    and p_attempt between 1 and 1000
    and (p_task is null or length(p_task) between 1 and 64 and p_task !~ '[[:cntrl:]]')
    and p_provider ~ '^[a-z][a-z0-9_-]{0,31}$'
    and length(p_model) between 1 and 200 and p_model !~ '[^!-~]'
    and p_key_source in ('user', 'team', 'operator')
    and p_outcome in ('succeeded', 'failed', 'cancelled')
    and (p_outcome = 'failed') = (p_error_class is not null)
    and (
      p_error_class is null or p_error_class in (
        'auth', 'forbidden', 'rate_limited', 'bad_request', 'not_found', 'server_error', 'timeout', 'connection',
        'invalid_response'
      )
    )
    and p_streamed is not null
    and coalesce(p_latency_ms, 0) >= 0
    and coalesce(p_input_tokens, 0)::bigint
    >= coalesce(p_cached_input_tokens, 0)::bigint + coalesce(p_cache_write_tokens, 0)
    and coalesce(p_cached_input_tokens, 0) >= 0
    and coalesce(p_cache_write_tokens, 0) >= 0
    and coalesce(p_output_tokens, 0) >= coalesce(p_reasoning_tokens, 0)
    and coalesce(p_reasoning_tokens, 0) >= 0
    and (p_service_tier is null or p_service_tier ~ '^[a-z0-9_-]{1,32}$')
  ) is not true then
    perform
      llm_private.check_value(
        'invalid_argument', v_requested_at between now() - interval '7 days' and now() + interval '10 minutes',
        'p_request_id', 'a UUIDv7 made at most 7 days ago'
      ),
      llm_private.check_value('invalid_argument', p_attempt between 1 and 1000, 'p_attempt', '1 to 1000'),
      llm_private.check_value(
        'invalid_argument', p_task is null or length(p_task) between 1 and 64 and p_task !~ '[[:cntrl:]]', 'p_task',
        'null, or 1 to 64 printable characters'
      ),
      llm_private.check_value(
        'invalid_argument', p_provider ~ '^[a-z][a-z0-9_-]{0,31}$', 'p_provider', 'the id of a provider'
      ),
      llm_private.check_value(
        'invalid_argument', length(p_model) between 1 and 200 and p_model !~ '[^!-~]', 'p_model',
        'a model name of 1 to 200 characters, no spaces'
      ),
      llm_private.check_value(
        'invalid_argument', p_key_source in ('user', 'team', 'operator'), 'p_key_source', 'user, team or operator'
      ),
      llm_private.check_value(
        'invalid_argument', p_outcome in ('succeeded', 'failed', 'cancelled'), 'p_outcome',
        'succeeded, failed or cancelled'
      ),
      llm_private.check_value(
        'invalid_argument',
        p_outcome = 'failed' and p_error_class in (
          'auth', 'forbidden', 'rate_limited', 'bad_request', 'not_found', 'server_error', 'timeout', 'connection',
          'invalid_response'
        ) or p_outcome <> 'failed' and p_error_class is null,
        'p_error_class',
        'for a failed attempt auth, forbidden, rate_limited, bad_request, not_found, server_error, timeout, connection or '
        'invalid_response; else null'
      ),
      llm_private.check_value('invalid_argument', p_streamed is not null, 'p_streamed', 'true or false'),
      llm_private.check_value(
        'invalid_argument', coalesce(p_latency_ms, 0) >= 0, 'p_latency_ms', 'null, or 0 and more'
      ),
      llm_private.check_value(
        'invalid_argument', p_service_tier is null or p_service_tier ~ '^[a-z0-9_-]{1,32}$', 'p_service_tier',
        'null, or 1 to 32 lower-case letters, digits, _ and -'
      ),
      llm_private.check_value(
        'invalid_argument', false, 'A token count',
        'null, or 0 and more; cached and written tokens are part of the input, reasoning tokens of the output'
      );
  end if;
  if p_other_tokens is not null then
    perform llm_private.check_other_tokens(
      p_other_tokens, p_input_tokens, p_cached_input_tokens, p_cache_write_tokens, p_output_tokens
    );
  end if;
  -- A team's key is only ever in the hands of a runtime.
  if p_key_source = 'team' and v_runtime is null then
    perform llm_private.fail(
      403, 'runtime_required', 'Only a registered runtime can have used a team''s key.',
      'Send the runtime''s secret in x-llm-runtime.'
    );
  end if;

  if p_outcome = 'failed' and not v_reported then
    v_cost := 0;
  else
    v_charge := llm_private.charge(
      v_user, p_provider, p_model, p_key_source, p_service_tier, v_requested_at, p_input_tokens,
      p_cached_input_tokens, p_cache_write_tokens, p_output_tokens, p_reasoning_tokens, p_other_tokens
    );
    v_price := v_charge.price_id;
    if v_price is null then
      v_unpriced := 1;
    elsif v_reported then
      v_cost := v_charge.cost;
      v_savings := nullif(v_charge.cache_savings, 0);
    else
      v_unreported := 1;
    end if;
  end if;

  -- Until the end of the transaction: whoever opens a quota's counter waits to see this attempt.
  perform pg_advisory_xact_lock_shared(llm_private.usage_lock(v_user));
  insert into public.llm_usage_events (
    user_id, request_id, attempt, recorder, task, provider, model, key_source, key_id, outcome, error_class, streamed,
    latency_ms, input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens, other_tokens,
    service_tier, cost, cache_savings, price_id
  )
  values (
    v_user, p_request_id, p_attempt, v_recorder, p_task, p_provider, p_model, p_key_source, p_key_id,
    p_outcome, p_error_class, p_streamed,
    p_latency_ms, p_input_tokens, p_cached_input_tokens, p_cache_write_tokens, p_output_tokens, p_reasoning_tokens,
    p_other_tokens, p_service_tier, v_cost, v_savings, v_price
  )
  on conflict do nothing;
  if not found then
    return false;
  end if;

  -- Whichever row of the group is free takes it; another is made when none is.
  v_hour := date_trunc('hour', v_requested_at, 'UTC');
  update public.llm_usage_totals as t
  set
    requests = t.requests + (p_attempt = 1)::integer,
    attempts = t.attempts + 1,
    fallbacks = t.fallbacks + (p_attempt = 2)::integer,
    failures = t.failures + (p_outcome = 'failed')::integer,
    cancelled = t.cancelled + (p_outcome = 'cancelled')::integer,
    input_tokens = t.input_tokens + coalesce(p_input_tokens, 0),
    cached_input_tokens = t.cached_input_tokens + coalesce(p_cached_input_tokens, 0),
    cache_write_tokens = t.cache_write_tokens + coalesce(p_cache_write_tokens, 0),
    output_tokens = t.output_tokens + coalesce(p_output_tokens, 0),
    reasoning_tokens = t.reasoning_tokens + coalesce(p_reasoning_tokens, 0),
    cost = t.cost + coalesce(v_cost, 0),
    cache_savings = t.cache_savings + coalesce(v_savings, 0),
    unpriced = t.unpriced + v_unpriced,
    unreported = t.unreported + v_unreported,
    latency_counts[coalesce(v_bucket, 1)] = t.latency_counts[coalesce(v_bucket, 1)] + (v_bucket is not null)::integer,
    last_used_at = greatest(t.last_used_at, v_requested_at)
  where
    t.user_id = v_user and t.id = (
      select u.id
      from public.llm_usage_totals as u
      where
        u.user_id = v_user and u.hour = v_hour and u.provider = p_provider
        and u.model = p_model and u.task is not distinct from p_task and u.key_source = p_key_source
        and u.key_id is not distinct from p_key_id and u.recorder = v_recorder
      limit 1
      for update skip locked
    );
  if not found then
    v_latency_counts := array_fill(0, '{40}'::integer[]);
    if v_bucket is not null then
      v_latency_counts[v_bucket] := 1;
    end if;
    insert into public.llm_usage_totals (
      user_id, hour, provider, model, task, key_source, key_id, recorder, requests, attempts, fallbacks, failures,
      cancelled, input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens, cost,
      cache_savings, unpriced, unreported, latency_counts, last_used_at
    )
    values (
      v_user, v_hour, p_provider, p_model, p_task, p_key_source, p_key_id, v_recorder,
      (p_attempt = 1)::integer, 1, (p_attempt = 2)::integer, (p_outcome = 'failed')::integer,
      (p_outcome = 'cancelled')::integer, coalesce(p_input_tokens, 0), coalesce(p_cached_input_tokens, 0),
      coalesce(p_cache_write_tokens, 0), coalesce(p_output_tokens, 0), coalesce(p_reasoning_tokens, 0),
      coalesce(v_cost, 0), coalesce(v_savings, 0), v_unpriced, v_unreported, v_latency_counts, v_requested_at
    );
  end if;

  -- As note_hour() does, which is only called for an hour that is over. It may wait for a roll up, so it comes before any
  -- lock that others wait for.
  perform pg_advisory_xact_lock_shared(
    hashtext('llm_private.usage_rollups'), (extract(epoch from v_hour) / 3600)::integer
  );
  if v_hour + interval '1 hour' <= clock_timestamp() then
    perform llm_private.note_hour(v_hour);
  end if;

  if p_key_source = 'user' and p_key_id is not null then
    perform llm_private.note_key_outcome(v_user, p_key_id, p_outcome, p_error_class, p_retry_after);
  elsif p_key_source = 'operator' and p_error_class = 'auth' and v_runtime is not null then
    -- The operator's keys are in no table, so nobody knows when one was replaced: told of once a day.
    perform llm_private.add_alert(
      llm_private.operator_id(), 'key_rejected', format('%s on %s', p_provider, (now() at time zone 'UTC')::date),
      jsonb_build_object('provider', p_provider)
    );
  end if;
  if llm_private.has_quotas(v_user) then
    perform llm_private.settle(
      v_user, v_runtime, p_request_id, p_attempt, p_task, p_provider, p_key_source, v_requested_at,
      p_outcome <> 'failed',
      case
        when v_reported or p_outcome = 'failed'
          then coalesce(p_input_tokens, 0)::bigint + coalesce(p_output_tokens, 0)
      end,
      v_cost, v_unreported = 1
    );
  end if;
  if v_unpriced = 1 then
    perform llm_private.add_alert(
      v.owner, 'price_missing', p_provider || '/' || p_model,
      jsonb_build_object('provider', p_provider, 'model', p_model)
    )
    from (values (v_user), (llm_private.operator_id())) as v (owner)
    -- Users could tell the operator of any number of models that they make up.
    where v.owner = v_user or v_runtime is not null;
  end if;
  return true;
end
$$;

comment on function llm_private.record_usage(
  uuid, integer, text, text, text, text, uuid, text, text, boolean, integer, integer, integer, integer, integer,
  double precision, integer, jsonb, text
) is 'Record one attempt of the caller''s; false when it is on record already. Errors: see record_llm_usage().';

revoke execute on function llm_private.latency_bucket(integer) from public, anon, authenticated, service_role;
revoke execute on function llm_private.check_other_tokens(jsonb, integer, integer, integer, integer)
from public, anon, authenticated, service_role;
revoke execute on function llm_private.record_usage(
  uuid, integer, text, text, text, text, uuid, text, text, boolean, integer, integer, integer, integer, integer,
  double precision, integer, jsonb, text
) from public, anon, authenticated, service_role;
grant execute on function llm_private.record_usage(
  uuid, integer, text, text, text, text, uuid, text, text, boolean, integer, integer, integer, integer, integer,
  double precision, integer, jsonb, text
) to authenticated;

-- Public RPCs ---------------------------------------------------------------------------------------------------------

-- On the hot path, so plpgsql: it keeps its plan, and an SQL function with a search_path is planned at each call.
create function public.record_llm_usage(
  p_request_id uuid,
  p_attempt integer,
  p_provider text,
  p_model text,
  p_key_source text,
  p_outcome text,
  p_task text default null,
  p_key_id uuid default null,
  p_error_class text default null,
  p_streamed boolean default false,
  p_latency_ms integer default null,
  p_input_tokens integer default null,
  p_cached_input_tokens integer default null,
  p_output_tokens integer default null,
  p_reasoning_tokens integer default null,
  p_retry_after double precision default null,
  p_cache_write_tokens integer default null,
  p_other_tokens jsonb default null,
  p_service_tier text default null
)
returns boolean
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  return llm_private.record_usage(
    p_request_id, p_attempt, p_task, p_provider, p_model, p_key_source, p_key_id, p_outcome, p_error_class, p_streamed,
    p_latency_ms, p_input_tokens, p_cached_input_tokens, p_output_tokens, p_reasoning_tokens, p_retry_after,
    p_cache_write_tokens, p_other_tokens, p_service_tier
  );
end
$$;

comment on function public.record_llm_usage(
  uuid, integer, text, text, text, text, text, uuid, text, boolean, integer, integer, integer, integer, integer,
  double precision, integer, jsonb, text
) is
'Record one attempt of a request: who answered, whose key paid, tokens, latency in milliseconds, outcome. Its cost is
worked out here, at the price valid when the request began, and what was reserved for it is settled. Idempotent on
(request id, attempt): true when recorded, false when it was on record already. The outcome updates the status of the
user''s own key; p_retry_after: seconds that the provider asked to wait. Cached and written tokens are part of the
input, reasoning tokens of the output; p_other_tokens: see the column of llm_usage_events.
Errors: not_signed_in, runtime_unknown, runtime_required, invalid_argument.';

revoke execute on function public.record_llm_usage(
  uuid, integer, text, text, text, text, text, uuid, text, boolean, integer, integer, integer, integer, integer,
  double precision, integer, jsonb, text
) from public, anon, authenticated, service_role;
grant execute on function public.record_llm_usage(
  uuid, integer, text, text, text, text, text, uuid, text, boolean, integer, integer, integer, integer, integer,
  double precision, integer, jsonb, text
) to authenticated;
