-- Reservations: how quotas are kept while many requests run at once.
--
--   reserve   with the route (or before the next candidate is tried), for what the attempt may use at most
--   run       no lock is held meanwhile
--   settle    with the attempt's usage: what was used is counted, the rest is free again
--
-- A request that never comes back leaves a reservation that is over when it expires. Which locks are taken, and in
-- which order, stands with the counters.

-- Private helpers -----------------------------------------------------------------------------------------------------

create function llm_private.weigh_attempt(
  p_user uuid,
  p_runtime uuid,
  p_quotas bigint[],
  p_task text,
  p_provider text,
  p_model text,
  p_key_source text,
  p_input_tokens integer,
  p_output_tokens integer,
  out refusal jsonb,
  out holds llm_private.reservations[]
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_quota llm_private.quotas;
  v_counter llm_private.quota_counters;
  v_charge record;
  v_amount numeric;
  v_hold llm_private.reservations;
begin
  holds := '{}';
  for v_quota in select q.* from llm_private.matching_quotas(p_user, p_task, p_provider, p_key_source) as q loop
    if v_quota.enforced and v_quota.set_by = 'operator' and p_key_source = 'operator' and p_runtime is null then
      refusal := llm_private.quota_refusal(v_quota, 'runtime_required', null, null, null);
      return;
    end if;
    select c.* into v_counter from llm_private.quota_counters as c
    where
      c.quota_id = v_quota.id and c.quota_id = any(p_quotas)
      and c.owner = case when v_quota.shared then llm_private.operator_id() else p_user end;
    continue when not found;
    v_amount := case v_quota.unit
      when 'requests' then 1
      -- An estimate of nothing would pass a quota that is used up.
      when 'tokens' then greatest(p_input_tokens::bigint + p_output_tokens, 1)
      else 0
    end;
    if v_quota.unit = 'cost' then
      v_charge := llm_private.charge(
        p_user, p_provider, p_model, p_key_source, null, now(), p_input_tokens, 0, 0, p_output_tokens, 0, null
      );
      if v_charge.price_id is not null then
        v_amount := v_charge.cost;
      elsif v_quota.enforced and v_quota.unpriced = 'refuse' then
        refusal := llm_private.quota_refusal(v_quota, 'model_unpriced', null, null, null);
        return;
      end if;
    end if;
    -- What costs nothing does not pass a limit of dollars.
    if v_quota.enforced and v_amount > 0 and v_counter.used + v_counter.reserved + v_amount > v_quota.amount then
      refusal := llm_private.quota_refusal(
        v_quota, 'quota_exceeded', v_counter.used, v_counter.reserved, v_counter.ends_at
      );
      return;
    end if;
    v_hold.quota_id := v_quota.id;
    v_hold.owner := v_counter.owner;
    v_hold.starts_at := v_counter.starts_at;
    v_hold.amount := v_amount;
    holds := holds || v_hold;
  end loop;
end
$$;

comment on function llm_private.weigh_attempt(
  uuid, uuid, bigint[], text, text, text, text, integer, integer
) is
'Whether the counters, which open_counters() has locked, leave enough for an attempt: the first refusal, or else what to
hold in each of the quotas that count it.';

create function llm_private.countable_quotas(p_user uuid, p_runtime uuid)
returns bigint[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  -- What users say of themselves cannot use up what is everybody's.
  return array(
    select q.id from llm_private.binding_quotas(p_user) as q where not q.shared or p_runtime is not null
  );
end
$$;

comment on function llm_private.countable_quotas(uuid, uuid) is
'The quotas that could count what is run for a user by a runtime, or by themselves.';

create function llm_private.release(p_user uuid, p_holder uuid, p_request_id uuid, p_attempt integer)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_quotas constant bigint[] := array(
    select r.quota_id from llm_private.reservations as r
    where
      r.user_id = p_user and r.request_id = p_request_id and r.holder = p_holder
      and (p_attempt is null or r.attempt = p_attempt)
  );
begin
  if v_quotas = '{}' then
    return;
  end if;
  perform llm_private.lock_counters(p_user, v_quotas);
  with gone as (
    delete from llm_private.reservations as r
    where
      r.user_id = p_user and r.request_id = p_request_id and r.holder = p_holder
      and (p_attempt is null or r.attempt = p_attempt) and r.quota_id = any(v_quotas)
    returning r.owner, r.quota_id, r.starts_at, r.amount
  )

  update llm_private.quota_counters as c
  set reserved = c.reserved - g.amount
  from (
    select e.owner, e.quota_id, e.starts_at, sum(e.amount) as amount from gone as e
    group by e.owner, e.quota_id, e.starts_at
  ) as g
  where c.owner = g.owner and c.quota_id = g.quota_id and c.starts_at = g.starts_at;
end
$$;

comment on function llm_private.release(uuid, uuid, uuid, integer) is
'Free what this holder reserved for an attempt, or for all attempts of a request.';

create function llm_private.begin_reserving(p_user uuid, p_runtime uuid, p_request_id uuid, p_attempt integer)
returns bigint[]
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_holder constant uuid := coalesce(p_runtime, p_user);
  v_quotas constant bigint[] := llm_private.countable_quotas(p_user, p_runtime);
begin
  -- With those that the attempt holds something in and that do not bind any more.
  perform llm_private.open_counters(
    p_user,
    v_quotas || array(
      select r.quota_id from llm_private.reservations as r
      where r.user_id = p_user and r.request_id = p_request_id and r.attempt = p_attempt and r.holder = v_holder
    )
  );
  -- The same attempt again: its reservation was for a candidate that could not be tried, or its answer was lost.
  perform llm_private.release(p_user, v_holder, p_request_id, p_attempt);
  return v_quotas;
end
$$;

comment on function llm_private.begin_reserving(uuid, uuid, uuid, integer) is
'Lock all counters that an attempt of this user may need, whatever is tried; returns their quotas. The attempt holds
nothing then.';

create function llm_private.reserve(
  p_user uuid,
  p_runtime uuid,
  p_quotas bigint[],
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
  v_refusal jsonb;
  v_holds llm_private.reservations[];
  v_expires_at timestamptz;
begin
  select w.refusal, w.holds into v_refusal, v_holds
  from llm_private.weigh_attempt(
    p_user, p_runtime, p_quotas, p_task, p_provider, p_model, p_key_source, p_input_tokens, p_output_tokens
  ) as w;
  if v_refusal is null then
    select now() + make_interval(secs => o.reservation_seconds) into v_expires_at
    from llm_private.operator_settings as o;
    insert into llm_private.reservations (
      user_id, request_id, attempt, holder, quota_id, owner, starts_at, amount, expires_at
    )
    select
      p_user, p_request_id, p_attempt, coalesce(p_runtime, p_user), h.quota_id, h.owner, h.starts_at, h.amount,
      v_expires_at
    from unnest(v_holds) as h;
    update llm_private.quota_counters as c
    set reserved = c.reserved + h.amount
    from unnest(v_holds) as h
    where c.owner = h.owner and c.quota_id = h.quota_id;
  end if;
  return v_refusal;
end
$$;

comment on function llm_private.reserve(
  uuid, uuid, bigint[], uuid, integer, text, text, text, text, integer, integer
) is
'After begin_reserving(), whose result p_quotas is: reserve what an attempt may use at most in each quota that counts
it. Null when done; else why not, and nothing is reserved.';

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
  p_unreported boolean
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_holder constant uuid := coalesce(p_runtime, p_user);
  v_counting constant bigint[] := array(
    select m.id from llm_private.matching_quotas(p_user, p_task, p_provider, p_key_source) as m
    where not m.shared or p_runtime is not null
  );
  v_quotas constant bigint[] := v_counting || array(
    select r.quota_id from llm_private.reservations as r
    where r.user_id = p_user and r.request_id = p_request_id and r.attempt = p_attempt and r.holder = v_holder
  );
  v_line record;
  v_used numeric;
begin
  perform llm_private.lock_counters(p_user, v_quotas);
  -- A counter that is not there will be opened with the sum of the ledger, which has this attempt already.
  for v_line in
    with held as (
      delete from llm_private.reservations as r
      where
        r.user_id = p_user and r.request_id = p_request_id and r.attempt = p_attempt and r.holder = v_holder
        and r.quota_id = any(v_quotas)
      returning r.quota_id, r.starts_at, r.amount
    )

    select
      q as quota, c.owner, c.starts_at, coalesce(h.amount, 0) as held, coalesce(h.starts_at = c.starts_at, false) as here,
      -- What began in a period that is over is not counted in the next one.
      q.id = any(v_counting) and c.ends_at > now()
      and coalesce(h.starts_at = c.starts_at, p_requested_at >= c.starts_at) as counts
    from llm_private.quota_counters as c
    inner join llm_private.quotas as q on c.quota_id = q.id
    left join held as h on c.quota_id = h.quota_id
    where c.quota_id = any(v_quotas) and c.owner in (p_user, llm_private.operator_id())
  loop
    -- What a provider did not count is held to be what was reserved for it: it may have been that much.
    v_used := case
      when not v_line.counts then 0
      when (v_line.quota).unit = 'requests' then p_answered::integer
      when (v_line.quota).unit = 'tokens' then coalesce(p_tokens, case when p_answered then v_line.held else 0 end)
      else coalesce(p_cost, case when p_unreported then v_line.held else 0 end)
    end;
    update llm_private.quota_counters as c
    set used = c.used + v_used, reserved = c.reserved - case when v_line.here then v_line.held else 0 end
    where c.owner = v_line.owner and c.quota_id = (v_line.quota).id
    returning c.used into v_used;
    if v_line.counts then
      perform llm_private.alert_quota(v_line.quota, p_user, v_line.starts_at, v_used);
    end if;
  end loop;
end
$$;

comment on function llm_private.settle(
  uuid, uuid, uuid, integer, text, text, text, timestamptz, boolean, bigint, numeric, boolean
) is 'Count what an attempt used in each quota that counts it, and free what was reserved for it.';

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
    v_user, v_runtime, llm_private.begin_reserving(v_user, v_runtime, p_request_id, p_attempt), p_request_id, p_attempt, p_task, p_provider, p_model, p_key_source,
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
  -- A counter that is opened meanwhile sums the reservations.
  perform pg_advisory_xact_lock_shared(llm_private.usage_lock(v_user));
  perform llm_private.release(v_user, coalesce(llm_private.current_runtime(), v_user), p_request_id, null);
end
$$;

comment on function llm_private.release_request(uuid) is 'Free what the caller reserved for a request.';

revoke execute on function llm_private.weigh_attempt(
  uuid, uuid, bigint[], text, text, text, text, integer, integer
) from public, anon, authenticated, service_role;
revoke execute on function llm_private.countable_quotas(uuid, uuid) from public, anon, authenticated, service_role;
revoke execute on function llm_private.release(uuid, uuid, uuid, integer)
from public, anon, authenticated, service_role;
revoke execute on function llm_private.begin_reserving(uuid, uuid, uuid, integer)
from public, anon, authenticated, service_role;
revoke execute on function llm_private.reserve(
  uuid, uuid, bigint[], uuid, integer, text, text, text, text, integer, integer
) from public, anon, authenticated, service_role;
revoke execute on function llm_private.settle(
  uuid, uuid, uuid, integer, text, text, text, timestamptz, boolean, bigint, numeric, boolean
) from public, anon, authenticated, service_role;
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
