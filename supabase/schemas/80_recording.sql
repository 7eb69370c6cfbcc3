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
  perform llm_private.check_size('p_other_tokens', p_other, 2);
  v_ok := jsonb_typeof(p_other) = 'object';
  if v_ok then
    select bool_and(o.key = any(v_known) and jsonb_typeof(o.value) = 'number' and o.value::text ~ '^[0-9]{1,9}$')
    into v_ok
    from jsonb_each(p_other) as o;
  end if;
  if v_ok then
    select
      coalesce((p_other -> 'cache_write_1h')::bigint, 0) as cache_write_1h,
      coalesce((p_other -> 'input_audio')::bigint, 0) as input_audio,
      coalesce((p_other -> 'cached_input_audio')::bigint, 0) as cached_input_audio,
      coalesce((p_other -> 'output_audio')::bigint, 0) as output_audio,
      coalesce((p_other -> 'input_image')::bigint, 0) as input_image,
      coalesce((p_other -> 'cached_input_image')::bigint, 0) as cached_input_image,
      coalesce((p_other -> 'output_image')::bigint, 0) as output_image,
      coalesce((p_other -> 'input_video')::bigint, 0) as input_video,
      coalesce((p_other -> 'output_video')::bigint, 0) as output_video
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

create function llm_private.refuse_attempt(p_attempt llm_private.attempt)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  perform
    llm_private.check_value(
      'invalid_argument', substr(p_attempt.request_id::text, 15, 1) = '7', 'p_request_id', 'a UUIDv7'
    ),
    llm_private.check_value(
      'invalid_argument', p_attempt.requested_at between now() - interval '7 days' and now() + interval '10 minutes',
      'p_request_id', 'a UUIDv7 that is at most 7 days old'
    ),
    llm_private.check_value('invalid_argument', p_attempt.attempt between 1 and 1000, 'p_attempt', '1 to 1000'),
    llm_private.check_value(
      'invalid_argument',
      p_attempt.task is null or length(p_attempt.task) between 1 and 64 and p_attempt.task !~ '[[:cntrl:]]', 'p_task',
      'null, or 1 to 64 printable characters'
    ),
    llm_private.check_value(
      'invalid_argument', length(p_attempt.provider) <= 32 and p_attempt.provider ~ '^[a-z][a-z0-9_-]{0,31}$',
      'p_provider', 'the id of a provider'
    ),
    llm_private.check_value(
      'invalid_argument', length(p_attempt.model) between 1 and 200 and p_attempt.model !~ '[^!-~]', 'p_model',
      'a model name of 1 to 200 characters, no spaces'
    ),
    llm_private.check_value(
      'invalid_argument', p_attempt.key_source in ('user', 'team', 'operator'), 'p_key_source',
      'user, team or operator'
    ),
    llm_private.check_value(
      'invalid_argument', p_attempt.outcome in ('succeeded', 'failed', 'cancelled'), 'p_outcome',
      'succeeded, failed or cancelled'
    ),
    llm_private.check_value(
      'invalid_argument',
      p_attempt.outcome = 'failed' and p_attempt.error_class in (
        'auth', 'forbidden', 'rate_limited', 'out_of_credit', 'bad_request', 'context_too_long', 'unsupported',
        'not_found', 'server_error', 'timeout', 'connection', 'invalid_response'
      ) or p_attempt.outcome <> 'failed' and p_attempt.error_class is null,
      'p_error_class',
      'auth, forbidden, rate_limited, out_of_credit, bad_request, context_too_long, unsupported, not_found, '
      'server_error, timeout, connection or invalid_response for a failed attempt, else null'
    ),
    llm_private.check_value('invalid_argument', p_attempt.streamed is not null, 'p_streamed', 'true or false'),
    llm_private.check_value(
      'invalid_argument', coalesce(p_attempt.latency_ms, 0) >= 0, 'p_latency_ms', 'null, or at least 0'
    ),
    llm_private.check_value(
      'invalid_argument',
      p_attempt.service_tier is null
      or length(p_attempt.service_tier) <= 32 and p_attempt.service_tier ~ '^[a-z0-9_-]{1,32}$',
      'p_service_tier', 'null, or 1 to 32 lowercase letters, digits, _ and -'
    );
  if p_attempt.recorder = p_attempt.user_id then
    perform llm_private.require_runtime(null, p_attempt.key_source);
  end if;
  perform llm_private.check_value(
    'invalid_argument', (p_attempt.key_source = 'team') = (p_attempt.team_id is not null), 'p_team_id',
    'the id of the team whose key paid if p_key_source is team, else null'
  );
  perform llm_private.check_value(
    'invalid_argument', false, 'A token count',
    'null, or at least 0; cached and written tokens are part of the input, reasoning tokens of the output'
  );
