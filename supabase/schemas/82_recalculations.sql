-- Recalculations: recorded costs are computed again after a price was corrected or added.
--
-- Events never change. A recalculation appends the difference beside the event and updates the totals in the same
-- transaction. Each transaction processes one batch, so that a recalculation can stop at any time and continue later.
-- Running it again changes nothing.

create table llm_private.recalculations (
  id bigint generated always as identity primary key,
  from_at timestamptz not null,
  until_at timestamptz not null,
  last_price bigint not null,
  position_user uuid not null default '00000000-0000-0000-0000-000000000000',
  position_request uuid not null default '00000000-0000-0000-0000-000000000000',
  position_attempt smallint not null default 0,
  position_recorder uuid not null default '00000000-0000-0000-0000-000000000000',
  expected bigint not null,
  events bigint not null default 0,
  changed bigint not null default 0,
  newly_priced bigint not null default 0,
  cost_before numeric not null default 0,
  cost_after numeric not null default 0,
  started_at timestamptz not null default now(),
  finished_at timestamptz
);

comment on table llm_private.recalculations is 'A recalculation: its range, its progress, and what it changed.';
comment on column llm_private.recalculations.last_price is
'The newest price at its start. After a newer price, an unfinished recalculation is not continued.';
comment on column llm_private.recalculations.position_user is
'With the other three columns: the last processed event. Events are processed by user, then by time.';
comment on column llm_private.recalculations.expected is 'Approximate number of events, from the totals.';

alter table llm_private.recalculations enable row level security;

-- Private helpers -----------------------------------------------------------------------------------------------------

create function llm_private.begin_recalculation(p_from timestamptz, p_until timestamptz)
returns llm_private.recalculations
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_from constant timestamptz := coalesce(p_from, '-infinity');
  v_until constant timestamptz := coalesce(p_until, 'infinity');
  v_last_price constant bigint := coalesce((select max(p.id) from public.llm_prices as p), 0);
  v_job llm_private.recalculations;
