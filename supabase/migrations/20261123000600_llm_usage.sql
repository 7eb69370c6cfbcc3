-- Usage: one event an attempt, and its totals.
--
-- An event is identified by (user, request id, attempt, recorder). The recorder is part of it so that what a runtime
-- ran, that runtime alone records: a user who knows a request id (it stands in a response header) can only add an
-- event of their own beside it, which shows no runtime.
--
-- Totals are kept while recording, exact at any time, without a row that all requests of a busy user wait for: each
-- group (user, day, provider, …) has a few rows, and a writer takes whichever is free, or adds one. Readers sum them.

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
  output_tokens integer,
  reasoning_tokens integer,
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
comment on column public.llm_usage_events.output_tokens is 'All output tokens, reasoning included; null: not said.';

create table llm_private.llm_usage_events_default partition of public.llm_usage_events default;

create table public.llm_usage_totals (
  user_id uuid not null,
  id bigint generated always as identity,
  day date not null,
  provider text not null,
  model text not null,
  task text,
  key_source text not null,
  key_id uuid,
  recorder uuid not null,
  requests bigint not null,
  attempts bigint not null,
  failures bigint not null,
  input_tokens bigint not null,
  cached_input_tokens bigint not null,
  output_tokens bigint not null,
  reasoning_tokens bigint not null,
  last_used_at timestamptz not null,
  primary key (user_id, id)
-- Room on each page for new versions of a row that is updated by every request.
) with (fillfactor = 50);

-- Holds no column that recording updates, so that updates stay within the page.
create index llm_usage_totals_group on public.llm_usage_totals (user_id, day, provider, model);

comment on table public.llm_usage_totals is
'Sums of usage events; several rows a group, to be summed again: see get_llm_usage().';
comment on column public.llm_usage_totals.day is 'Day of the request, UTC.';
comment on column public.llm_usage_totals.recorder is
'As in the events: what users say of themselves is not mixed with what a runtime says.';
comment on column public.llm_usage_totals.requests is 'First attempts, so that a request counts once.';
comment on column public.llm_usage_totals.failures is 'Attempts that failed; cancelled ones did not.';

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

-- Volatile: of several in one statement, the planner would run an immutable one with constant arguments first.
create function llm_private.check_usage(p_ok boolean, p_argument text, p_allowed text)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_ok is not true then
    perform llm_private.fail(
      400, 'invalid_argument', format('%s has a value that is not allowed.', p_argument),
      'Allowed: ' || p_allowed || '.'
    );
  end if;
end
$$;

comment on function llm_private.check_usage(boolean, text, text) is
'Error invalid_argument, naming the argument and what is allowed, unless p_ok.';

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
  p_retry_after double precision
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
  v_requested_at timestamptz;
