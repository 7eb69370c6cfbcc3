-- Counters: what was used of each quota in its present period, and what is reserved.
--
-- There is one counter of a quota and an owner, so they do not add up over the years; it begins anew with each period.
-- It is opened at the first use, with what the ledger says was used in the period before. A period lasts until the end
-- that it began with, so that a user who changes their time zone gains nothing.
--
-- Nothing is lost and nothing waits in a circle, because everybody keeps to this order of locks:
--   1. usage_lock of the user: shared by who records usage, alone for who opens a counter from the sum of what was
--      recorded. So an attempt is either in that sum or finds the counter.
--   2. the quota, by who sets or removes it.
--   3. counters, by quota. All that a request may need are locked before the first of them is looked at.
--   4. reservations, only by who holds the lock of their counter.

create table llm_private.quota_counters (
  owner uuid not null,
  quota_id bigint not null references llm_private.quotas (id) on delete cascade,
  starts_at timestamptz not null,
  ends_at timestamptz not null,
  used numeric not null,
  reserved numeric not null,
  primary key (owner, quota_id)
-- Room on each page for new versions of a row that is updated by every request.
) with (fillfactor = 50);

create index quota_counters_quota on llm_private.quota_counters (quota_id, owner);

comment on table llm_private.quota_counters is
'What was used of a quota in its present period, and what is reserved; owned by a user, or by operator_id() if shared.';

-- No foreign key to the quota: deleting it would lock reservations before their counters.
create table llm_private.reservations (
  user_id uuid not null,
  request_id uuid not null,
  attempt smallint not null,
  holder uuid not null,
  quota_id bigint not null,
  owner uuid not null,
  starts_at timestamptz not null,
  amount numeric not null,
  expires_at timestamptz not null,
  primary key (user_id, request_id, attempt, holder, quota_id)
);

create index reservations_expiry on llm_private.reservations (quota_id, owner, expires_at);

comment on table llm_private.reservations is
'What a running attempt may still use of a quota. Settled with its usage, or else over by itself when it expires.';
comment on column llm_private.reservations.holder is
'The runtime that reserved it, or the user who did themselves: nobody else settles or releases it.';
comment on column llm_private.reservations.owner is 'With the quota: the counter that it is reserved in.';
comment on column llm_private.reservations.starts_at is 'The period of the counter that it is reserved in.';

revoke all on table llm_private.quota_counters from public, anon, authenticated, service_role;
revoke all on table llm_private.reservations from public, anon, authenticated, service_role;
alter table llm_private.quota_counters enable row level security;
alter table llm_private.reservations enable row level security;

-- Private helpers -----------------------------------------------------------------------------------------------------

create function llm_private.usage_lock(p_user uuid)
returns bigint
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return hashtextextended('llm_private.usage_lock ' || p_user, 0);
end
$$;

comment on function llm_private.usage_lock(uuid) is 'The advisory lock under which a user''s usage is recorded.';

create function llm_private.lock_usage(p_owner uuid)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_owner = llm_private.operator_id() then
    lock table public.llm_usage_totals in share mode;
  else
    perform pg_advisory_xact_lock(llm_private.usage_lock(p_owner));
  end if;
end
$$;

comment on function llm_private.lock_usage(uuid) is
'Wait for whoever is recording usage of a user''s, or of any, and let nobody record before this transaction ends.';

