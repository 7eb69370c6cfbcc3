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

alter table public.llm_usage_events enable row level security;
alter table llm_private.llm_usage_events_default enable row level security;
alter table public.llm_usage_totals enable row level security;

create policy "users read their own usage events" on public.llm_usage_events
for select to authenticated using (user_id = (select auth.uid()));
create policy "users read their own usage totals" on public.llm_usage_totals
for select to authenticated using (user_id = (select auth.uid()));

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
'Which of 40 buckets a latency falls into: bucket b holds those from 2^((b-1)/2) to below 2^(b/2) milliseconds;
null where it was not measured.';