begin
  if substr(p_request_id::text, 15, 1) is distinct from '7' then
    perform llm_private.check_usage(false, 'p_request_id', 'a UUIDv7');
  end if;
  -- As uuid_v7_time() has it; an SQL function would be planned anew in each call.
  v_requested_at := to_timestamp(('x' || translate(left(p_request_id::text, 13), '-', ''))::bit(48)::bigint / 1000.0);
  -- One test for what is nearly always right; which argument it was is asked only when something is wrong.
  if (
    v_requested_at between now() - interval '7 days' and now() + interval '10 minutes'
    and p_attempt between 1 and 1000
    and (p_task is null or p_task ~ '^[^[:cntrl:]]{1,64}$')
    and p_provider ~ '^[a-z][a-z0-9_-]{0,31}$'
    and p_model ~ '^[!-~]{1,200}$'
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
    and coalesce(p_input_tokens, 0) >= coalesce(p_cached_input_tokens, 0)
    and coalesce(p_cached_input_tokens, 0) >= 0
    and coalesce(p_output_tokens, 0) >= coalesce(p_reasoning_tokens, 0)
    and coalesce(p_reasoning_tokens, 0) >= 0
  ) is not true then
    perform
      llm_private.check_usage(
        v_requested_at between now() - interval '7 days' and now() + interval '10 minutes', 'p_request_id',
        'a UUIDv7 made at most 7 days ago'
      ),
      llm_private.check_usage(p_attempt between 1 and 1000, 'p_attempt', '1 to 1000'),
      llm_private.check_usage(
        p_task is null or p_task ~ '^[^[:cntrl:]]{1,64}$', 'p_task', 'null, or 1 to 64 printable characters'
      ),
      llm_private.check_usage(p_provider ~ '^[a-z][a-z0-9_-]{0,31}$', 'p_provider', 'the id of a provider'),
      llm_private.check_usage(p_model ~ '^[!-~]{1,200}$', 'p_model', 'a model name of 1 to 200 characters, no spaces'),
      llm_private.check_usage(
        p_key_source in ('user', 'team', 'operator'), 'p_key_source', 'user, team or operator'
      ),
      llm_private.check_usage(
        p_outcome in ('succeeded', 'failed', 'cancelled'), 'p_outcome', 'succeeded, failed or cancelled'
      ),
      llm_private.check_usage(
        p_outcome = 'failed' and p_error_class in (
          'auth', 'forbidden', 'rate_limited', 'bad_request', 'not_found', 'server_error', 'timeout', 'connection',
          'invalid_response'
        ) or p_outcome <> 'failed' and p_error_class is null,
        'p_error_class',
        'for a failed attempt auth, forbidden, rate_limited, bad_request, not_found, server_error, timeout, connection or '
        'invalid_response; else null'
      ),
      llm_private.check_usage(p_streamed is not null, 'p_streamed', 'true or false'),
      llm_private.check_usage(coalesce(p_latency_ms, 0) >= 0, 'p_latency_ms', 'null, or 0 and more'),
      llm_private.check_usage(
        false, 'A token count',
        'null, or 0 and more; cached tokens are part of the input, reasoning tokens of the output'
      );
  end if;
  -- A team's key is only ever in the hands of a runtime.
  if p_key_source = 'team' and v_runtime is null then
    perform llm_private.fail(
      403, 'runtime_required', 'Only a registered runtime can have used a team''s key.',
      'Send the runtime''s secret in x-llm-runtime.'
    );
  end if;

  insert into public.llm_usage_events (
    user_id, request_id, attempt, recorder, task, provider, model, key_source, key_id, outcome, error_class, streamed,
    latency_ms, input_tokens, cached_input_tokens, output_tokens, reasoning_tokens
  )
  values (
    v_user, p_request_id, p_attempt, v_recorder, p_task, p_provider, p_model, p_key_source, p_key_id,
    p_outcome, p_error_class, p_streamed,
    p_latency_ms, p_input_tokens, p_cached_input_tokens, p_output_tokens, p_reasoning_tokens
  )
  on conflict do nothing;
  if not found then
    return false;
  end if;

  -- Whichever row of the group is free takes it; another is made when none is.
  update public.llm_usage_totals as t
  set
    requests = t.requests + (p_attempt = 1)::integer,
    attempts = t.attempts + 1,
    failures = t.failures + (p_outcome = 'failed')::integer,
    input_tokens = t.input_tokens + coalesce(p_input_tokens, 0),
    cached_input_tokens = t.cached_input_tokens + coalesce(p_cached_input_tokens, 0),
    output_tokens = t.output_tokens + coalesce(p_output_tokens, 0),
    reasoning_tokens = t.reasoning_tokens + coalesce(p_reasoning_tokens, 0),
    last_used_at = greatest(t.last_used_at, v_requested_at)
  where
    t.user_id = v_user and t.id = (
      select u.id
      from public.llm_usage_totals as u
      where
        u.user_id = v_user and u.day = (v_requested_at at time zone 'UTC')::date and u.provider = p_provider
        and u.model = p_model and u.task is not distinct from p_task and u.key_source = p_key_source
        and u.key_id is not distinct from p_key_id and u.recorder = v_recorder
      limit 1
      for update skip locked
    );
  if not found then
    insert into public.llm_usage_totals (
      user_id, day, provider, model, task, key_source, key_id, recorder, requests, attempts, failures,
      input_tokens, cached_input_tokens, output_tokens, reasoning_tokens, last_used_at
    )
    values (
      v_user, (v_requested_at at time zone 'UTC')::date, p_provider, p_model, p_task, p_key_source, p_key_id, v_recorder,
      (p_attempt = 1)::integer, 1, (p_outcome = 'failed')::integer,
      coalesce(p_input_tokens, 0), coalesce(p_cached_input_tokens, 0),
      coalesce(p_output_tokens, 0), coalesce(p_reasoning_tokens, 0), v_requested_at
    );
  end if;

  if p_key_source = 'user' then
    perform llm_private.note_key_outcome(v_user, p_key_id, p_outcome, p_error_class, p_retry_after);
  end if;
  return true;
