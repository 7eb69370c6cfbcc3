-- Reservations: how quotas are kept while many requests run at once.
--
--   reserve   with the route (or before the next candidate is tried), for what the attempt may use at most
--   run       no lock is held meanwhile
--   settle    with the attempt's usage: what was used is counted, the rest is free again
--
-- Of each quota, owner and period there is one counter: what was used, and what is reserved. Whoever reserves locks it
-- for a moment. A request that never comes back leaves a reservation that is over when it expires. A period that a
-- counter was opened for stays as it is, so that a user who changes their time zone gains nothing.

create table llm_private.quota_counters (
  owner uuid not null,
  quota_id bigint not null references llm_private.quotas (id) on delete cascade,
  starts_at timestamptz not null,
  ends_at timestamptz not null,
  used numeric not null,
  reserved numeric not null default 0,
  primary key (owner, quota_id, starts_at)
) with (fillfactor = 50);

create index quota_counters_quota on llm_private.quota_counters (quota_id);

comment on table llm_private.quota_counters is
'What was used of a quota in one of its periods, and what is reserved; owned by a user, or by operator_id() if shared.';

create table llm_private.reservations (
  user_id uuid not null,
  request_id uuid not null,
  attempt smallint not null,
  holder uuid not null,
  quota_id bigint not null references llm_private.quotas (id) on delete cascade,
  owner uuid not null,
  starts_at timestamptz not null,
  amount numeric not null,
  expires_at timestamptz not null,
  primary key (user_id, request_id, attempt, holder, quota_id)
);

create index reservations_counter on llm_private.reservations (quota_id, owner, starts_at, expires_at);

comment on table llm_private.reservations is
'What a running attempt may still use of a quota. Settled with its usage, or else over by itself when it expires.';
comment on column llm_private.reservations.holder is
'The runtime that reserved it, or the user who did themselves: nobody else settles or releases it.';
comment on column llm_private.reservations.starts_at is 'With quota and owner: the counter that it is reserved in.';

revoke all on table llm_private.quota_counters from public, anon, authenticated, service_role;
revoke all on table llm_private.reservations from public, anon, authenticated, service_role;
alter table llm_private.quota_counters enable row level security;
alter table llm_private.reservations enable row level security;

-- Private helpers -----------------------------------------------------------------------------------------------------