end
$$;

comment on function llm_private.refuse_attempt is
'Raise the error for an attempt that priced_attempt() refuses: runtime_required, or invalid_argument with the first
invalid argument.';

create function llm_private.check_team(p_team uuid)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  -- Including removed teams and former members, because an attempt may end after either.
  perform llm_private.check_value(
    'invalid_argument', exists (select from llm_private.teams as t where t.id = p_team), 'p_team_id',
    'the id of the team whose key paid'
  );
end
$$;

comment on function llm_private.check_team is 'Error invalid_argument unless there is or was a team with this id.';

create function llm_private.alert_operator_key(p_provider text, p_error_class text)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  -- The operator's keys are in no table, so their replacement is unknown here: the alert repeats once a day.
  perform llm_private.add_alert(
    llm_private.operator_id(),
    case p_error_class when 'auth' then 'key_rejected' else 'out_of_credit' end,
    format('%s on %s', p_provider, (now() at time zone 'UTC')::date),
    jsonb_build_object('provider', p_provider)
  );
end
$$;

comment on function llm_private.alert_operator_key is
'Alert the operator that a provider rejected their key (auth), or that its account has no credit left (out_of_credit).';

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

create function llm_private.alert_ignored_limit(p_attempt llm_private.attempt)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  perform llm_private.add_alert(
    v.owner, 'output_limit_ignored', p_attempt.provider || '/' || p_attempt.model,
    jsonb_build_object(
      'provider', p_attempt.provider, 'model', p_attempt.model, 'limit', p_attempt.ignored_limit,
      'used', p_attempt.output_tokens
    )
  )
  from (values (p_attempt.user_id), (llm_private.operator_id())) as v (owner)
  where v.owner = p_attempt.user_id or p_attempt.recorder <> p_attempt.user_id;
end
$$;

comment on function llm_private.alert_ignored_limit is
'Alert a user that a provider ignores the limit of output tokens, and the operator too if a runtime recorded it.';

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

create function llm_private.check_own_events(p_user uuid, p_at timestamptz, p_events bigint)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_day constant timestamptz := date_trunc('day', p_at, 'UTC');
  v_most constant integer := (select o.own_events_per_day from llm_private.operator_settings as o);
  v_known bigint;
begin
  select coalesce(sum(t.attempts), 0) into v_known from public.llm_usage_totals as t
  where t.user_id = p_user and t.hour >= v_day and t.hour < v_day + interval '1 day' and t.recorder = p_user;
  if v_known + p_events > v_most then
    perform llm_private.fail(
      429, 'too_many_events', format('More than %s events of a day cannot be recorded without a runtime.', v_most),
      'Record through a registered runtime, or ask the operator to raise own_events_per_day.'
    );
  end if;
end
$$;

comment on function llm_private.check_own_events is
'Error too_many_events if, with p_events more, a user has recorded too many without a runtime for requests of this day,
so that invented events cannot fill the table.';

create function llm_private.canonical_attempt(p_attempt llm_private.attempt)
returns llm_private.attempt
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  -- Providers without prefixes and attempts without a tier save the calls.
  if exists (select from public.llm_providers as p where p.id = p_attempt.provider and p.model_prefixes <> '{}') then
    p_attempt.model := llm_private.canonical_model(p_attempt.provider, p_attempt.model);
  end if;
  if p_attempt.service_tier is not null then
    p_attempt.service_tier := llm_private.priced_tier(p_attempt.service_tier);
  end if;
  return p_attempt;
end
$$;

comment on function llm_private.canonical_attempt is
'An attempt with the one name of its model and of its service tier.';