end
$$;

comment on function llm_private.record_usage(
  uuid, integer, text, text, text, text, uuid, text, text, boolean, integer, integer, integer, integer, integer,
  double precision
) is 'Record one attempt of the caller''s; false when it is on record already. Errors: see record_llm_usage().';

revoke execute on function llm_private.check_usage(boolean, text, text) from public, anon, authenticated, service_role;
revoke execute on function llm_private.record_usage(
  uuid, integer, text, text, text, text, uuid, text, text, boolean, integer, integer, integer, integer, integer,
  double precision
) from public, anon, authenticated, service_role;
grant execute on function llm_private.record_usage(
  uuid, integer, text, text, text, text, uuid, text, text, boolean, integer, integer, integer, integer, integer,
  double precision
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
  p_retry_after double precision default null
)
returns boolean
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  return llm_private.record_usage(
    p_request_id, p_attempt, p_task, p_provider, p_model, p_key_source, p_key_id, p_outcome, p_error_class, p_streamed,
    p_latency_ms, p_input_tokens, p_cached_input_tokens, p_output_tokens, p_reasoning_tokens, p_retry_after
  );
end
$$;

comment on function public.record_llm_usage(
  uuid, integer, text, text, text, text, text, uuid, text, boolean, integer, integer, integer, integer, integer,
  double precision
) is
'Record one attempt of a request: who answered, whose key paid, tokens, latency in milliseconds, outcome. Idempotent on
(request id, attempt): true when recorded, false when it was on record already. The outcome updates the status of the
user''s own key; p_retry_after: seconds that the provider asked to wait.
Errors: not_signed_in, runtime_unknown, runtime_required, invalid_argument.';

create function public.get_llm_usage(p_since date default null, p_until date default null)
returns table (
  day date,
  provider text,
  model text,
  task text,
  key_source text,
  requests bigint,
  attempts bigint,
  failures bigint,
  input_tokens bigint,
  cached_input_tokens bigint,
  output_tokens bigint,
  reasoning_tokens bigint,
  last_used_at timestamptz
)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select
    t.day, t.provider, t.model, t.task, t.key_source,
    sum(t.requests)::bigint, sum(t.attempts)::bigint, sum(t.failures)::bigint,
    sum(t.input_tokens)::bigint, sum(t.cached_input_tokens)::bigint,
    sum(t.output_tokens)::bigint, sum(t.reasoning_tokens)::bigint,
    max(t.last_used_at)
  from public.llm_usage_totals as t
  where
    t.user_id = (select auth.uid())
    and t.day >= coalesce(p_since, (now() at time zone 'UTC')::date - 30)
    and t.day <= coalesce(p_until, 'infinity'::date)
  group by t.day, t.provider, t.model, t.task, t.key_source
  order by t.day desc, t.provider, t.model, t.task, t.key_source
$$;

comment on function public.get_llm_usage(date, date) is
'The caller''s usage by day (UTC), provider, model, task and key source; from 30 days ago unless p_since says else.';

revoke execute on function public.record_llm_usage(
  uuid, integer, text, text, text, text, text, uuid, text, boolean, integer, integer, integer, integer, integer,
  double precision
) from public, anon, authenticated, service_role;
revoke execute on function public.get_llm_usage(date, date) from public, anon, authenticated, service_role;
grant execute on function public.record_llm_usage(
  uuid, integer, text, text, text, text, text, uuid, text, boolean, integer, integer, integer, integer, integer,
  double precision
) to authenticated;
grant execute on function public.get_llm_usage(date, date) to authenticated;