create function llm_private.quota_window(
  p_period text, p_zone text, p_at timestamptz, out starts_at timestamptz, out ends_at timestamptz
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_length constant interval := case when p_period <> 'total' then ('1 ' || p_period)::interval end;
  v_local timestamp;
begin
  if p_period = 'total' then
    starts_at := '-infinity';
    ends_at := 'infinity';
    return;
  end if;
  v_local := date_trunc(p_period, p_at at time zone p_zone);
  starts_at := v_local at time zone p_zone;
  -- Where clocks go back over midnight there are two midnights, and the day begins with the second.
  if starts_at > p_at then
    v_local := v_local - v_length;
    starts_at := v_local at time zone p_zone;
  end if;
  ends_at := (v_local + v_length) at time zone p_zone;
end
$$;

comment on function llm_private.quota_window(text, text, timestamptz) is
'From when until when the period lasts that this moment is in, by the clocks of a time zone.';

create function llm_private.used_before(p_quota llm_private.quotas, p_user uuid, p_from timestamptz)
returns numeric
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  -- Totals are by the hour; what begins within one is summed from the events.
  v_by_hour constant boolean := p_from = '-infinity' or p_from = date_trunc('hour', p_from, 'UTC');
begin
  return (
    select coalesce(sum(case p_quota.unit when 'requests' then u.requests when 'tokens' then u.tokens else u.cost end), 0)
    from (
      select
        t.user_id, t.recorder, t.key_source, t.provider, t.task, t.attempts - t.failures as requests,
        t.input_tokens + t.output_tokens as tokens, t.cost
      from public.llm_usage_totals as t
      where v_by_hour and t.hour >= p_from and (p_quota.shared or t.user_id = p_user)
      union all
      select
        e.user_id, e.recorder, e.key_source, e.provider, e.task, (e.outcome <> 'failed')::integer,
        coalesce(e.input_tokens, 0)::bigint + coalesce(e.output_tokens, 0), coalesce(e.cost, 0)
      from public.llm_usage_events as e
      where
        not v_by_hour and e.request_id >= llm_private.first_uuid_v7(greatest(p_from, 'epoch'))
        and (p_quota.shared or e.user_id = p_user)
    ) as u
    where
      (p_quota.key_source is null or u.key_source = p_quota.key_source)
      and (p_quota.provider is null or u.provider = p_quota.provider)
      and (p_quota.task is null or u.task = p_quota.task)
      -- What users say of themselves cannot use up what is everybody's.
      and (not p_quota.shared or u.recorder <> u.user_id)
      and (
        not p_quota.shared or p_quota.group_name is null
        or u.user_id in (select g.user_id from llm_private.user_groups as g where g.group_name = p_quota.group_name)
      )
  );
end
$$;

comment on function llm_private.used_before(llm_private.quotas, uuid, timestamptz) is
'What the ledger says was used since a moment, for a quota that is set in the middle of a period.';

create function llm_private.lock_counter(
  p_quota llm_private.quotas,
  p_user uuid,
  p_at timestamptz,
  out counter llm_private.quota_counters,
  out summed boolean
)
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_owner constant uuid := case when p_quota.shared then llm_private.operator_id() else p_user end;
  v_zone text := 'UTC';
  v_previous timestamptz;
  v_starts_at timestamptz;
  v_ends_at timestamptz;
begin
  summed := false;
  if p_quota.clock = 'user' then
    v_zone := coalesce((select s.time_zone from public.user_llm_settings as s where s.user_id = p_user), 'UTC');
  end if;
  loop
    select c.* into counter from llm_private.quota_counters as c
    where c.owner = v_owner and c.quota_id = p_quota.id and c.starts_at <= p_at and c.ends_at > p_at
    for update;
    if found then
      return;
    end if;
    select max(c.ends_at) into v_previous from llm_private.quota_counters as c
    where c.owner = v_owner and c.quota_id = p_quota.id;
    -- A moment before the counters there are belongs to a period that nobody counted.
    if v_previous > p_at then
      counter := null;
      return;
    end if;
    select w.starts_at, w.ends_at into v_starts_at, v_ends_at
    from llm_private.quota_window(p_quota.period, v_zone, p_at) as w;
    -- After a change of the time zone the next period begins where the last one ended, and is not shorter than others.
    if v_previous > v_starts_at then
      v_starts_at := v_previous;
      select case when w.starts_at = l.earliest then w.starts_at else w.ends_at end into v_ends_at
      from (values (v_previous + ('1 ' || p_quota.period)::interval)) as l (earliest)
      cross join lateral llm_private.quota_window(p_quota.period, v_zone, l.earliest) as w;
    end if;
    -- What was used before the quota was set counts as well; what came later went through a counter.
    summed := v_starts_at < p_quota.created_at;
    insert into llm_private.quota_counters (owner, quota_id, starts_at, ends_at, used)
    values (
      v_owner, p_quota.id, v_starts_at, v_ends_at,
      case when summed then llm_private.used_before(p_quota, p_user, v_starts_at) else 0 end
    )
    on conflict (owner, quota_id, starts_at) do nothing;
    summed := summed and found;
  end loop;
end
$$;

comment on function llm_private.lock_counter(llm_private.quotas, uuid, timestamptz) is
'The counter of a quota at a moment, locked, and opened where there is none; null for a period before the first counter.
summed: it was opened just now with what the ledger holds, the present transaction''s own usage included.';

create function llm_private.expired_amount(p_counter llm_private.quota_counters)
returns numeric
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select coalesce(sum(r.amount), 0) from llm_private.reservations as r
    where
      r.quota_id = p_counter.quota_id and r.owner = p_counter.owner and r.starts_at = p_counter.starts_at
      and r.expires_at <= now()
  );
end
$$;

comment on function llm_private.expired_amount(llm_private.quota_counters) is
'What is still reserved in a counter by requests that never came back.';

create function llm_private.quota_status(p_quota llm_private.quotas, p_user uuid)
returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_counter llm_private.quota_counters;
begin
  v_counter := (llm_private.lock_counter(p_quota, p_user, now())).counter;
  return llm_private.quota_json(p_quota) || jsonb_build_object(
    'used', v_counter.used,
    'reserved', v_counter.reserved - llm_private.expired_amount(v_counter),
    'starts_at', case when p_quota.period <> 'total' then v_counter.starts_at end,
    'resets_at', case when p_quota.period <> 'total' then v_counter.ends_at end
  );
end
$$;