create function llm_private.priced_attempt(p_attempt llm_private.attempt)
returns llm_private.attempt
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_charge llm_private.attempt_cost;
begin
  -- The same as uuid_v7_time(), without the call.
  p_attempt.requested_at := to_timestamp(
    ('x' || translate(left(p_attempt.request_id::text, 13), '-', ''))::bit(48)::bigint / 1000.0
  );
  -- One condition for the usual case; refuse_attempt() finds the invalid argument. Lengths are compared, because a
  -- regular expression that counts to 200 takes as long as everything else.
  if (
    substr(p_attempt.request_id::text, 15, 1) = '7'
    and p_attempt.requested_at between now() - interval '7 days' and now() + interval '10 minutes'
    and p_attempt.attempt between 1 and 1000
    and (p_attempt.task is null or length(p_attempt.task) between 1 and 64 and p_attempt.task !~ '[[:cntrl:]]')
    and length(p_attempt.provider) <= 32 and p_attempt.provider ~ '^[a-z][a-z0-9_-]*$'
    and length(p_attempt.model) between 1 and 200 and p_attempt.model !~ '[^!-~]'
    and (
      p_attempt.key_source = 'user'
      or p_attempt.key_source in ('team', 'operator') and p_attempt.recorder <> p_attempt.user_id
    )
    and (p_attempt.key_source = 'team') = (p_attempt.team_id is not null)
    and p_attempt.outcome in ('succeeded', 'failed', 'cancelled')
    and (p_attempt.outcome = 'failed') = (p_attempt.error_class is not null)
    and (
      p_attempt.error_class is null or p_attempt.error_class in (
        'auth', 'forbidden', 'rate_limited', 'out_of_credit', 'bad_request', 'context_too_long', 'unsupported',
        'not_found', 'server_error', 'timeout', 'connection', 'invalid_response'
      )
    )
    and p_attempt.streamed is not null and coalesce(p_attempt.latency_ms, 0) >= 0
    and coalesce(p_attempt.input_tokens, 0)::bigint
    >= coalesce(p_attempt.cached_input_tokens, 0)::bigint + coalesce(p_attempt.cache_write_tokens, 0)
    and coalesce(p_attempt.cached_input_tokens, 0) >= 0 and coalesce(p_attempt.cache_write_tokens, 0) >= 0
    and coalesce(p_attempt.output_tokens, 0) >= coalesce(p_attempt.reasoning_tokens, 0)
    and coalesce(p_attempt.reasoning_tokens, 0) >= 0
    and (
      p_attempt.service_tier is null
      or length(p_attempt.service_tier) <= 32 and p_attempt.service_tier ~ '^[a-z0-9_-]+$'
    )
  ) is not true then
    perform llm_private.refuse_attempt(p_attempt);
  end if;
  if p_attempt.team_id is not null then
    perform llm_private.check_team(p_attempt.team_id);
  end if;
  if p_attempt.service_tier is not null or strpos(p_attempt.model, '/') > 0 then
    p_attempt := llm_private.canonical_attempt(p_attempt);
  end if;
  if p_attempt.other_tokens is not null then
    perform llm_private.check_other_tokens(
      p_attempt.other_tokens, p_attempt.input_tokens, p_attempt.cached_input_tokens, p_attempt.cache_write_tokens,
      p_attempt.output_tokens
    );
  end if;

  p_attempt.unpriced := false;
  p_attempt.unreported := p_attempt.input_tokens is null and p_attempt.output_tokens is null;
  if p_attempt.outcome = 'failed' and p_attempt.unreported then
    p_attempt.unreported := false;
    p_attempt.cost := 0;
    p_attempt.list_cost := 0;
  else
    v_charge := llm_private.charge(
      p_attempt.user_id, p_attempt.provider, p_attempt.model, p_attempt.key_source, p_attempt.service_tier,
      p_attempt.requested_at, p_attempt.input_tokens, p_attempt.cached_input_tokens, p_attempt.cache_write_tokens,
      p_attempt.output_tokens, p_attempt.reasoning_tokens, p_attempt.other_tokens
    );
    p_attempt.price_id := v_charge.price_id;
    if v_charge.price_id is null then
      p_attempt.unpriced := true;
      p_attempt.unreported := false;
    elsif not p_attempt.unreported then
      p_attempt.cost := v_charge.cost;
      p_attempt.list_cost := v_charge.list_cost;
      p_attempt.cache_savings := nullif(v_charge.cache_savings, 0);
    end if;
  end if;
  return p_attempt;
end
$$;

comment on function llm_private.priced_attempt is
'A valid attempt with its time, price and cost. Errors: see record_llm_usage().';

