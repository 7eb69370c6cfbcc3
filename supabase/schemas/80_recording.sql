-- Recording: an attempt becomes an event with its cost. The same transaction updates the totals, the status of the key
-- and the counters of quotas, and marks a rolled up hour as stale.

-- Private helpers -----------------------------------------------------------------------------------------------------

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
    'null, or whole numbers for any of ' || array_to_string(v_known, ', ') || ', each at most the count it is part of'
  );
end
$$;

comment on function llm_private.check_other_tokens is
'Error invalid_argument unless p_other has counts of known kinds of tokens that fit the other counts.';

create function llm_private.refuse_attempt(
  p_runtime uuid,
  p_request_id uuid,
  p_requested_at timestamptz,
  p_attempt integer,
  p_task text,
  p_provider text,
  p_model text,
  p_key_source text,
  p_outcome text,
  p_error_class text,
  p_streamed boolean,
  p_latency_ms integer,
  p_service_tier text
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  perform
    llm_private.check_value(
      'invalid_argument', substr(p_request_id::text, 15, 1) = '7', 'p_request_id', 'a UUIDv7'
    ),
    llm_private.check_value(
      'invalid_argument', p_requested_at between now() - interval '7 days' and now() + interval '10 minutes',
      'p_request_id', 'a UUIDv7 that is at most 7 days old'
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
      'auth, forbidden, rate_limited, bad_request, not_found, server_error, timeout, connection or invalid_response '
      'for a failed attempt, else null'
    ),
    llm_private.check_value('invalid_argument', p_streamed is not null, 'p_streamed', 'true or false'),
    llm_private.check_value(
      'invalid_argument', coalesce(p_latency_ms, 0) >= 0, 'p_latency_ms', 'null, or at least 0'
    ),
    llm_private.check_value(
      'invalid_argument', p_service_tier is null or p_service_tier ~ '^[a-z0-9_-]{1,32}$', 'p_service_tier',
      'null, or 1 to 32 lowercase letters, digits, _ and -'
    );
  perform llm_private.require_runtime(p_runtime, p_key_source);
  perform llm_private.check_value(
    'invalid_argument', false, 'A token count',
    'null, or at least 0; cached and written tokens are part of the input, reasoning tokens of the output'
  );
end
$$;

comment on function llm_private.refuse_attempt is
'Raise the error for an attempt that record_usage() refuses: runtime_required, or invalid_argument with the first
invalid argument.';

create function llm_private.alert_operator_key(p_provider text)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  -- The operator's keys are in no table, so their replacement is unknown here: the alert repeats once a day.
  perform llm_private.add_alert(
    llm_private.operator_id(), 'key_rejected', format('%s on %s', p_provider, (now() at time zone 'UTC')::date),
    jsonb_build_object('provider', p_provider)
  );
end
$$;

comment on function llm_private.alert_operator_key is 'Alert the operator that a provider rejected their key.';

create function llm_private.alert_unpriced(p_user uuid, p_runtime uuid, p_provider text, p_model text)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  perform llm_private.add_alert(
    v.owner, 'price_missing', p_provider || '/' || p_model,
    jsonb_build_object('provider', p_provider, 'model', p_model)
  )
  from (values (p_user), (llm_private.operator_id())) as v (owner)
  -- Without a runtime, a user could raise any number of alerts for invented models.
  where v.owner = p_user or p_runtime is not null;
end
$$;

comment on function llm_private.alert_unpriced is
'Alert a user that a model has no price, and the operator too if a runtime recorded it.';

create type llm_private.usage_names as (model text, task text);

comment on type llm_private.usage_names is 'The names under which an attempt is recorded.';

create function llm_private.usage_names(
  p_user uuid, p_recorder uuid, p_hour timestamptz, p_provider text, p_model text, p_task text
)
returns llm_private.usage_names
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_day constant timestamptz := date_trunc('day', p_hour, 'UTC');
  v_limit constant integer := (select o.usage_names_per_day from llm_private.operator_settings as o);
  v_names llm_private.usage_names := row(p_model, p_task);
  v record;
begin
  perform llm_private.check_provider(p_provider);
  select
    count(distinct (t.provider, t.model, t.task)) as names,
    count(distinct (t.provider, t.model)) as models,
    coalesce(bool_or(t.provider = p_provider and t.model = p_model), false) as has_model,
    coalesce(bool_or(t.provider = p_provider and t.model = p_model and t.task = p_task), false) as has_task
  into v
  from public.llm_usage_totals as t
  where
    t.user_id = p_user and t.hour >= v_day and t.hour < v_day + interval '1 day' and t.recorder = p_recorder;
  if v.models >= v_limit and not v.has_model then
    v_names.model := '(other)';
  end if;
  -- A quota of a task must find its usage in the totals.
  if v.names >= v_limit and not v.has_task and p_task is not null and not exists (
    select from llm_private.quotas as q where q.task = p_task
  ) then
    v_names.task := '(other)';
  end if;
  return v_names;
end
$$;

comment on function llm_private.usage_names is
'The names for the first attempt of a group in an hour. Beyond usage_names_per_day, new tasks and models are recorded as
(other), so that invented names cannot fill totals and reports; no tokens are lost. Error unknown_provider.';

-- Longer than other functions because each call inside costs time: of 260 µs per event, a function for the validation
-- would cost 2 %, and one for the steps after the insert 3 %. add_to_totals() costs 5 %, but recalculating shares it.
-- So the steps of every event are inline; shared and rare steps are functions.
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
  v_names llm_private.usage_names := row(p_model, p_task);
  v_charge record;
  v_price bigint;
  v_cost numeric;
  v_savings numeric;
  v_list_cost numeric;
  v_unpriced integer := 0;
  v_unreported integer := 0;
begin
  -- The same as uuid_v7_time(), without the call.
  v_requested_at := to_timestamp(('x' || translate(left(p_request_id::text, 13), '-', ''))::bit(48)::bigint / 1000.0);
  -- One condition for the usual case; refuse_attempt() finds the invalid argument. Lengths are compared, because a
  -- regular expression that counts to 200 takes as long as everything else.
  if (
    substr(p_request_id::text, 15, 1) = '7'
    and v_requested_at between now() - interval '7 days' and now() + interval '10 minutes'
    and p_attempt between 1 and 1000
    and (p_task is null or length(p_task) between 1 and 64 and p_task !~ '[[:cntrl:]]')
    and length(p_provider) <= 32 and p_provider ~ '^[a-z][a-z0-9_-]*$'
    and length(p_model) between 1 and 200 and p_model !~ '[^!-~]'
    and (p_key_source = 'user' or p_key_source in ('team', 'operator') and v_runtime is not null)
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
    perform llm_private.refuse_attempt(
      v_runtime, p_request_id, v_requested_at, p_attempt, p_task, p_provider, p_model, p_key_source, p_outcome,
      p_error_class, p_streamed, p_latency_ms, p_service_tier
    );
  end if;
  if p_other_tokens is not null then
    perform llm_private.check_other_tokens(
      p_other_tokens, p_input_tokens, p_cached_input_tokens, p_cache_write_tokens, p_output_tokens
    );
  end if;
  v_hour := date_trunc('hour', v_requested_at, 'UTC');
  perform from public.llm_usage_totals as t
  where
    t.user_id = v_user and t.hour = v_hour and t.provider = p_provider and t.model = p_model
    and t.task is not distinct from p_task and t.recorder = v_recorder
  limit 1;
  if not found then
    v_names := llm_private.usage_names(v_user, v_recorder, v_hour, p_provider, p_model, p_task);
  end if;
  if p_outcome = 'failed' and not v_reported then
    v_cost := 0;
    v_list_cost := 0;
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
      v_list_cost := v_charge.list_cost;
      v_savings := nullif(v_charge.cache_savings, 0);
    else
      v_unreported := 1;
    end if;
  end if;

  -- Held until the end of the transaction, so that a new counter of a quota includes this attempt.
  perform pg_advisory_xact_lock_shared(llm_private.usage_lock(v_user));
  insert into public.llm_usage_events (
    user_id, request_id, attempt, recorder, task, provider, model, key_source, key_id, outcome, error_class, streamed,
    latency_ms, input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens, other_tokens,
    service_tier, cost, cache_savings, list_cost, price_id
  )
  values (
    v_user, p_request_id, p_attempt, v_recorder, v_names.task, p_provider, v_names.model, p_key_source, p_key_id,
    p_outcome, p_error_class, p_streamed,
    p_latency_ms, p_input_tokens, p_cached_input_tokens, p_cache_write_tokens, p_output_tokens, p_reasoning_tokens,
    p_other_tokens, p_service_tier, v_cost, v_savings, v_list_cost, v_price
  )
  on conflict do nothing;
  if not found then
    return false;
  end if;

  perform llm_private.add_to_totals(
    v_user, v_hour, p_provider, v_names.model, v_names.task, p_key_source, p_key_id, v_recorder,
    -- The same as latency_bucket(), without the call.
    case
      when p_latency_ms is not null
        then least(40, 1 + floor(2 * ln(greatest(p_latency_ms, 1)) / ln(2.0::double precision)))::integer
    end,
    v_requested_at,
    row(
      (p_attempt = 1)::integer, 1, (p_attempt = 2)::integer, (p_outcome = 'failed')::integer,
      (p_outcome = 'cancelled')::integer, coalesce(p_input_tokens, 0), coalesce(p_cached_input_tokens, 0),
      coalesce(p_cache_write_tokens, 0), coalesce(p_output_tokens, 0), coalesce(p_reasoning_tokens, 0),
      coalesce(v_cost, 0), coalesce(v_savings, 0), coalesce(v_list_cost, 0), v_unpriced, v_unreported
    )::llm_private.usage_measures
  );
  if p_key_source = 'user' and p_key_id is not null then
    perform llm_private.note_key_outcome(v_user, p_key_id, p_outcome, p_error_class, p_retry_after);
  end if;
  -- Checked here too, so that a project without quotas saves the call.
  if exists (select from llm_private.quotas) and llm_private.has_quotas(v_user) then
    perform llm_private.settle(
      v_user, v_runtime, p_request_id, p_attempt, p_task, p_provider, p_key_source, v_requested_at,
      p_outcome <> 'failed',
      case
        when v_reported or p_outcome = 'failed'
          then coalesce(p_input_tokens, 0)::bigint + coalesce(p_output_tokens, 0)
      end,
      v_cost, v_list_cost, v_unreported = 1
    );
  end if;
  if v_unpriced = 1 then
    perform llm_private.alert_unpriced(v_user, v_runtime, p_provider, v_names.model);
  end if;
  if p_key_source = 'operator' and p_error_class = 'auth' and v_runtime is not null then
    perform llm_private.alert_operator_key(p_provider);
  end if;
  return true;
end
$$;

comment on function llm_private.record_usage is
'Record one attempt of the caller; false if it is already recorded. Errors: see record_llm_usage().';

-- Public RPCs ---------------------------------------------------------------------------------------------------------

-- plpgsql because this is the hot path: it keeps its plan, and an SQL function with a search_path is planned at each
-- call.
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

comment on function public.record_llm_usage is
'Record one attempt of a request: provider, model, whose key paid, tokens, latency in milliseconds, outcome. The
database computes its cost at the price when the request began, and settles its reservation. Idempotent on (request id,
attempt): returns true if it recorded the attempt, false if the attempt was already recorded. The outcome updates the
status of the user''s own key. p_retry_after is the number of seconds that the provider asked to wait. Cached and
written tokens are part of the input, reasoning tokens of the output. For p_other_tokens, see the column of
llm_usage_events.
Only runtimes record the use of keys of the operator or a team. Beyond the operator''s usage_names_per_day, new models and
tasks are recorded as (other).
Errors: not_signed_in, runtime_unknown, runtime_required, unknown_provider, invalid_argument.';