comment on function llm_private.quota_status(llm_private.quotas, uuid) is
'A quota with what was used and what is reserved in its present period.';

create function llm_private.quota_amount(p_quota llm_private.quotas, p_amount numeric)
returns text
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select case
    when p_quota.unit = 'cost' then '$' || trim_scale(round(p_amount, 6))
    when p_amount = 1 then '1 ' || rtrim(p_quota.unit, 's')
    else trim_scale(p_amount) || ' ' || p_quota.unit
  end
$$;

comment on function llm_private.quota_amount(llm_private.quotas, numeric) is
'An amount in the unit of a quota, for people.';

create function llm_private.quota_refusal(
  p_quota llm_private.quotas, p_reason text, p_used numeric, p_reserved numeric, p_resets_at timestamptz
)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_of constant text := concat_ws(
    ', ',
    case p_quota.key_source
      when 'user' then 'your own keys' when 'team' then 'team keys' when 'operator' then 'the operator''s keys'
    end,
    p_quota.provider, 'task ' || p_quota.task
  );
  v_name constant text := format(
    '%s quota of %s %s%s', case p_quota.set_by when 'user' then 'Your own' else 'The operator''s' end,
    llm_private.quota_amount(p_quota, p_quota.amount),
    case p_quota.period when 'total' then 'in total' else 'a ' || p_quota.period end,
    case when v_of <> '' then ' (' || v_of || ')' else '' end
  );