begin
  perform llm_private.check_value('invalid_argument', v_from < v_until, 'p_until', 'a time after p_from, or null for
now');   select * into v_job from llm_private.recalculations as r
  where r.finished_at is null and r.from_at = v_from and r.until_at = v_until and r.last_price = v_last_price
  order by r.id desc limit 1;
  if not found then
    insert into llm_private.recalculations (from_at, until_at, last_price, expected)
    select v_from, v_until, v_last_price, coalesce(sum((s.measures).attempts), 0)
    from llm_private.sum_usage('project', null, v_from, v_until, null, 'UTC', '{}') as s
    returning * into v_job;
    perform llm_private.audit_operator(
      'recalculation_started', p_detail => jsonb_build_object('recalculation', llm_private.recalculation_json(v_job))
    );
  end if;
  return v_job;
end
$$;

comment on function llm_private.begin_recalculation is
'A new recalculation, or an unfinished one with the same range and prices. Error invalid_argument.';

create function llm_private.recalculate_event(p_event llm_private.adjusted_events, p_job bigint)
returns numeric
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_reported constant boolean := p_event.input_tokens is not null or p_event.output_tokens is not null;
  v_price bigint;
  v_list_price bigint;
  v_list_cost numeric;
  v record;
begin
  -- The model of an event with the common name is unknown.
  if p_event.outcome = 'failed' and not v_reported or p_event.model = '(other)' then
    return p_event.cost;
  end if;
  perform llm_private.remember_price_names(p_event.provider, array[lower(p_event.model)]);
  v_price := llm_private.find_price(
    p_event.user_id, p_event.provider, p_event.model, p_event.key_source, p_event.service_tier,
    llm_private.uuid_v7_time(p_event.request_id)
  );
  -- An event that had a price keeps it, even if the price no longer exists.
  if v_price is null or not v_reported and p_event.cost_status = 'unreported' then
    return p_event.cost;
  end if;
  select c.cost, c.cache_savings into v
  from llm_private.cost_of(
    v_price, p_event.input_tokens, p_event.cached_input_tokens, p_event.cache_write_tokens, p_event.output_tokens,
    p_event.reasoning_tokens, p_event.other_tokens
  ) as c
  where v_reported;
  v_list_price := llm_private.list_price(
    v_price, p_event.provider, p_event.model, p_event.key_source, p_event.service_tier,
    llm_private.uuid_v7_time(p_event.request_id)
  );
  v_list_cost := v.cost;
  if v_list_price is distinct from v_price and v_reported then
    v_list_cost := coalesce(
      (
        llm_private.cost_of(
          v_list_price, p_event.input_tokens, p_event.cached_input_tokens, p_event.cache_write_tokens,
          p_event.output_tokens, p_event.reasoning_tokens, p_event.other_tokens
        )
      ).cost, p_event.list_cost
    );
  end if;
  if v.cost is distinct from p_event.cost or coalesce(v.cache_savings, 0) <> p_event.cache_savings
    or v_list_cost is distinct from p_event.list_cost
    or p_event.cost_status = 'unpriced' then
    insert into public.llm_usage_adjustments (
      user_id, request_id, attempt, recorder, recalculation_id, cost, cache_savings, list_cost, price_id
    )
    values (
      p_event.user_id, p_event.request_id, p_event.attempt, p_event.recorder, p_job,
      v.cost - coalesce(p_event.cost, 0), nullif(coalesce(v.cache_savings, 0) - p_event.cache_savings, 0),
      v_list_cost - coalesce(p_event.list_cost, 0), v_price
    );
  end if;
  return v.cost;
end
$$;

comment on function llm_private.recalculate_event is
'Append the difference between an event''s cost and its cost at the current price, if there is one. Returns the new
cost.';

create function llm_private.adjust_totals(p_job llm_private.recalculations)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_measures llm_private.usage_measures;
  v record;
begin
  select m.* into strict v_measures from llm_private.usage_measures as m;
  for v in
    select
      e.user_id, date_trunc('hour', llm_private.uuid_v7_time(e.request_id), 'UTC') as hour,
      e.provider, e.model, e.task, e.key_source, e.key_id, e.recorder, e.team_id,
      coalesce(sum(a.cost), 0) as cost, coalesce(sum(a.cache_savings), 0) as cache_savings,
      coalesce(sum(a.list_cost), 0) as list_cost,
      count(*) filter (where n.newly_priced) as newly_priced,
      count(*) filter (where n.newly_priced and a.cost is null) as unreported
    from public.llm_usage_adjustments as a
    inner join public.llm_usage_events as e using (user_id, request_id, attempt, recorder)
    cross join lateral (
      select
        e.cost is null and e.price_id is null and not exists (
          select from public.llm_usage_adjustments as b
          where
            b.user_id = a.user_id and b.request_id = a.request_id and b.attempt = a.attempt
            and b.recorder = a.recorder and b.recalculation_id < a.recalculation_id
        ) as newly_priced
    ) as n
    where
      a.recalculation_id = p_job.id
      and (a.user_id, a.request_id, a.attempt, a.recorder)
      > (p_job.position_user, p_job.position_request, p_job.position_attempt, p_job.position_recorder)
    group by 1, 2, 3, 4, 5, 6, 7, 8, 9
    order by 2
  loop
    v_measures.cost := v.cost;
    v_measures.cache_savings := v.cache_savings;
    v_measures.list_cost := v.list_cost;
    v_measures.unpriced := -v.newly_priced;
    v_measures.unreported := v.unreported;
    perform llm_private.add_to_totals(
      v.user_id, v.hour, v.provider, v.model, v.task, v.key_source, v.key_id, v.recorder, v.team_id, '{}', v.hour,
      v_measures
    );
  end loop;
end
$$;

comment on function llm_private.adjust_totals is
'Add the adjustments beyond the position of a recalculation to the totals.';

create function llm_private.recalculation_json(p_job llm_private.recalculations)
returns jsonb
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object(
    'id', p_job.id,
    'from', nullif(p_job.from_at, '-infinity'),
    'until', nullif(p_job.until_at, 'infinity'),
    'expected', p_job.expected,
    'events', p_job.events,
    'changed', p_job.changed,
    'newly_priced', p_job.newly_priced,
    'cost_before', p_job.cost_before,
    'cost_after', p_job.cost_after,
    'started_at', p_job.started_at,
    'done', p_job.finished_at is not null
  )
$$;

comment on function llm_private.recalculation_json is 'A recalculation as recalculate_llm_costs() returns it.';

create function llm_private.recalculate_costs(
  p_from timestamptz, p_until timestamptz, p_recalculation bigint, p_batch integer
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_before llm_private.recalculations;
  v_job llm_private.recalculations;
  v_event llm_private.adjusted_events;
  v_cost numeric;
  v_seen integer := 0;
begin
  perform llm_private.require_plain_call('recalculate_llm_costs');
  perform llm_private.check_value('invalid_argument', p_batch between 1 and 10000, 'p_batch', '1 to 10000');
  -- Only one at a time, because two would append the same difference.
  perform pg_advisory_xact_lock(hashtext('llm_private.recalculate_costs'));
  if p_recalculation is null then
    v_job := llm_private.begin_recalculation(p_from, p_until);
  else
    select * into v_job from llm_private.recalculations where id = p_recalculation;
    if not found then
      perform llm_private.fail(
        404, 'not_found', 'Recalculation not found.', 'Start a new one: omit p_recalculation.'
      );
    end if;
  end if;
  v_before := v_job;

  for v_event in
    select * from llm_private.adjusted_events as e
    where
      e.request_id >= llm_private.first_uuid_v7(greatest(v_job.from_at, 'epoch'))
      and e.request_id < llm_private.first_uuid_v7(least(v_job.until_at, v_job.started_at + interval '10 minutes'))
      and (e.user_id, e.request_id, e.attempt, e.recorder)
      > (v_job.position_user, v_job.position_request, v_job.position_attempt, v_job.position_recorder)
      and v_job.finished_at is null
    order by e.user_id, e.request_id, e.attempt, e.recorder
    limit p_batch
  loop
    v_cost := llm_private.recalculate_event(v_event, v_job.id);
    v_seen := v_seen + 1;
    v_job.changed := v_job.changed
      + (v_cost is distinct from v_event.cost)::integer;
    v_job.newly_priced := v_job.newly_priced + (v_event.cost_status = 'unpriced' and v_cost is not null)::integer;
    v_job.cost_before := v_job.cost_before + coalesce(v_event.cost, 0);
    v_job.cost_after := v_job.cost_after + coalesce(v_cost, 0);
  end loop;
  if v_seen > 0 then
    perform llm_private.adjust_totals(v_before);
    v_job.position_user := v_event.user_id;
    v_job.position_request := v_event.request_id;
    v_job.position_attempt := v_event.attempt;
    v_job.position_recorder := v_event.recorder;
  end if;
  update llm_private.recalculations
  set
    position_user = v_job.position_user,
    position_request = v_job.position_request,
    position_attempt = v_job.position_attempt,
    position_recorder = v_job.position_recorder,
    events = v_job.events + v_seen,
    changed = v_job.changed,
    newly_priced = v_job.newly_priced,
    cost_before = v_job.cost_before,
    cost_after = v_job.cost_after,
    finished_at = case when v_seen < p_batch then coalesce(v_job.finished_at, now()) end
  where id = v_job.id
  returning * into v_job;
  if v_before.finished_at is null and v_job.finished_at is not null then
    perform llm_private.audit_operator(
      'recalculation_finished', p_detail => jsonb_build_object('recalculation', llm_private.recalculation_json(v_job))
    );
  end if;
  return llm_private.recalculation_json(v_job);
end
$$;

comment on function llm_private.recalculate_costs is
'One batch of a recalculation. Errors: see recalculate_llm_costs().';

-- Public RPCs ---------------------------------------------------------------------------------------------------------

create function public.recalculate_llm_costs(
  p_from timestamptz default null,
  p_until timestamptz default null,
  p_recalculation bigint default null,
  p_batch integer default 2000
)
returns jsonb
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select llm_private.recalculate_costs(p_from, p_until, p_recalculation, p_batch)
$$;

comment on function public.recalculate_llm_costs is
'For administrators: recalculate recorded costs at the current prices for the time of each request, from p_from to
before p_until (null is unlimited). Each call processes p_batch events. Call it again with p_recalculation, the returned
id, until done. A call with the same range continues an unfinished recalculation if no price was added since.
Differences are appended to llm_usage_adjustments and added to the totals; an event that had a price never loses it.
Returns id, from, until, expected, events (processed), changed, newly_priced, cost_before, cost_after (US dollars, of
the processed events), started_at and done. Errors: invalid_argument, not_found.';