create function llm_private.quota_window(
  p_period text, p_zone text, p_at timestamptz, out starts_at timestamptz, out ends_at timestamptz
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_length constant interval := case when p_period <> 'lifetime' then ('1 ' || p_period)::interval end;
  -- Minutes are the same everywhere, and where clocks go back the local ones come twice.
  v_zone constant text := case p_period when 'minute' then 'UTC' else p_zone end;
  v_local timestamp;
begin
  if p_period = 'lifetime' then
    starts_at := '-infinity';
    ends_at := 'infinity';
    return;
  end if;
  v_local := date_trunc(p_period, p_at at time zone v_zone);
  starts_at := v_local at time zone v_zone;
  -- Where clocks go back over midnight there are two midnights, and the day begins with the second.
  if starts_at > p_at then
    v_local := v_local - v_length;
    starts_at := v_local at time zone v_zone;
  end if;
  ends_at := (v_local + v_length) at time zone v_zone;
end
$$;

comment on function llm_private.quota_window(text, text, timestamptz) is
'From when until when the period lasts that this moment is in, by the clocks of a time zone.';

create function llm_private.next_window(
  p_period text, p_zone text, p_previous_end timestamptz, p_at timestamptz,
  out starts_at timestamptz, out ends_at timestamptz
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_earliest timestamptz;
begin
  select w.starts_at, w.ends_at into starts_at, ends_at from llm_private.quota_window(p_period, p_zone, p_at) as w;
  if starts_at < p_previous_end then
    starts_at := p_previous_end;
    v_earliest := (p_previous_end at time zone p_zone + ('1 ' || p_period)::interval) at time zone p_zone;
    select case when w.starts_at = v_earliest then v_earliest else w.ends_at end into ends_at
    from llm_private.quota_window(p_period, p_zone, v_earliest) as w;
  end if;
end
$$;

comment on function llm_private.next_window(text, text, timestamptz, timestamptz) is
'The period that follows one which ended before p_at: by the clock, but after a change of the time zone it begins where
the last one ended and is not shorter than others.';

create function llm_private.used_before(p_quota llm_private.quotas, p_user uuid, p_from timestamptz)
returns numeric
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_full_hour constant timestamptz := case
    when date_trunc('hour', p_from, 'UTC') = p_from then p_from
    else date_trunc('hour', p_from, 'UTC') + interval '1 hour'
  end;
begin
  return (
    select coalesce(sum(case p_quota.unit when 'requests' then u.requests when 'tokens' then u.tokens else u.cost end), 0)
    from (
      select
        t.user_id, t.recorder, t.key_source, t.provider, t.task, t.attempts - t.failures as requests,
        t.input_tokens + t.output_tokens as tokens, t.cost
      from public.llm_usage_totals as t
      where t.hour >= v_full_hour and (p_quota.shared or t.user_id = p_user)
      union all
      -- Totals are by the hour; what comes before the first full one is in the events.
      select
        e.user_id, e.recorder, e.key_source, e.provider, e.task, (e.outcome <> 'failed')::integer,
        coalesce(e.input_tokens, 0)::bigint + coalesce(e.output_tokens, 0), coalesce(e.cost, 0)
      from public.llm_usage_events as e
      where
        v_full_hour > p_from
        and e.request_id >= llm_private.first_uuid_v7(p_from) and e.request_id < llm_private.first_uuid_v7(v_full_hour)
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
'What the ledger says was used since a moment, for a counter that is opened in the middle of a period.';

create function llm_private.quota_zone(p_quota llm_private.quotas, p_owner uuid)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_quota.clock = 'user' then
    return coalesce((select s.time_zone from public.user_llm_settings as s where s.user_id = p_owner), 'UTC');
  end if;
  return 'UTC';
end
$$;

comment on function llm_private.quota_zone(llm_private.quotas, uuid) is 'By which clocks the periods of a quota begin.';

create function llm_private.open_counter(p_quota llm_private.quotas, p_owner uuid)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  -- Whoever recorded before this lock is in the sum; whoever records after it finds the counter.
  perform llm_private.lock_usage(p_owner);
  insert into llm_private.quota_counters (owner, quota_id, starts_at, ends_at, used, reserved)
  select
    p_owner, p_quota.id, w.starts_at, w.ends_at, llm_private.used_before(p_quota, p_owner, w.starts_at),
    -- Of a counter that was thrown away to be summed anew.
    coalesce(
      (
        select sum(r.amount) from llm_private.reservations as r
        where r.quota_id = p_quota.id and r.owner = p_owner and r.starts_at = w.starts_at
      ), 0
    )
  from llm_private.quota_window(p_quota.period, llm_private.quota_zone(p_quota, p_owner), now()) as w
  -- Not where the quota has been removed meanwhile.
  where exists (select from llm_private.quotas as q where q.id = p_quota.id for key share)
  on conflict (owner, quota_id) do nothing;
end
$$;

comment on function llm_private.open_counter(llm_private.quotas, uuid) is
'Open a counter with what was used so far in its period. Holds no other counter''s lock when it is called.';

create function llm_private.lock_counters(p_user uuid, p_quotas bigint[])
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  perform from llm_private.quota_counters as c
  where c.quota_id = any(p_quotas) and c.owner in (p_user, llm_private.operator_id())
  order by c.quota_id
  for update;
end
$$;

comment on function llm_private.lock_counters(uuid, bigint[]) is
'Lock the counters of these quotas that a user''s attempts count in, in the one order.';

create function llm_private.open_counters(p_user uuid, p_quotas bigint[])
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_quota llm_private.quotas;
  v_ended record;
begin
  -- Those of shared quotas were opened when they were set.
  for v_quota in
    select q.* from llm_private.quotas as q
    where
      q.id = any(p_quotas) and not q.shared and p_user <> llm_private.operator_id()
      and not exists (
        select from llm_private.quota_counters as c where c.owner = p_user and c.quota_id = q.id
      )
  loop
    perform llm_private.open_counter(v_quota, p_user);
  end loop;
  perform llm_private.lock_counters(p_user, p_quotas);

  for v_ended in
    select c.owner, c.quota_id, w.starts_at, w.ends_at
    from llm_private.quota_counters as c
    inner join llm_private.quotas as q on c.quota_id = q.id
    cross join lateral llm_private.next_window(q.period, llm_private.quota_zone(q, c.owner), c.ends_at, now()) as w
    where c.quota_id = any(p_quotas) and c.owner in (p_user, llm_private.operator_id()) and c.ends_at <= now()
  loop
    update llm_private.quota_counters as c
    set starts_at = v_ended.starts_at, ends_at = v_ended.ends_at, used = 0, reserved = 0
    where c.owner = v_ended.owner and c.quota_id = v_ended.quota_id;
  end loop;

  perform from llm_private.reservations as r
  where r.quota_id = any(p_quotas) and r.owner in (p_user, llm_private.operator_id()) and r.expires_at <= now()
  limit 1;
  if found then
    with gone as (
      delete from llm_private.reservations as r
      where r.quota_id = any(p_quotas) and r.owner in (p_user, llm_private.operator_id()) and r.expires_at <= now()
      returning r.owner, r.quota_id, r.starts_at, r.amount
    )

    update llm_private.quota_counters as c
    set reserved = c.reserved - g.amount
    from (
      select e.owner, e.quota_id, e.starts_at, sum(e.amount) as amount from gone as e
      group by e.owner, e.quota_id, e.starts_at
    ) as g
    where c.owner = g.owner and c.quota_id = g.quota_id and c.starts_at = g.starts_at;
  end if;
end
$$;

comment on function llm_private.open_counters(uuid, bigint[]) is
'Lock the counters of these quotas for a user, each as it is at this moment: opened where there was none, in its present
period, and without what expired reservations held.';

create function llm_private.quota_status(p_quota llm_private.quotas, p_user uuid)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return llm_private.quota_json(p_quota) || (
    select jsonb_build_object(
      'used', c.used,
      'reserved', c.reserved,
      'starts_at', case when p_quota.period <> 'lifetime' then c.starts_at end,
      'resets_at', case when p_quota.period <> 'lifetime' then c.ends_at end
    )
    from llm_private.quota_counters as c
    where
      c.quota_id = p_quota.id and c.owner = case when p_quota.shared then llm_private.operator_id() else p_user end
  );
end
$$;

comment on function llm_private.quota_status(llm_private.quotas, uuid) is
'A quota with what was used and what is reserved in its present period, after open_counters().';

create function llm_private.alert_quota(
  p_quota llm_private.quotas, p_user uuid, p_starts_at timestamptz, p_used numeric
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
    if p_quota.amount > 0 and p_used >= p_quota.amount * v_step then
      perform llm_private.add_alert(
        case when p_quota.shared then llm_private.operator_id() else p_user end,
        case v_step when 1 then 'quota_reached' else 'quota_warning' end,
        -- In UTC whatever the session's time zone is, which a caller may choose: else it would be another subject.
        p_quota.id || case when isfinite(p_starts_at) then ' from ' || (p_starts_at at time zone 'UTC') else '' end,
        llm_private.quota_json(p_quota) || jsonb_build_object('used', p_used)
        || case when isfinite(p_starts_at) then jsonb_build_object('starts_at', p_starts_at) else '{}' end
      );
    end if;
  end loop;
end
$$;

comment on function llm_private.alert_quota(llm_private.quotas, uuid, timestamptz, numeric) is
'Tell whose quota it is when it passes 80 % and when it is used up, once in each period.';

revoke execute on function llm_private.usage_lock(uuid) from public, anon, authenticated, service_role;
revoke execute on function llm_private.lock_usage(uuid) from public, anon, authenticated, service_role;
revoke execute on function llm_private.quota_window(text, text, timestamptz)
from public, anon, authenticated, service_role;
revoke execute on function llm_private.next_window(text, text, timestamptz, timestamptz)
from public, anon, authenticated, service_role;
revoke execute on function llm_private.used_before(llm_private.quotas, uuid, timestamptz)
from public, anon, authenticated, service_role;
revoke execute on function llm_private.quota_zone(llm_private.quotas, uuid)
from public, anon, authenticated, service_role;
revoke execute on function llm_private.open_counter(llm_private.quotas, uuid)
from public, anon, authenticated, service_role;
revoke execute on function llm_private.lock_counters(uuid, bigint[]) from public, anon, authenticated, service_role;
revoke execute on function llm_private.open_counters(uuid, bigint[]) from public, anon, authenticated, service_role;
revoke execute on function llm_private.quota_status(llm_private.quotas, uuid)
from public, anon, authenticated, service_role;
revoke execute on function llm_private.alert_quota(llm_private.quotas, uuid, timestamptz, numeric)
from public, anon, authenticated, service_role;