begin
  return jsonb_build_object(
    'reason', p_reason,
    'message', case p_reason
      when 'model_unpriced' then v_name || ' does not allow a model that no price is known for.'
      when 'runtime_required' then v_name || ' lets only a registered runtime use these keys.'
      else v_name || ' does not leave enough'
        || case
          when p_quota.shared then ''
          else format(
            ': %s used, %s reserved', llm_private.quota_amount(p_quota, p_used),
            llm_private.quota_amount(p_quota, p_reserved)
          )
        end
        || case
          when isfinite(p_resets_at) then format(
            '; it resets at %s UTC', to_char(p_resets_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI')
          )
          else ''
        end || '.'
    end,
    'quota', jsonb_build_object(
      'id', p_quota.id, 'set_by', p_quota.set_by, 'unit', p_quota.unit, 'period', p_quota.period,
      'limit', p_quota.amount,
      'used', case when not p_quota.shared then p_used end,
      'reserved', case when not p_quota.shared then p_reserved end,
      'resets_at', case when isfinite(p_resets_at) then p_resets_at end
    )
  );
end
$$;

comment on function llm_private.quota_refusal(llm_private.quotas, text, numeric, numeric, timestamptz) is
'Why a quota refuses an attempt: reason, a sentence, and the quota in figures, which shared ones keep to the operator.';

create function llm_private.sweep_reservations(p_counter llm_private.quota_counters)
returns numeric
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_reserved numeric;
begin
  -- Whoever is settling one of them right now holds its lock, waits for our counter and will free it themselves.
  with expired as (
    select r.user_id, r.request_id, r.attempt, r.holder, r.quota_id from llm_private.reservations as r
    where
      r.quota_id = p_counter.quota_id and r.owner = p_counter.owner and r.starts_at = p_counter.starts_at
      and r.expires_at <= now()
    for update skip locked
  ),

  gone as (
    delete from llm_private.reservations as r using expired as e
    where
      r.user_id = e.user_id and r.request_id = e.request_id and r.attempt = e.attempt and r.holder = e.holder
      and r.quota_id = e.quota_id
    returning r.amount
  )

  update llm_private.quota_counters as c
  set reserved = c.reserved - coalesce((select sum(g.amount) from gone as g), 0)
  where c.owner = p_counter.owner and c.quota_id = p_counter.quota_id and c.starts_at = p_counter.starts_at
  returning c.reserved into v_reserved;
  return v_reserved;
end
$$;

comment on function llm_private.sweep_reservations(llm_private.quota_counters) is
'Free what expired reservations hold in a locked counter; returns what is still reserved.';

create function llm_private.release(p_user uuid, p_holder uuid, p_request_id uuid, p_attempt integer)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_held record;
begin
  for v_held in
    with gone as (
      delete from llm_private.reservations as r
      where
        r.user_id = p_user and r.request_id = p_request_id and r.holder = p_holder
        and (p_attempt is null or r.attempt = p_attempt)
      returning r.quota_id, r.owner, r.starts_at, r.amount
    )

    select g.quota_id, g.owner, g.starts_at, sum(g.amount) as amount from gone as g
    group by g.quota_id, g.owner, g.starts_at
    order by g.quota_id
  loop
    update llm_private.quota_counters as c
    set reserved = c.reserved - v_held.amount
    where c.owner = v_held.owner and c.quota_id = v_held.quota_id and c.starts_at = v_held.starts_at;
  end loop;
end
$$;

comment on function llm_private.release(uuid, uuid, uuid, integer) is
'Free what this holder reserved for an attempt, or for all attempts of a request.';

create function llm_private.exhausted_quota(
  p_user uuid, p_runtime uuid, p_task text, p_provider text, p_model text, p_key_source text
)
returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_quota llm_private.quotas;
  v_counter llm_private.quota_counters;
  v_reserved numeric;
begin
  for v_quota in
    select q.* from llm_private.matching_quotas(p_user, p_task, p_provider, p_key_source) as q where q.hard
  loop
    if v_quota.set_by = 'operator' and p_key_source = 'operator' and p_runtime is null then
      return llm_private.quota_refusal(v_quota, 'runtime_required', null, null, null);
    end if;
    if v_quota.unit = 'cost' and v_quota.unpriced = 'refuse'
      and llm_private.find_price(p_user, p_provider, p_model, p_key_source, null, now()) is null then
      return llm_private.quota_refusal(v_quota, 'model_unpriced', null, null, null);
    end if;
    v_counter := (llm_private.lock_counter(v_quota, p_user, now())).counter;
    v_reserved := v_counter.reserved - llm_private.expired_amount(v_counter);
    if v_counter.used + v_reserved >= v_quota.amount then
      return llm_private.quota_refusal(v_quota, 'quota_exceeded', v_counter.used, v_reserved, v_counter.ends_at);
    end if;
  end loop;
  return null;
end
$$;

comment on function llm_private.exhausted_quota(uuid, uuid, text, text, text, text) is
'The refusal by a quota that has nothing left for such an attempt; null where each has something.';

create function llm_private.reserve(
  p_user uuid,
  p_runtime uuid,
  p_request_id uuid,
  p_attempt integer,
  p_task text,
  p_provider text,
  p_model text,
  p_key_source text,
  p_input_tokens integer,
  p_output_tokens integer
)
returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_holder constant uuid := coalesce(p_runtime, p_user);
  v_expires_at timestamptz;
  v_quota llm_private.quotas;
  v_counter llm_private.quota_counters;
  v_price bigint;
  v_amount numeric;
  v_quotas bigint[] := '{}';
  v_owners uuid[] := '{}';
  v_starts timestamptz[] := '{}';
  v_amounts numeric[] := '{}';
begin
  -- The same attempt again: its first reservation was for a candidate that could not be tried, or its answer was lost.
  -- All counters are locked before the old ones are changed, in the one order.
  perform from llm_private.reservations as r
  where r.user_id = p_user and r.request_id = p_request_id and r.attempt = p_attempt and r.holder = v_holder;
  if found then
    perform from llm_private.quota_counters as c
    where c.quota_id in (
      select r.quota_id from llm_private.reservations as r
      where r.user_id = p_user and r.request_id = p_request_id and r.attempt = p_attempt and r.holder = v_holder
      union all
      select m.id from llm_private.matching_quotas(p_user, p_task, p_provider, p_key_source) as m
    ) and c.owner in (p_user, llm_private.operator_id())
    order by c.quota_id, c.starts_at
    for update;
    perform llm_private.release(p_user, v_holder, p_request_id, p_attempt);
  end if;
  -- First all of them are asked, in one order for everybody, then all are written.
  for v_quota in select q.* from llm_private.matching_quotas(p_user, p_task, p_provider, p_key_source) as q loop
    if v_quota.hard and v_quota.set_by = 'operator' and p_key_source = 'operator' and p_runtime is null then
      return llm_private.quota_refusal(v_quota, 'runtime_required', null, null, null);
    end if;
    -- What users reserve by themselves cannot use up what is everybody's.
    continue when v_quota.shared and p_runtime is null;
    v_amount := case v_quota.unit
      when 'requests' then 1
      when 'tokens' then p_input_tokens::bigint + p_output_tokens
      else 0
    end;
    if v_quota.unit = 'cost' then
      v_price := coalesce(
        v_price, llm_private.find_price(p_user, p_provider, p_model, p_key_source, null, now())
      );
      if v_price is not null then
        v_amount := (
          select c.cost
          from llm_private.cost_of(v_price, p_input_tokens, 0, 0, p_output_tokens, 0, null) as c
        );
      elsif v_quota.hard and v_quota.unpriced = 'refuse' then
        return llm_private.quota_refusal(v_quota, 'model_unpriced', null, null, null);
      end if;
    end if;
    v_counter := (llm_private.lock_counter(v_quota, p_user, now())).counter;
    if v_quota.hard and v_counter.used + v_counter.reserved + v_amount > v_quota.amount then
      v_counter.reserved := llm_private.sweep_reservations(v_counter);
      if v_counter.used + v_counter.reserved + v_amount > v_quota.amount then
        return llm_private.quota_refusal(
          v_quota, 'quota_exceeded', v_counter.used, v_counter.reserved, v_counter.ends_at
        );
      end if;
    end if;
    v_quotas := v_quotas || v_quota.id;
    v_owners := v_owners || v_counter.owner;
    v_starts := v_starts || v_counter.starts_at;
    v_amounts := v_amounts || v_amount;
  end loop;

  v_expires_at := now() + make_interval(secs => (select o.reservation_seconds from llm_private.operator_settings as o));
  insert into llm_private.reservations (
    user_id, request_id, attempt, holder, quota_id, owner, starts_at, amount, expires_at
  )
  select p_user, p_request_id, p_attempt, v_holder, h.quota_id, h.owner, h.starts_at, h.amount, v_expires_at
  from unnest(v_quotas, v_owners, v_starts, v_amounts) as h (quota_id, owner, starts_at, amount);
  update llm_private.quota_counters as c
  set reserved = c.reserved + h.amount
  from unnest(v_quotas, v_owners, v_starts, v_amounts) as h (quota_id, owner, starts_at, amount)
  where c.owner = h.owner and c.quota_id = h.quota_id and c.starts_at = h.starts_at;
  return null;
end
$$;

comment on function llm_private.reserve(uuid, uuid, uuid, integer, text, text, text, text, integer, integer) is
'Reserve what an attempt may use at most in each quota that counts it; null when done, else why not, and nothing is
reserved then.';

create function llm_private.settle(
  p_user uuid,
  p_runtime uuid,
  p_request_id uuid,
  p_attempt integer,
  p_task text,
  p_provider text,
  p_key_source text,
  p_requested_at timestamptz,
  p_answered boolean,
  p_tokens bigint,
  p_cost numeric,
  p_unmeasured boolean
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_holder constant uuid := coalesce(p_runtime, p_user);
  v_quota record;
  v_counter llm_private.quota_counters;
  v_opened record;
  v_used numeric;
  v_before numeric;
  v_after numeric;
begin
  for v_quota in
    with held as (
      delete from llm_private.reservations as r
      where r.user_id = p_user and r.request_id = p_request_id and r.attempt = p_attempt and r.holder = v_holder
      returning r.quota_id, r.owner, r.starts_at, r.amount
    )

    select q as quota, h.owner, h.starts_at, h.amount
    from llm_private.quotas as q
    left join held as h on q.id = h.quota_id
    where
      q.id in (
        select h.quota_id from held as h
        union all
        select m.id from llm_private.matching_quotas(p_user, p_task, p_provider, p_key_source) as m
        where not m.shared or p_runtime is not null
      )
    order by q.id
  loop
    -- What a provider did not count is held to be what was reserved for it: it may have been that much.
    v_used := case (v_quota.quota).unit
      when 'requests' then p_answered::integer
      when 'tokens' then coalesce(p_tokens, case when p_answered then v_quota.amount end, 0)
      else coalesce(p_cost, case when p_unmeasured then v_quota.amount end, 0)
    end;
    if v_quota.owner is null then
      continue when v_used = 0;
      v_opened := llm_private.lock_counter(v_quota.quota, p_user, least(p_requested_at, now()));
      v_counter := v_opened.counter;
      continue when v_counter.owner is null;
      v_quota.owner := v_counter.owner;
      v_quota.starts_at := v_counter.starts_at;
      -- A counter that was opened just now has found this attempt in the ledger already.
      v_used := case when v_opened.summed then 0 else v_used end;
    end if;
    update llm_private.quota_counters as c
    set used = c.used + v_used, reserved = c.reserved - coalesce(v_quota.amount, 0)
    where c.owner = v_quota.owner and c.quota_id = (v_quota.quota).id and c.starts_at = v_quota.starts_at
    returning c.used - v_used, c.used into v_before, v_after;
    perform llm_private.notice_quota(v_quota.quota, p_user, v_quota.starts_at, v_before, v_after);
  end loop;
end
$$;

comment on function llm_private.settle(
  uuid, uuid, uuid, integer, text, text, text, timestamptz, boolean, bigint, numeric, boolean
) is 'Count what an attempt used in each quota that counts it, and free what was reserved for it.';

create function llm_private.notice_quota(
  p_quota llm_private.quotas, p_user uuid, p_starts_at timestamptz, p_before numeric, p_after numeric
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_step numeric;
begin
  foreach v_step in array '{0.8,1}'::numeric[] loop
    if p_quota.amount > 0 and p_before < p_quota.amount * v_step and p_after >= p_quota.amount * v_step then
      perform llm_private.notify(
        case when p_quota.shared then llm_private.operator_id() else p_user end,
        case v_step when 1 then 'quota_reached' else 'quota_warning' end,
        p_quota.id || ' from ' || coalesce(p_starts_at::text, 'ever'),
        llm_private.quota_json(p_quota) || jsonb_build_object('used', p_after, 'starts_at', p_starts_at)
      );
    end if;
  end loop;
end
$$;

comment on function llm_private.notice_quota(llm_private.quotas, uuid, timestamptz, numeric, numeric) is
'Tell whose quota it is when it passes 80 % and when it is used up, once in each period.';

create function llm_private.refuse(p_refusal jsonb)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  perform llm_private.fail(
    case p_refusal ->> 'reason' when 'quota_exceeded' then 429 when 'runtime_required' then 403 else 422 end,
    p_refusal ->> 'reason', p_refusal ->> 'message',
    case p_refusal ->> 'reason'
      when 'quota_exceeded' then 'Wait until it resets, use less, or have the quota raised: list_llm_quotas() shows it.'
      when 'runtime_required' then 'Send the runtime''s secret in x-llm-runtime.'
      else 'Set a price for the model, or have the quota allow unpriced models.'
    end
  );
end
$$;

comment on function llm_private.refuse(jsonb) is
'Raise what quota_refusal() made. Errors: quota_exceeded, model_unpriced, runtime_required.';

create function llm_private.check_reservation(
  p_request_id uuid, p_attempt integer, p_input_tokens integer, p_output_tokens integer
)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  perform
    llm_private.check_value(
      'invalid_argument',
      substr(p_request_id::text, 15, 1) = '7'
      and llm_private.uuid_v7_time(p_request_id) between now() - interval '1 day' and now() + interval '10 minutes',
      'p_request_id', 'where a quota binds the user, the UUIDv7 that the request got when it began'
    ),
    llm_private.check_value('invalid_argument', p_attempt between 1 and 1000, 'p_attempt', '1 to 1000'),
    llm_private.check_value(
      'invalid_argument', coalesce(p_input_tokens, 0) >= 0 and coalesce(p_output_tokens, 0) >= 0,
      'p_input_tokens or p_output_tokens', 'null, or 0 and more'
    );
end
$$;

comment on function llm_private.check_reservation(uuid, integer, integer, integer) is
'Error invalid_argument for what cannot be reserved.';

create function llm_private.reserve_attempt(
  p_request_id uuid,
  p_attempt integer,
  p_task text,
  p_provider text,
  p_model text,
  p_key_source text,
  p_input_tokens integer,
  p_output_tokens integer
)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_user constant uuid := llm_private.require_user();
  v_runtime constant uuid := llm_private.current_runtime();
  v_refusal jsonb;
begin
  perform llm_private.check_reservation(p_request_id, p_attempt, p_input_tokens, p_output_tokens);
  v_refusal := llm_private.reserve(
    v_user, v_runtime, p_request_id, p_attempt, p_task, p_provider, p_model, p_key_source,
    coalesce(p_input_tokens, 0),
    coalesce(p_output_tokens, (select o.unbounded_output_tokens from llm_private.operator_settings as o))
  );
  if v_refusal is not null then
    perform llm_private.refuse(v_refusal);
  end if;
end
$$;

comment on function llm_private.reserve_attempt(uuid, integer, text, text, text, text, integer, integer) is
'Reserve for the next candidate of a request. Errors: see reserve_llm_attempt().';

create function llm_private.release_request(p_request_id uuid)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_user constant uuid := llm_private.require_user();
begin
  perform llm_private.release(v_user, coalesce(llm_private.current_runtime(), v_user), p_request_id, null);
end
$$;

comment on function llm_private.release_request(uuid) is 'Free what the caller reserved for a request.';

revoke execute on function llm_private.quota_window(text, text, timestamptz)
from public, anon, authenticated, service_role;
revoke execute on function llm_private.used_before(llm_private.quotas, uuid, timestamptz)
from public, anon, authenticated, service_role;
revoke execute on function llm_private.lock_counter(llm_private.quotas, uuid, timestamptz)
from public, anon, authenticated, service_role;
revoke execute on function llm_private.expired_amount(llm_private.quota_counters)
from public, anon, authenticated, service_role;
revoke execute on function llm_private.quota_status(llm_private.quotas, uuid)
from public, anon, authenticated, service_role;
revoke execute on function llm_private.quota_amount(llm_private.quotas, numeric)
from public, anon, authenticated, service_role;
revoke execute on function llm_private.quota_refusal(llm_private.quotas, text, numeric, numeric, timestamptz)
from public, anon, authenticated, service_role;
revoke execute on function llm_private.sweep_reservations(llm_private.quota_counters)
from public, anon, authenticated, service_role;
revoke execute on function llm_private.release(uuid, uuid, uuid, integer)
from public, anon, authenticated, service_role;
revoke execute on function llm_private.exhausted_quota(uuid, uuid, text, text, text, text)
from public, anon, authenticated, service_role;
revoke execute on function llm_private.reserve(uuid, uuid, uuid, integer, text, text, text, text, integer, integer)
from public, anon, authenticated, service_role;
revoke execute on function llm_private.settle(
  uuid, uuid, uuid, integer, text, text, text, timestamptz, boolean, bigint, numeric, boolean
) from public, anon, authenticated, service_role;
revoke execute on function llm_private.notice_quota(llm_private.quotas, uuid, timestamptz, numeric, numeric)
from public, anon, authenticated, service_role;
revoke execute on function llm_private.refuse(jsonb) from public, anon, authenticated, service_role;
revoke execute on function llm_private.check_reservation(uuid, integer, integer, integer)
from public, anon, authenticated, service_role;
revoke execute on function llm_private.reserve_attempt(uuid, integer, text, text, text, text, integer, integer)
from public, anon, authenticated, service_role;
revoke execute on function llm_private.release_request(uuid) from public, anon, authenticated, service_role;
grant execute on function llm_private.reserve_attempt(uuid, integer, text, text, text, text, integer, integer)
to authenticated;
grant execute on function llm_private.release_request(uuid) to authenticated;

-- Public RPCs ---------------------------------------------------------------------------------------------------------

create function public.reserve_llm_attempt(
  p_request_id uuid,
  p_attempt integer,
  p_provider text,
  p_model text,
  p_key_source text,
  p_task text default null,
  p_input_tokens integer default null,
  p_output_tokens integer default null
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  perform llm_private.reserve_attempt(
    p_request_id, p_attempt, p_task, p_provider, p_model, p_key_source, p_input_tokens, p_output_tokens
  );
end
$$;

comment on function public.reserve_llm_attempt(uuid, integer, text, text, text, text, integer, integer) is
'Before the next candidate of a metered route is tried: reserve what it may use at most, in place of what was reserved
for the same attempt before. resolve_llm_route() did it for the first candidate; record_llm_usage() settles it.
Errors: not_signed_in, runtime_unknown, invalid_argument, quota_exceeded, model_unpriced, runtime_required.';

create function public.release_llm_request(p_request_id uuid)
returns void
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select llm_private.release_request(p_request_id)
$$;

comment on function public.release_llm_request(uuid) is
'Free what the caller reserved for a request that was not run after all. Errors: not_signed_in, runtime_unknown.';

revoke execute on function public.reserve_llm_attempt(uuid, integer, text, text, text, text, integer, integer)
from public, anon, authenticated, service_role;
revoke execute on function public.release_llm_request(uuid) from public, anon, authenticated, service_role;
grant execute on function public.reserve_llm_attempt(uuid, integer, text, text, text, text, integer, integer)
to authenticated;
grant execute on function public.release_llm_request(uuid) to authenticated;