create function llm_private.named_attempts(p_attempts llm_private.attempt[])
returns llm_private.attempt[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_group record;
  v_names llm_private.usage_names;
begin
  for v_group in
    select distinct
      a.user_id, a.recorder, date_trunc('hour', a.requested_at, 'UTC') as hour, a.provider, a.model, a.task
    from unnest(p_attempts) as a
    where
      a.attempt is not null and not exists (
        select from public.llm_usage_totals as t
        where
          t.user_id = a.user_id and t.hour = date_trunc('hour', a.requested_at, 'UTC') and t.provider = a.provider
          and t.model = a.model and t.task is not distinct from a.task and t.recorder = a.recorder
      )
  loop
    v_names := llm_private.usage_names(
      v_group.user_id, v_group.recorder, v_group.hour, v_group.provider, v_group.model, v_group.task
    );
    continue when v_names is not distinct from row(v_group.model, v_group.task)::llm_private.usage_names;
    for i in 1..cardinality(p_attempts) loop
      if
        p_attempts[i].attempt is not null and p_attempts[i].user_id = v_group.user_id
        and p_attempts[i].recorder = v_group.recorder
        and date_trunc('hour', p_attempts[i].requested_at, 'UTC') = v_group.hour
        and p_attempts[i].provider = v_group.provider and p_attempts[i].model = v_group.model
        and p_attempts[i].task is not distinct from v_group.task
      then
        p_attempts[i].model := v_names.model;
        p_attempts[i].task := v_names.task;
      end if;
    end loop;
  end loop;
  return p_attempts;
end
$$;

comment on function llm_private.named_attempts is
'Attempts with the names under which they are recorded. Error unknown_provider.';

create function llm_private.add_events(p_attempts llm_private.attempt[])
returns llm_private.attempt[]
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_added llm_private.attempt[];
begin
  with added as (
    insert into public.llm_usage_events (
      user_id, request_id, attempt, recorder, task, provider, model, key_source, key_id, outcome, error_class, streamed,
      latency_ms, input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens, other_tokens,
      service_tier, cost, cache_savings, list_cost, price_id, team_id
    )
    select
      a.user_id, a.request_id, a.attempt, a.recorder, a.task, a.provider, a.model, a.key_source, a.key_id, a.outcome,
      a.error_class, a.streamed, a.latency_ms, a.input_tokens, a.cached_input_tokens, a.cache_write_tokens,
      a.output_tokens, a.reasoning_tokens, a.other_tokens, a.service_tier, a.cost, a.cache_savings, a.list_cost,
      a.price_id, a.team_id
    from unnest(p_attempts) as a
    where a.attempt is not null
    -- In the same order everywhere, because the same attempt in another transaction is waited for.
    order by a.user_id, a.request_id, a.attempt
    on conflict do nothing
    returning user_id, request_id, attempt, recorder
  )

  select coalesce(array_agg(n.a), '{}') into v_added
  from (
    select distinct on (d.user_id, d.request_id, d.attempt, d.recorder) a
    from unnest(p_attempts) as a
    inner join added as d using (user_id, request_id, attempt, recorder)
  ) as n;
  return v_added;
end
$$;

comment on function llm_private.add_events is 'Insert the events of these attempts. Returns those that are new.';

create function llm_private.add_attempts_to_totals(p_attempts llm_private.attempt[])
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_group record;
begin
  -- One update per group: a row that one transaction updates many times becomes slower each time.
  for v_group in
    select
      a.user_id, date_trunc('hour', a.requested_at, 'UTC') as hour, a.provider, a.model, a.task, a.key_source, a.key_id,
      a.recorder, a.team_id,
      coalesce(
        array_agg(llm_private.latency_bucket(a.latency_ms)) filter (where a.latency_ms is not null), '{}'
      ) as buckets,
      max(a.requested_at) as last_used_at,
      row(
        count(*) filter (where a.attempt = 1), count(*), count(*) filter (where a.attempt = 2),
        count(*) filter (where a.outcome = 'failed'), count(*) filter (where a.outcome = 'cancelled'),
        coalesce(sum(a.input_tokens), 0), coalesce(sum(a.cached_input_tokens), 0),
        coalesce(sum(a.cache_write_tokens), 0), coalesce(sum(a.output_tokens), 0),
        coalesce(sum(a.reasoning_tokens), 0), coalesce(sum(a.cost), 0), coalesce(sum(a.cache_savings), 0),
        coalesce(sum(a.list_cost), 0), count(*) filter (where a.unpriced), count(*) filter (where a.unreported)
      )::llm_private.usage_measures as measures
    from unnest(p_attempts) as a
    group by 1, 2, 3, 4, 5, 6, 7, 8, 9
    -- The order in which hours are locked.
    order by 2, 1
  loop
    perform llm_private.add_to_totals(
      v_group.user_id, v_group.hour, v_group.provider, v_group.model, v_group.task, v_group.key_source, v_group.key_id,
      v_group.recorder, v_group.team_id, v_group.buckets, v_group.last_used_at, v_group.measures
    );
  end loop;
end
$$;

comment on function llm_private.add_attempts_to_totals is 'Add new events to the users'' totals.';

create function llm_private.settle_attempts(p_attempts llm_private.attempt[])
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_attempt llm_private.attempt;
begin
  if cardinality(p_attempts) > 1 then
    perform llm_private.lock_settled(p_attempts);
  end if;
  foreach v_attempt in array p_attempts loop
    if v_attempt.attempt is null then
      perform llm_private.release(
        v_attempt.user_id, v_attempt.recorder, v_attempt.request_id, null, v_attempt.released_requests
      );
    else
      perform llm_private.settle(v_attempt);
    end if;
  end loop;
end
$$;

comment on function llm_private.settle_attempts is
'Settle attempts of several users, and release the reservations of those without a number, in the order given.';

create function llm_private.record_attempts(p_attempts llm_private.attempt[])
returns llm_private.attempt[]
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_new llm_private.attempt[];
  v_settled llm_private.attempt[];
begin
  -- Held until the end of the transaction, so that a new counter of a quota includes these attempts.
  perform pg_advisory_xact_lock_shared(llm_private.usage_lock(u.user_id))
  from (select distinct a.user_id from unnest(p_attempts) as a order by a.user_id) as u;
  perform pg_advisory_xact_lock_shared(llm_private.usage_lock(t.team_id))
  from (
    select distinct a.team_id from unnest(p_attempts) as a where a.team_id is not null order by a.team_id
  ) as t;
  v_new := llm_private.add_events(p_attempts);
  perform llm_private.add_attempts_to_totals(v_new);
  perform llm_private.note_key_outcome(k.owner_id, k.key_id, k.model, k.outcome, k.error_class, k.retry_after)
  from (
    select
      coalesce(a.team_id, a.user_id) as owner_id, a.key_id, a.model, a.outcome, a.error_class,
      max(a.retry_after) as retry_after
    from unnest(v_new) as a
    where a.key_source in ('user', 'team') and a.key_id is not null
    group by 1, a.key_id, a.model, a.outcome, a.error_class
    order by 1, a.key_id
  ) as k;
  -- A project without quotas saves the calls.
  if exists (select from llm_private.quotas) then
    -- Materialized, so that each user is looked up once.
    with bound as materialized (
      select u.user_id, u.team_id, llm_private.has_quotas(u.user_id, u.team_id) as is_bound
      from (select distinct a.user_id, a.team_id from unnest(v_new) as a) as u
    )

    select
      array(
        select a from unnest(v_new) as a
        inner join bound as b on a.user_id = b.user_id and a.team_id is not distinct from b.team_id
        -- A candidate with a team's key may have reserved before this attempt with another key.
        where b.is_bound or llm_private.has_reservation(a)
      )
      || array(select a from unnest(p_attempts) as a where a.attempt is null)
    into v_settled;
    perform llm_private.settle_attempts(v_settled);
  end if;
  perform llm_private.alert_unpriced(u.user_id, u.runtime, u.provider, u.model)
  from (
    select distinct a.provider, a.model, a.user_id, nullif(a.recorder, a.user_id) as runtime
    from unnest(v_new) as a
    where a.unpriced
    order by a.provider, a.model
  ) as u;
  perform llm_private.alert_ignored_limit(a)
  from unnest(v_new) as a
  where a.ignored_limit < a.output_tokens
  order by a.provider, a.model;
  perform llm_private.alert_operator_key(o.provider, o.error_class)
  from (
    select distinct a.provider, a.error_class from unnest(v_new) as a
    where a.key_source = 'operator' and a.error_class in ('auth', 'out_of_credit') and a.recorder <> a.user_id
    order by a.provider, a.error_class
  ) as o;
  return v_new;
end
$$;

comment on function llm_private.record_attempts is
'Record priced attempts of any users, and release the reservations of those without a number. Returns the attempts that
are new.';

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
  p_service_tier text,
  p_reservation uuid,
  p_team_id uuid
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
  v_attempt llm_private.attempt := row(
    v_user, p_request_id, p_attempt, coalesce(v_runtime, v_user), null, p_task, p_provider, p_model,
    p_key_source, p_key_id, p_outcome, p_error_class, p_streamed, p_latency_ms, p_input_tokens, p_cached_input_tokens,
    p_cache_write_tokens, p_output_tokens, p_reasoning_tokens, p_other_tokens, p_service_tier, p_retry_after,
    p_reservation, null, null, null, null, null, null, null, null, p_team_id
  );
begin
  perform llm_private.require_plain_call('record_llm_usage');
  v_attempt := llm_private.priced_attempt(v_attempt);
  -- The same as named_attempts() and record_attempts(), because preparing their sets takes longer than one attempt.
  perform from public.llm_usage_totals as t
  where
    t.user_id = v_user and t.hour = date_trunc('hour', v_attempt.requested_at, 'UTC') and t.provider = p_provider
    and t.model = v_attempt.model and t.task is not distinct from p_task and t.recorder = v_attempt.recorder
  limit 1;
  if not found then
    select n.model, n.task into v_attempt.model, v_attempt.task
    from llm_private.usage_names(
      v_user, v_attempt.recorder, date_trunc('hour', v_attempt.requested_at, 'UTC'), p_provider, v_attempt.model,
      p_task
    ) as n;
  end if;
  if v_runtime is null then
    perform llm_private.check_own_events(v_user, v_attempt.requested_at, 1);
  end if;
  perform pg_advisory_xact_lock_shared(llm_private.usage_lock(v_user));
  if p_team_id is not null then
    perform pg_advisory_xact_lock_shared(llm_private.usage_lock(p_team_id));
  end if;
  insert into public.llm_usage_events (
    user_id, request_id, attempt, recorder, task, provider, model, key_source, key_id, outcome, error_class, streamed,
    latency_ms, input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens, other_tokens,
    service_tier, cost, cache_savings, list_cost, price_id, team_id
  )
  values (
    v_user, p_request_id, p_attempt, v_attempt.recorder, v_attempt.task, p_provider, v_attempt.model, p_key_source,
    p_key_id, p_outcome, p_error_class, p_streamed, p_latency_ms, p_input_tokens, p_cached_input_tokens, p_cache_write_tokens,
    p_output_tokens, p_reasoning_tokens, p_other_tokens, v_attempt.service_tier, v_attempt.cost,
    v_attempt.cache_savings, v_attempt.list_cost, v_attempt.price_id, p_team_id
  )
  on conflict do nothing;
  if not found then
    return false;
  end if;
  perform llm_private.add_to_totals(
    v_user, date_trunc('hour', v_attempt.requested_at, 'UTC'), p_provider, v_attempt.model, v_attempt.task,
    p_key_source, p_key_id, v_attempt.recorder, p_team_id,
    case when p_latency_ms is null then '{}' else array[llm_private.latency_bucket(p_latency_ms)] end,
    v_attempt.requested_at,
    row(
      (p_attempt = 1)::integer, 1, (p_attempt = 2)::integer, (p_outcome = 'failed')::integer,
      (p_outcome = 'cancelled')::integer, coalesce(p_input_tokens, 0), coalesce(p_cached_input_tokens, 0),
      coalesce(p_cache_write_tokens, 0), coalesce(p_output_tokens, 0), coalesce(p_reasoning_tokens, 0),
      coalesce(v_attempt.cost, 0), coalesce(v_attempt.cache_savings, 0), coalesce(v_attempt.list_cost, 0),
      v_attempt.unpriced::integer, v_attempt.unreported::integer
    )::llm_private.usage_measures
  );
  if p_key_id is not null and p_key_source in ('user', 'team') then
    perform llm_private.note_key_outcome(
      coalesce(p_team_id, v_user), p_key_id, v_attempt.model, p_outcome, p_error_class, p_retry_after
    );
  end if;
  -- Checked here too, so that a project without quotas saves the call.
  if
    exists (select from llm_private.quotas)
    and (llm_private.has_quotas(v_user, p_team_id) or llm_private.has_reservation(v_attempt))
  then
    perform llm_private.settle(v_attempt);
  end if;
  if v_attempt.unpriced then
    perform llm_private.alert_unpriced(v_user, v_runtime, p_provider, v_attempt.model);
  end if;
  if p_key_source = 'operator' and p_error_class in ('auth', 'out_of_credit') and v_runtime is not null then
    perform llm_private.alert_operator_key(p_provider, p_error_class);
  end if;
  return true;
end
$$;

comment on function llm_private.record_usage is
'Record one attempt of the caller; false if it is already recorded. Errors: see record_llm_usage().';

create function llm_private.event_user(p_ticket text, p_user uuid, p_runtime uuid)
returns uuid
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_ticket is null then
    -- Refuses a revoked runtime, whose tickets alone prove that it ran something.
    perform llm_private.current_runtime();
    return coalesce(p_user, llm_private.require_user());
  elsif p_runtime is null then
    perform llm_private.fail(
      403, 'runtime_required', 'Only a registered runtime can use a ticket.',
      'Send the runtime''s secret in the header x-llm-runtime.'
    );
  end if;
  return llm_private.read_ticket(p_ticket, p_runtime);
end
$$;

comment on function llm_private.event_user is
'Whose event it is: the ticket''s user or, without a ticket, the caller. Errors: not_signed_in, runtime_unknown,
runtime_required, ticket_invalid, ticket_expired.';

create function llm_private.checked_release(p_attempt llm_private.attempt)
returns llm_private.attempt
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  perform
    llm_private.check_value('invalid_argument', p_attempt.request_id is not null, 'request_id', 'a UUID'),
    llm_private.check_value(
      'invalid_argument', coalesce(p_attempt.released_requests, 1) between 1 and 1000, 'requests', 'null, or 1 to 1000'
    );
  return p_attempt;
end
$$;

comment on function llm_private.checked_release is 'The same release. Error invalid_argument.';

create function llm_private.record_events(p_events json, p_user uuid, p_runtime uuid)
returns json
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_attempts llm_private.attempt[];
  v_new llm_private.attempt[];
begin
  with event as (
    select e.* from rows from (
      json_to_recordset(p_events) as (
        ticket text, request_id uuid, attempt integer, task text, provider text, model text, key_source text,
        key_id uuid, outcome text, error_class text, streamed boolean, latency_ms integer, input_tokens integer,
        cached_input_tokens integer, cache_write_tokens integer, output_tokens integer, reasoning_tokens integer,
        other_tokens jsonb, service_tier text, retry_after double precision, reservation uuid, release boolean,
        requests integer, ignored_limit integer, team_id uuid
      )
    ) with ordinality as e
  ),

  -- Materialized, so that each ticket is read once.
  caller as materialized (
    select d.ticket, llm_private.event_user(d.ticket, p_user, p_runtime) as user_id
    from (select distinct e.ticket from event as e) as d
  ),

  attempt as (
    select
      e.ordinality,
      row(
        c.user_id, e.request_id, case when e.release is not true then coalesce(e.attempt, 0) end,
        coalesce(p_runtime, c.user_id), null, e.task, e.provider, e.model, e.key_source, e.key_id, e.outcome,
        e.error_class, coalesce(e.streamed, false), e.latency_ms, e.input_tokens, e.cached_input_tokens,
        e.cache_write_tokens, e.output_tokens, e.reasoning_tokens, e.other_tokens, e.service_tier, e.retry_after,
        e.reservation, e.requests, null, null, null, null, null, null, e.ignored_limit,
        e.team_id
      )::llm_private.attempt as attempt
    from event as e
    inner join caller as c on e.ticket is not distinct from c.ticket
  )

  select
    array_agg(
      case
        when (a.attempt).attempt is null then llm_private.checked_release(a.attempt)
        else llm_private.priced_attempt(a.attempt)
      end order by a.ordinality
    )
  into v_attempts
  from attempt as a;
  if p_runtime is null then
    perform llm_private.check_own_events(p_user, d.requested_at, d.events)
    from (
      select min(a.requested_at) as requested_at, count(*) as events from unnest(v_attempts) as a
      where a.attempt is not null
      group by date_trunc('day', a.requested_at, 'UTC')
    ) as d;
  end if;
  v_attempts := llm_private.named_attempts(v_attempts);
  v_new := llm_private.record_attempts(v_attempts);
  return (
    select
      json_agg(
        json_build_object(
          'status', case
            when a.attempt is null then 'released' when n.user_id is null then 'known' else 'recorded'
          end,
          'version', case when a.attempt is not null then v.version end
        ) order by a.ordinality
      )
    from unnest(v_attempts) with ordinality as a
    inner join (
      select u.user_id, (llm_private.route_state(u.user_id)).version
      from (select distinct b.user_id from unnest(v_attempts) as b) as u
    ) as v on a.user_id = v.user_id
    left join unnest(v_new) as n on a.user_id = n.user_id and a.request_id = n.request_id and a.attempt = n.attempt
  );
end
$$;

comment on function llm_private.record_events is
'Record events; all or none. Returns an array with the status of each and the version of the user''s routes. Errors: see
record_llm_usage_batch().';

create function llm_private.count_refused(p_recorder uuid, p_answers json[])
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into llm_private.refused_events as r (recorder, day, code, events)
  select p_recorder, (now() at time zone 'UTC')::date, a.answer ->> 'code', count(*)
  from unnest(p_answers) as a (answer)
  where a.answer ->> 'status' = 'refused'
  group by 3
  -- The order in which rows are locked.
  order by 3
  on conflict (recorder, day, code) do update set events = r.events + excluded.events;
end
$$;

comment on function llm_private.count_refused is
'Count the refused events among these answers. See list_llm_problems().';

create function llm_private.count_dropped(p_recorder uuid, p_dropped jsonb)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  perform llm_private.check_counts(
    'p_dropped', p_dropped, '{database_unavailable,failed,queue_full,refused,token_refused}'
  );
  insert into llm_private.dropped_events as d (recorder, day, reason, events)
  select p_recorder, (now() at time zone 'UTC')::date, c.key, c.value::integer
  from jsonb_each(p_dropped) as c
  order by c.key
  on conflict (recorder, day, reason) do update set events = least(d.events + excluded.events, 999999);
end
$$;

comment on function llm_private.count_dropped is
'Count the events that a client dropped, by reason. See list_llm_problems(). Error invalid_argument.';

create function llm_private.record_events_singly(p_events json, p_user uuid, p_runtime uuid)
returns json
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_event json;
  v_answers json[] := '{}'::json[];
  v_state text;
  v_message text;
  v_code text;
begin
  for v_event in select e.value from json_array_elements(p_events) as e loop
    begin
      v_answers := v_answers || (llm_private.record_events(json_build_array(v_event), p_user, p_runtime) -> 0);
    exception when others then
      get stacked diagnostics
        v_state = returned_sqlstate, v_message = message_text, v_code = pg_exception_detail;
      -- PostgreSQL's own messages about a value quote it.
      if v_state ~ '^22' then
        v_code := 'invalid_argument';
        v_message := 'The event has a field with an invalid type.';
      -- Any other error may pass, so that the caller should send the events again.
      elsif v_state !~ '^PT' then
        raise;
      end if;
      v_answers := v_answers || json_build_object('status', 'refused', 'code', v_code, 'message', v_message);
    end;
  end loop;
  perform llm_private.count_refused(coalesce(p_runtime, p_user), v_answers);
  return array_to_json(v_answers);
end
$$;

comment on function llm_private.record_events_singly is
'Record events one by one, so that an event that is refused fails no other. Returns an array with the status of each.';

create function llm_private.record_batch(p_events json, p_dropped jsonb)
returns json
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  -- A runtime may record what it ran before it was revoked.
  v_runtime constant uuid := llm_private.current_runtime(p_revoked => true);
  v_user constant uuid := llm_private.user_id();
begin
  perform llm_private.require_plain_call('record_llm_usage_batch');
  if v_runtime is null then
    perform llm_private.require_user();
  end if;
  perform llm_private.check_value(
    'invalid_argument', json_typeof(p_events) = 'array', 'p_events', 'an array of at most 500 events'
  );
  perform llm_private.check_value(
    'invalid_argument', json_array_length(p_events) <= 500 and octet_length(p_events::text) <= 1000000, 'p_events',
    'an array of at most 500 events and 1 MB'
  );
  if p_dropped is not null then
    perform llm_private.count_dropped(coalesce(v_runtime, v_user), p_dropped);
  end if;
  if json_array_length(p_events) = 0 then
    return '[]'::json;
  end if;
  begin
    return llm_private.record_events(p_events, v_user, v_runtime);
  exception when data_exception then
    null;
  when others then
    if sqlstate !~ '^PT' then
      raise;
    end if;
  end;
  return llm_private.record_events_singly(p_events, v_user, v_runtime);
end
$$;

comment on function llm_private.record_batch is 'See record_llm_usage_batch().';

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
  p_service_tier text default null,
  p_reservation uuid default null,
  p_team_id uuid default null
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
    p_cache_write_tokens, p_other_tokens, p_service_tier, p_reservation, p_team_id
  );
end
$$;

comment on function public.record_llm_usage is
'Record one attempt of a request: provider, model, whose key paid, tokens, latency in milliseconds, outcome. The
database computes its cost at the price when the request began, and settles its reservation. Idempotent on (request id,
attempt): returns true if it recorded the attempt, false if the attempt was already recorded. The outcome updates the
status of the user''s own key or of the team''s. p_retry_after is the number of seconds that the provider asked to wait. Cached and
written tokens are part of the input, reasoning tokens of the output. For p_other_tokens, see the column of
llm_usage_events. p_reservation: the request that reserved for this one, if another one did (see resolve_llm_route()).
Only runtimes record the use of keys of the operator or a team. p_team_id: the team whose key paid, if p_key_source is
team. Beyond the operator''s usage_names_per_day, new models and tasks are recorded as (other). Without a runtime,
own_events_per_day limits the events.
Errors: not_signed_in, runtime_unknown, runtime_required, unknown_provider, invalid_argument, too_many_events.';

create function public.record_llm_usage_batch(p_events json, p_dropped jsonb default null)
returns json
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  return llm_private.record_batch(p_events, p_dropped);
end
$$;

comment on function public.record_llm_usage_batch is
'Record up to 500 events in one call: an array of objects with the arguments of record_llm_usage() without p_, and
ignored_limit: a limit of output tokens that the provider exceeded, for an alert. A runtime records for many users: each event has the ticket that came with the route, and no access token is needed, so that an
event can be recorded up to a day after the route was resolved, also if the token has expired or the runtime was revoked
meanwhile. Without tickets, the events are the caller''s own. {"request_id": …, "release": true} frees what is reserved
for a request that does not run, and with "requests", only for so many requests. p_dropped: how many events the client
has dropped since its last call, by reason: database_unavailable, failed, queue_full, refused or token_refused.
Returns an array with an object for each event: {"status": "recorded"}, "known" if it was recorded before, "released", or
"refused" with code and message. An event that is refused fails no other. With a recorded or known one comes the version
that a route of its user has now: a cached route with another one is outdated.
Errors: not_signed_in, runtime_unknown, invalid_argument; of an event also runtime_required, too_many_events,
ticket_invalid and ticket_expired.';
