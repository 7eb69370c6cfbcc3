-- Quotas: how much may be used in a period, by whom and of what, and how that holds with many concurrent requests.
--
-- A quota counts the attempts that match it (by key source, provider and task; by default all attempts) in requests,
-- tokens or US dollars. Administrators set quotas for a user, a group or everyone; the most specific one of otherwise
-- equal quotas applies: user, then group, then everyone. Shared quotas apply in addition. Users can set stricter quotas
-- for themselves. An enforced quota refuses attempts, an alert-only quota raises alerts.
--
-- Owners and admins of a team, and administrators, set quotas for a team: shared for the team as a whole, else for each
-- member. They count the attempts that the team's keys pay for and apply in addition to all other quotas.
--
-- An attempt goes through three steps:
--   reserve   with the route (or before the next candidate is tried), the most that the attempt may use
--   run       without holding a lock
--   settle    with the attempt's usage: it is counted, and the rest of the reservation is freed
-- A reservation that is never settled expires.
--
-- A counter holds the usage of a quota in its current period, and what is reserved. There is one counter per quota and
-- owner, which resets with each period, so counters do not accumulate. The first use opens it with the usage that the
-- ledger has in that period. A period keeps the end that it began with, so that changing the time zone gains nothing.
--
-- Every transaction takes locks in the same order, so that no usage is lost and no deadlock occurs:
--   1. usage_lock of the user, then of the team whose key pays: shared to record usage, exclusive to open a counter
--      from the sum of recorded usage. So an attempt is either in that sum, or its recording finds the counter. A
--      transaction that holds one exclusively takes no other. The lock of a team blocks no recording of other keys,
--      because the admins of a team are users.
--   2. the quota, to set or remove it.
--   3. counters, by quota: all that a request may need, before it reads the first one.
--   4. reservations, while holding the lock of their counter.

create table llm_private.user_groups (
  user_id uuid primary key references auth.users (id) on delete cascade,
  group_name text not null check (group_name ~ '^[^[:cntrl:]]{1,64}$')
);

comment on table llm_private.user_groups is 'The group of a user, for quotas: at most one. See user_group().';

create table llm_private.quotas (
  id bigint generated always as identity primary key,
  set_by text not null check (set_by in ('operator', 'user', 'team')),
  user_id uuid references auth.users (id) on delete cascade,
  group_name text,
  shared boolean not null,
  key_source text,
  provider text references public.llm_providers (id) on delete cascade,
  task text,
  unit text not null check (unit in ('requests', 'tokens', 'cost')),
  period text not null check (period in ('minute', 'day', 'month', 'lifetime')),
  clock text not null check (clock in ('utc', 'user')),
  amount numeric not null check (amount >= 0),
  enforced boolean not null,
  unpriced text not null check (unpriced in ('allow', 'refuse')),
  created_at timestamptz not null default now(),
  team_id uuid references llm_private.teams (id) on delete cascade,
  constraint team_quotas_count_team_keys check (
    team_id is null and set_by <> 'team'
    or team_id is not null and set_by <> 'user' and key_source = 'team' and user_id is null and group_name is null
  )
);

create index quotas_user on llm_private.quotas (user_id);
create index quotas_team on llm_private.quotas (team_id);
-- The quotas that may apply to any user, without those of teams, of which there may be many.
create index quotas_groups on llm_private.quotas (group_name) where user_id is null and team_id is null;
create index quotas_provider on llm_private.quotas (provider);
create unique index quotas_once on llm_private.quotas (
  set_by, unit, period, shared,
  coalesce(user_id, team_id, '00000000-0000-0000-0000-000000000000'), coalesce(group_name, ''),
  coalesce(key_source, ''), coalesce(provider, ''), coalesce(task, '')
);

comment on table llm_private.quotas is 'Quotas; written by set_llm_quota() and remove_llm_quota() only.';
comment on column llm_private.quotas.user_id is
'The user that the quota is for; null: the team, the group, or everyone.';
comment on column llm_private.quotas.shared is
'true: all users in its scope share one limit; false: the limit is per user.';
comment on column llm_private.quotas.team_id is 'Counts only attempts with keys of this team.';
comment on column llm_private.quotas.key_source is 'Counts only attempts paid by this kind of key; null: any key.';
comment on column llm_private.quotas.unit is
'requests (attempts that did not fail), tokens (input and output) or cost (US dollars).';
comment on column llm_private.quotas.clock is
'Whether days and months begin in UTC (utc) or in the user''s time zone (user).';
comment on column llm_private.quotas.enforced is
'true: enforced, attempts beyond the limit are refused; false: alert-only.';
comment on column llm_private.quotas.unpriced is
'For an enforced quota of cost: whether unpriced models are allowed, which then count as 0.';

alter table llm_private.user_groups enable row level security;
alter table llm_private.quotas enable row level security;

create table llm_private.quota_counters (
  owner uuid not null,
  quota_id bigint not null references llm_private.quotas (id) on delete cascade,
  starts_at timestamptz not null,
  ends_at timestamptz not null,
  used numeric not null,
  reserved numeric not null,
  primary key (owner, quota_id)
-- Leaves room on each page for new versions of a row that every request updates.
) with (fillfactor = 50);

create index quota_counters_quota on llm_private.quota_counters (quota_id, owner);

comment on table llm_private.quota_counters is
'Usage and reservations of a quota in its current period; owned by a user or, if shared, by
the team or operator_id(): see counter_owner().';

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
  requests integer not null,
  expires_at timestamptz not null,
  counted boolean not null default false,
  primary key (user_id, request_id, attempt, holder, quota_id)
);

create index reservations_expiry on llm_private.reservations (quota_id, owner, expires_at) where not counted;

comment on table llm_private.reservations is
'How much of a quota a running attempt may still use. It is settled with the attempt''s usage, or expires.';
comment on column llm_private.reservations.holder is
'The runtime or user that made the reservation; only they can settle or release it.';
comment on column llm_private.reservations.owner is 'Names the counter together with quota_id.';
comment on column llm_private.reservations.starts_at is 'The period of the counter.';
comment on column llm_private.reservations.amount is 'The most that each request may use.';
comment on column llm_private.reservations.requests is
'How many more requests of the holder it is for. All but the first one name its request_id when they are recorded.';
comment on column llm_private.reservations.counted is
'Expired without being settled, and therefore counted as used; corrected if the request is recorded after all.';

alter table llm_private.quota_counters enable row level security;
alter table llm_private.reservations enable row level security;

create type llm_private.quota_period as (starts_at timestamptz, ends_at timestamptz);

comment on type llm_private.quota_period is 'A period of a quota, including its start and excluding its end.';

create type llm_private.weighed_attempt as (
  refusal jsonb,
  requests integer,
  holds llm_private.reservations []
);

comment on type llm_private.weighed_attempt is
'Why a quota refuses an attempt; or for how many such requests to reserve, and what in each quota that counts them.';

-- Which quotas apply --------------------------------------------------------------------------------------------------

create function llm_private.user_group(p_user uuid)
returns text
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  return coalesce(
    (select g.group_name from llm_private.user_groups as g where g.user_id = p_user),
    (select 'anonymous' from auth.users as u where u.id = p_user and u.is_anonymous)
  );
end
$$;

comment on function llm_private.user_group is
'The group of a user: what set_llm_user_group() set, else anonymous for users who signed in anonymously, else null.';

create function llm_private.group_members(p_group text)
returns setof uuid
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
  select g.user_id from llm_private.user_groups as g where g.group_name = p_group
  union all
  select u.id from auth.users as u
  where
    p_group = 'anonymous' and u.is_anonymous
    and not exists (select from llm_private.user_groups as g where g.user_id = u.id)
$$;

comment on function llm_private.group_members is 'The users whose user_group() this is.';

create function llm_private.has_quotas(p_user uuid, p_team uuid default null)
returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  -- A project without quotas saves the longer query.
  return exists (select from llm_private.quotas) and exists (
    select from llm_private.quotas as q where q.user_id = p_user
    union all
    select from llm_private.quotas as q
    where
      q.user_id is null and q.team_id is null and (
        q.group_name is null
        or q.group_name = (select llm_private.user_group(p_user))
      )
    union all
    select from llm_private.quotas as q where q.team_id = p_team
  );
end
$$;

comment on function llm_private.has_quotas is
'Whether a quota applies to this user, with keys of p_team too. The only cost of quotas for users without one.';

create function llm_private.binding_quotas(p_user uuid, p_team uuid default null)
returns setof llm_private.quotas
language plpgsql
stable
rows 5
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  select distinct on (
    q.set_by, q.unit, q.period, q.key_source, q.provider, q.task, case when q.shared or q.team_id is not null then q.id end
  ) q.*
  from llm_private.quotas as q
  where
    q.user_id = p_user
    or q.user_id is null and q.team_id is null and (
      q.group_name is null
      or q.group_name = (select llm_private.user_group(p_user))
    )
    or q.team_id = p_team
  order by
    q.set_by, q.unit, q.period, q.key_source, q.provider, q.task, case when q.shared or q.team_id is not null then q.id end,
    q.user_id is null, q.group_name is null;
end
$$;

comment on function llm_private.binding_quotas is
'The quotas that apply to a user: their own, all shared ones, with keys of p_team those of the team, and among the
operator''s quotas that differ only in their scope the most specific one.';

create function llm_private.quota_counts(
  p_quota llm_private.quotas, p_task text, p_provider text, p_key_source text, p_team uuid default null
)
returns boolean
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return
    (p_quota.key_source is null or p_quota.key_source = p_key_source)
    and (p_quota.provider is null or p_quota.provider = p_provider)
    and (p_quota.task is null or p_quota.task = p_task)
    and (p_quota.team_id is null or p_quota.team_id is not distinct from p_team);
end
$$;

comment on function llm_private.quota_counts is 'Whether a quota counts such an attempt, with a key of p_team if any.';

create function llm_private.counter_owner(p_quota llm_private.quotas, p_user uuid)
returns uuid
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return case when p_quota.shared then coalesce(p_quota.team_id, llm_private.operator_id()) else p_user end;
end
$$;

comment on function llm_private.counter_owner is
'Who owns the counter in which a quota counts a user''s attempts: the user or, if it is shared, the team or the
operator.';

create function llm_private.matching_quotas(
  p_user uuid, p_task text, p_provider text, p_key_source text, p_team uuid default null
)
returns setof llm_private.quotas
language plpgsql
stable
rows 5
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  select q.* from llm_private.binding_quotas(p_user, p_team) as q
  where llm_private.quota_counts(q, p_task, p_provider, p_key_source, p_team)
  order by q.id;
end
$$;

comment on function llm_private.matching_quotas is 'The quotas of a user that count such an attempt, oldest first.';

create function llm_private.quota_json(p_quota llm_private.quotas)
returns jsonb
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object(
    'id', p_quota.id, 'set_by', p_quota.set_by, 'user_id', p_quota.user_id, 'group', p_quota.group_name,
    'shared', p_quota.shared, 'key_source', p_quota.key_source, 'provider', p_quota.provider, 'task', p_quota.task,
    'unit', p_quota.unit, 'period', p_quota.period, 'clock', p_quota.clock, 'limit', p_quota.amount,
    'enforced', p_quota.enforced, 'unpriced', p_quota.unpriced, 'created_at', p_quota.created_at,
    'team_id', p_quota.team_id
  )
$$;

comment on function llm_private.quota_json is 'A quota as JSON, without its usage.';

-- Counters ------------------------------------------------------------------------------------------------------------

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

comment on function llm_private.usage_lock is
'The key of the advisory lock on recording the usage of a user or of a team''s keys.';

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

comment on function llm_private.lock_usage is
'Block recording of the usage of a user or of a team''s keys (for the operator: of all usage) until this transaction
ends.';

create function llm_private.quota_window(p_period text, p_zone text, p_at timestamptz)
returns llm_private.quota_period
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_length constant interval := case when p_period <> 'lifetime' then ('1 ' || p_period)::interval end;
  -- Minutes are the same in all time zones, and local ones repeat when clocks go back.
  v_zone constant text := case p_period when 'minute' then 'UTC' else p_zone end;
  v_local timestamp;
  v_window llm_private.quota_period := row('-infinity', 'infinity');
begin
  if p_period = 'lifetime' then
    return v_window;
  end if;
  v_local := date_trunc(p_period, p_at at time zone v_zone);
  v_window.starts_at := v_local at time zone v_zone;
  -- When clocks go back across midnight, there are two midnights, and the day begins with the second one.
  if v_window.starts_at > p_at then
    v_local := v_local - v_length;
    v_window.starts_at := v_local at time zone v_zone;
  end if;
  v_window.ends_at := (v_local + v_length) at time zone v_zone;
  return v_window;
end
$$;

comment on function llm_private.quota_window is 'Start and end of the period that contains a moment, in a time zone.';

create function llm_private.next_window(p_period text, p_zone text, p_previous_end timestamptz, p_at timestamptz)
returns llm_private.quota_period
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_window llm_private.quota_period := llm_private.quota_window(p_period, p_zone, p_at);
  v_earliest timestamptz;
begin
  if v_window.starts_at < p_previous_end then
    v_window.starts_at := p_previous_end;
    v_earliest := (p_previous_end at time zone p_zone + ('1 ' || p_period)::interval) at time zone p_zone;
    select case when w.starts_at = v_earliest then v_earliest else w.ends_at end into v_window.ends_at
    from llm_private.quota_window(p_period, p_zone, v_earliest) as w;
  end if;
  return v_window;
end
$$;

comment on function llm_private.next_window is
'The period that contains p_at and follows one that ended before. After a change of the time zone, it begins where the
last one ended and is no shorter than others.';

-- Planned for each quota, so that it reads the rows of the team or the user only.
create function llm_private.used_before(p_quota llm_private.quotas, p_user uuid, p_from timestamptz)
returns numeric
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
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
        t.input_tokens + t.output_tokens as tokens,
        -- Users cannot change what counts against the operator's quotas with a price of their own.
        case p_quota.set_by when 'user' then t.cost else t.list_cost end as cost
      from public.llm_usage_totals as t
      where
        t.hour >= v_full_hour and (p_quota.shared or t.user_id = p_user)
        and (p_quota.team_id is null or t.team_id = p_quota.team_id)
      union all
      -- Totals are hourly, so usage before the first full hour comes from the events.
      select
        e.user_id, e.recorder, e.key_source, e.provider, e.task, (e.outcome <> 'failed')::integer,
        coalesce(e.input_tokens, 0)::bigint + coalesce(e.output_tokens, 0),
        coalesce(case p_quota.set_by when 'user' then e.cost else e.list_cost end, 0)
      from public.llm_usage_events as e
      where
        v_full_hour > p_from
        and e.request_id >= llm_private.first_uuid_v7(p_from) and e.request_id < llm_private.first_uuid_v7(v_full_hour)
        and (p_quota.shared or e.user_id = p_user) and (p_quota.team_id is null or e.team_id = p_quota.team_id)
    ) as u
    where
      (p_quota.key_source is null or u.key_source = p_quota.key_source)
      and (p_quota.provider is null or u.provider = p_quota.provider)
      and (p_quota.task is null or u.task = p_quota.task)
      -- Usage that users report themselves cannot use up a shared quota.
      and (not p_quota.shared or u.recorder <> u.user_id)
      and (
        not p_quota.shared or p_quota.group_name is null
        or u.user_id in (select m from llm_private.group_members(p_quota.group_name) as m)
      )
  );
end
$$;

comment on function llm_private.used_before is
'Recorded usage since a moment, for a counter that is opened in the middle of a period.';

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

comment on function llm_private.quota_zone is 'The time zone in which the periods of a quota begin.';

create function llm_private.open_counter(p_quota llm_private.quotas, p_owner uuid)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  -- Usage recorded before this lock is in the sum; recording after it finds the counter.
  perform llm_private.lock_usage(p_owner);
  insert into llm_private.quota_counters (owner, quota_id, starts_at, ends_at, used, reserved)
  select
    p_owner, p_quota.id, w.starts_at, w.ends_at,
    llm_private.used_before(p_quota, p_owner, w.starts_at) + h.counted, h.reserved
  from llm_private.quota_window(p_quota.period, llm_private.quota_zone(p_quota, p_owner), now()) as w
  -- Reservations from before the counter was dropped by forget_counters().
  cross join lateral (
    select
      coalesce(sum(r.amount * r.requests) filter (where r.counted), 0) as counted,
      coalesce(sum(r.amount * r.requests) filter (where not r.counted), 0) as reserved
    from llm_private.reservations as r
    where r.quota_id = p_quota.id and r.owner = p_owner and r.starts_at = w.starts_at
  ) as h
  -- Unless the quota was removed meanwhile.
  where exists (select from llm_private.quotas as q where q.id = p_quota.id for key share)
  on conflict (owner, quota_id) do nothing;
end
$$;

comment on function llm_private.open_counter is
'Open a counter with the usage so far in its period. The caller must not hold the lock of another counter.';

-- Otherwise, the query would be planned for the length of the array, in each call.
create function llm_private.lock_counters(p_owners uuid[], p_quotas bigint[])
returns llm_private.quota_counters[]
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $$
begin
  return array(
    select c from llm_private.quota_counters as c
    where c.quota_id = any(p_quotas) and c.owner = any(p_owners)
    order by c.quota_id, c.owner
    for update
  );
end
$$;

comment on function llm_private.lock_counters is
'Lock the counters of these quotas and owners, in the order of locks, and return them.';

create function llm_private.counts_unsettled(p_quota llm_private.quotas)
returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return p_quota.enforced and p_quota.set_by <> 'user' and exists (
    select from llm_private.operator_settings as o where o.unsettled_reservations = 'count'
  );
end
$$;

comment on function llm_private.counts_unsettled is
'Whether a reservation in this quota that expires without being settled counts as used.';

create function llm_private.expire_reservations(p_owners uuid[], p_quotas bigint[])
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  with expired as (
    select
      r.user_id, r.request_id, r.attempt, r.holder, r.quota_id, r.owner, r.starts_at, r.amount * r.requests as amount,
      c.starts_at is not null and llm_private.counts_unsettled(q) as counts
    from llm_private.reservations as r
    inner join llm_private.quotas as q on r.quota_id = q.id
    left join llm_private.quota_counters as c
      on r.owner = c.owner and r.quota_id = c.quota_id and r.starts_at = c.starts_at
    where
      r.quota_id = any(p_quotas) and r.owner = any(p_owners) and not r.counted and r.expires_at <= now()
  ),

  kept as (
    update llm_private.reservations as r
    set counted = true
    from expired as e
    where
      e.counts and r.user_id = e.user_id and r.request_id = e.request_id and r.attempt = e.attempt
      and r.holder = e.holder and r.quota_id = e.quota_id
  ),

  gone as (
    delete from llm_private.reservations as r
    using expired as e
    where
      not e.counts and r.user_id = e.user_id and r.request_id = e.request_id and r.attempt = e.attempt
      and r.holder = e.holder and r.quota_id = e.quota_id
  )

  update llm_private.quota_counters as c
  set used = c.used + s.counted, reserved = c.reserved - s.amount
  from (
    select
      e.owner, e.quota_id, e.starts_at, sum(e.amount) as amount,
      coalesce(sum(e.amount) filter (where e.counts), 0) as counted
    from expired as e
    group by e.owner, e.quota_id, e.starts_at
  ) as s
  where c.owner = s.owner and c.quota_id = s.quota_id and c.starts_at = s.starts_at;
end
$$;

comment on function llm_private.expire_reservations is
'Free the expired reservations in these quotas. In an enforced quota of the operator''s or a team''s, they count as used
instead, if the operator''s settings say so: otherwise whoever does not report usage would not pay for it. The caller has
locked the counters.';

create function llm_private.open_counters(p_user uuid, p_owners uuid[], p_quotas bigint[])
returns llm_private.quota_counters[]
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_quota llm_private.quotas;
  v_ended record;
  v_counters llm_private.quota_counters[];
  v_counter llm_private.quota_counters;
  v_outdated boolean := false;
begin
  -- Counters of shared quotas are opened when the quota is set.
  for v_quota in
    select q.* from llm_private.quotas as q
    where
      q.id = any(p_quotas) and not q.shared and p_user is not null
      and not exists (
        select from llm_private.quota_counters as c where c.owner = p_user and c.quota_id = q.id
      )
  loop
    perform llm_private.open_counter(v_quota, p_user);
  end loop;

  v_counters := llm_private.lock_counters(p_owners, p_quotas);
  -- One by one, because a query over an array may be planned for its length, in each call.
  foreach v_counter in array v_counters loop
    v_outdated := v_counter.ends_at <= now() or exists (
      select from llm_private.reservations as r
      where
        r.quota_id = v_counter.quota_id and r.owner = v_counter.owner and not r.counted and r.expires_at <= now()
    );
    exit when v_outdated;
  end loop;
  if not v_outdated then
    return v_counters;
  end if;
  for v_ended in
    select c.owner, c.quota_id, w.starts_at, w.ends_at
    from unnest(v_counters) as c
    inner join llm_private.quotas as q on c.quota_id = q.id
    cross join lateral llm_private.next_window(q.period, llm_private.quota_zone(q, c.owner), c.ends_at, now()) as w
    where c.ends_at <= now()
  loop
    update llm_private.quota_counters as c
    set starts_at = v_ended.starts_at, ends_at = v_ended.ends_at, used = 0, reserved = 0
    where c.owner = v_ended.owner and c.quota_id = v_ended.quota_id;
    delete from llm_private.reservations as r
    where r.quota_id = v_ended.quota_id and r.owner = v_ended.owner and r.counted;
  end loop;
  perform llm_private.expire_reservations(p_owners, p_quotas);
  return llm_private.lock_counters(p_owners, p_quotas);
end
$$;

comment on function llm_private.open_counters is
'Lock the counters of these quotas and owners and bring them up to date: open the missing ones of p_user, reset those
whose period has ended, and free expired reservations. Returns the counters.';

create function llm_private.counter_now(p_quota llm_private.quotas, p_user uuid)
returns llm_private.quota_counters
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_owner constant uuid := llm_private.counter_owner(p_quota, p_user);
  v_zone constant text := llm_private.quota_zone(p_quota, v_owner);
  v_counter llm_private.quota_counters;
  v_window llm_private.quota_period;
begin
  select c.* into v_counter from llm_private.quota_counters as c
  where c.owner = v_owner and c.quota_id = p_quota.id;
  if found and v_counter.ends_at <= now() then
    v_window := llm_private.next_window(p_quota.period, v_zone, v_counter.ends_at, now());
    return row(v_owner, p_quota.id, v_window.starts_at, v_window.ends_at, 0, 0)::llm_private.quota_counters;
  elsif not found then
    v_window := llm_private.quota_window(p_quota.period, v_zone, now());
    v_counter := row(
      v_owner, p_quota.id, v_window.starts_at, v_window.ends_at,
      llm_private.used_before(p_quota, v_owner, v_window.starts_at), 0
    );
    select
      v_counter.used + coalesce(sum(r.amount * r.requests) filter (where r.counted), 0),
      coalesce(sum(r.amount * r.requests) filter (where not r.counted), 0)
    into v_counter.used, v_counter.reserved
    from llm_private.reservations as r
    where r.quota_id = p_quota.id and r.owner = v_owner and r.starts_at = v_window.starts_at;
  end if;
  select
    v_counter.used + coalesce(sum(r.amount * r.requests) filter (where llm_private.counts_unsettled(p_quota)), 0),
    v_counter.reserved - coalesce(sum(r.amount * r.requests), 0)
  into v_counter.used, v_counter.reserved
  from llm_private.reservations as r
  where
    r.quota_id = p_quota.id and r.owner = v_owner and r.starts_at = v_counter.starts_at and not r.counted
    and r.expires_at <= now();
  return v_counter;
end
$$;

comment on function llm_private.counter_now is
'The counter of a quota for a user''s attempts as open_counters() would leave it, without a lock or a change.';

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
    from llm_private.counter_now(p_quota, p_user) as c
  );
end
$$;

comment on function llm_private.quota_status is
'A quota as JSON with its usage and reservations in the current period.';

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
        a.reader, case v_step when 1 then 'quota_reached' else 'quota_warning' end,
        -- In UTC, because callers can choose the session's time zone and each would be another subject.
        p_quota.id || case when isfinite(p_starts_at) then ' from ' || (p_starts_at at time zone 'UTC') else '' end,
        llm_private.quota_json(p_quota) || jsonb_build_object('used', p_used)
        || case when isfinite(p_starts_at) then jsonb_build_object('starts_at', p_starts_at) else '{}' end
        || case
          when p_quota.team_id is not null
            then jsonb_build_object('team', llm_private.team_name(p_quota.team_id))
          else '{}'
        end
      )
      from (
        select case when p_quota.shared then llm_private.operator_id() else p_user end as reader
        where not p_quota.shared or p_quota.set_by = 'operator'
        union all
        select m.user_id from llm_private.team_members as m
        where p_quota.shared and m.team_id = p_quota.team_id and m.role in ('owner', 'admin')
      ) as a;
    end if;
  end loop;
end
$$;

comment on function llm_private.alert_quota is
'Alert at 80 % and at 100 %, once per period: the user or, if the quota is shared, the owners and admins of its team,
and the operator about a quota of theirs.';

-- Refusals ------------------------------------------------------------------------------------------------------------
-- Why a quota refuses an attempt, as a message for users and as figures for programs.

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

comment on function llm_private.quota_amount is 'An amount in the unit of a quota, as text.';

create function llm_private.largest_request(p_quota llm_private.quotas)
returns numeric
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return p_quota.amount * (select o.largest_request_percent from llm_private.operator_settings as o) / 100;
end
$$;

comment on function llm_private.largest_request is 'The most that one request may reserve in a shared quota.';

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
      when 'user' then 'your own keys'
      when 'team' then case when p_quota.set_by <> 'team' then 'team keys' end
      when 'operator' then 'the operator''s keys'
    end,
    p_quota.provider, 'task ' || p_quota.task
  );
  v_name constant text := format(
    '%s %s of %s%s',
    case p_quota.set_by when 'user' then 'Your own' when 'team' then 'The team''s' else 'The operator''s' end,
    case p_quota.period when 'lifetime' then 'lifetime quota' else 'quota' end,
    llm_private.quota_amount(p_quota, p_quota.amount)
    || case when p_quota.period <> 'lifetime' then ' a ' || p_quota.period else '' end,
    case when v_of <> '' then ' (' || v_of || ')' else '' end
  );
begin
  return jsonb_build_object(
    'reason', p_reason,
    'message', case p_reason
      when 'model_unpriced' then v_name || ' does not allow unpriced models.'
      when 'request_too_large' then format(
        '%s allows one request to reserve at most %s.', v_name,
        llm_private.quota_amount(p_quota, llm_private.largest_request(p_quota))
      )
      else v_name || ' has too little left'
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
      'limit', p_quota.amount, 'team_id', p_quota.team_id,
      'used', case when not p_quota.shared then p_used end,
      'reserved', case when not p_quota.shared then p_reserved end,
      'resets_at', case when isfinite(p_resets_at) then p_resets_at end
    )
  );
end
$$;

comment on function llm_private.quota_refusal is
'Why a quota refuses an attempt: reason, message and figures. Users do not see the figures of a shared quota here.';

create function llm_private.refuse(p_refusal jsonb)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_refusal ->> 'reason' = 'quota_exceeded' then
    perform llm_private.fail(
      429, 'quota_exceeded', p_refusal ->> 'message',
      case when p_refusal #>> '{quota,resets_at}' is null then 'Use less' else 'Wait until the quota resets, use less' end
      || ', or '
      || case p_refusal #>> '{quota,set_by}'
        when 'user' then 'raise it'
        when 'team' then 'ask an owner or admin of the team to raise it'
        else 'ask the operator to raise it'
      end
      || case
        when p_refusal #>> '{quota,team_id}' is null then '. list_llm_quotas() returns it.'
        else '. list_llm_quotas(p_team_id) returns it.'
      end
    );
  elsif p_refusal ->> 'reason' = 'request_too_large' then
    perform llm_private.fail(
      422, 'request_too_large', p_refusal ->> 'message',
      'Set a lower limit of output tokens, send less, or ask the operator to raise largest_request_percent.'
    );
  end if;
  perform llm_private.fail(
    422, 'model_unpriced', p_refusal ->> 'message',
    'Set a price for the model, request another one, or set the quota''s unpriced to allow.'
  );
end
$$;

comment on function llm_private.refuse is
'Raise the result of quota_refusal(). Errors: quota_exceeded, model_unpriced, request_too_large.';

-- Reserve and settle --------------------------------------------------------------------------------------------------

create function llm_private.weigh_attempt(
  p_user uuid,
  p_quotas llm_private.quotas[],
  p_counters llm_private.quota_counters[],
  p_task text,
  p_provider text,
  p_model text,
  p_key_source text,
  p_input_tokens integer,
  p_output_tokens integer,
  p_requests integer,
  p_preview boolean default false,
  p_service_tier text default null,
  p_team uuid default null
)
returns llm_private.weighed_attempt
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_line record;
  v_quota llm_private.quotas;
  v_counter llm_private.quota_counters;
  v_charge llm_private.attempt_cost;
  v_amount numeric;
  v_hold llm_private.reservations;
  v_weighed llm_private.weighed_attempt := row(null, p_requests, '{}');
begin
  for v_line in
    select q as quota, c as counter
    from unnest(p_quotas) as q
    left join unnest(p_counters) as c on q.id = c.quota_id
    where llm_private.quota_counts(q, p_task, p_provider, p_key_source, p_team)
    order by q.id
  loop
    v_quota := v_line.quota;
    v_counter := v_line.counter;
    continue when v_counter.quota_id is null;
    v_amount := case v_quota.unit
      when 'requests' then 1
      -- At least one token, because an estimate of 0 would pass a quota that is used up.
      when 'tokens' then greatest(p_input_tokens::bigint + p_output_tokens, 1)
      else 0
    end;
    if v_quota.unit = 'cost' then
      v_charge := case
        when p_preview then llm_private.cost_of(
          llm_private.find_price(
            case v_quota.set_by when 'user' then p_user end, p_provider, p_model, p_key_source,
            p_service_tier, now()
          ),
          p_input_tokens, 0, 0, p_output_tokens, 0, null
        )
        else llm_private.charge(
          p_user, p_provider, p_model, p_key_source, p_service_tier, now(), p_input_tokens, 0, 0, p_output_tokens, 0,
          null
        )
      end;
      if v_quota.set_by <> 'user' and not p_preview then
        v_charge.cost := v_charge.list_cost;
      end if;
      if v_charge.cost is not null then
        v_amount := v_charge.cost;
      elsif v_quota.enforced and v_quota.unpriced = 'refuse' then
        v_weighed.refusal := llm_private.quota_refusal(v_quota, 'model_unpriced', null, null, null);
        return v_weighed;
      end if;
    end if;
    -- An attempt that costs nothing is never beyond a quota of cost.
    if v_quota.enforced and v_amount > 0 then
      if v_quota.shared and v_quota.unit <> 'requests' and v_amount > llm_private.largest_request(v_quota) then
        v_weighed.refusal := llm_private.quota_refusal(v_quota, 'request_too_large', null, null, null);
        return v_weighed;
      end if;
      if v_counter.used + v_counter.reserved + v_amount > v_quota.amount then
        v_weighed.refusal := llm_private.quota_refusal(
          v_quota, 'quota_exceeded', v_counter.used, v_counter.reserved, v_counter.ends_at
        );
        return v_weighed;
      end if;
      -- Reserving ahead takes at most an eighth of what is left, so that it does not refuse requests of other processes.
      v_weighed.requests := greatest(
        1,
        least(
          v_weighed.requests, floor((v_quota.amount - v_counter.used - v_counter.reserved) / 8 / v_amount)
        )
      );
    end if;
    v_hold.quota_id := v_quota.id;
    v_hold.owner := v_counter.owner;
    v_hold.starts_at := v_counter.starts_at;
    v_hold.amount := v_amount;
    v_weighed.holds := v_weighed.holds || v_hold;
  end loop;
  return v_weighed;
end
$$;

comment on function llm_private.weigh_attempt is
'Whether these counters, of those of these quotas that count it, leave enough for an attempt (with a key of p_team, if
any): the first refusal, or the
reservation for it and for up to p_requests - 1 more. A quota without a counter only refuses.
p_preview: without caching the price, which writes.';

create function llm_private.countable_quotas(p_quotas llm_private.quotas[], p_runtime uuid)
returns bigint[]
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  -- Usage that users report themselves cannot use up a shared quota, and no key of a team pays for it.
  return array(
    select q.id from unnest(p_quotas) as q where not q.shared and q.team_id is null or p_runtime is not null
  );
end
$$;

comment on function llm_private.countable_quotas is
'The ids of those quotas that count attempts through a runtime or, without p_runtime, of the user''s own process.';

create function llm_private.take_reserved(
  p_user uuid, p_holder uuid, p_request_id uuid, p_attempt integer, p_quotas bigint[], p_requests integer
)
returns setof llm_private.reservations
language plpgsql
volatile
rows 5
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  delete from llm_private.reservations as r
  where
    r.user_id = p_user and r.request_id = p_request_id and r.holder = p_holder
    and (p_attempt is null or r.attempt = p_attempt) and r.quota_id = any(p_quotas)
    and r.requests <= coalesce(p_requests, r.requests)
  returning r.*;
  if p_requests is null then
    return;
  end if;
  return query
  with reduced as (
    update llm_private.reservations as r
    set requests = r.requests - p_requests
    where
      r.user_id = p_user and r.request_id = p_request_id and r.holder = p_holder
      and (p_attempt is null or r.attempt = p_attempt) and r.quota_id = any(p_quotas) and r.requests > p_requests
    returning r.*
  )

  select
    r.user_id, r.request_id, r.attempt, r.holder, r.quota_id, r.owner, r.starts_at, r.amount, p_requests,
    r.expires_at, r.counted
  from reduced as r;
end
$$;

comment on function llm_private.take_reserved is
'Take p_requests requests, or all of them, out of what a holder reserved in these quotas for an attempt or, without
p_attempt, for all attempts of a request. Returns what was taken; the caller has locked the counters and corrects them.';

create function llm_private.release(
  p_user uuid, p_holder uuid, p_request_id uuid, p_attempt integer, p_requests integer
)
returns boolean
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_quotas bigint[];
  v_owners uuid[];
begin
  select array_agg(r.quota_id), array_agg(r.owner) into v_quotas, v_owners from llm_private.reservations as r
  where
    r.user_id = p_user and r.request_id = p_request_id and r.holder = p_holder
    and (p_attempt is null or r.attempt = p_attempt);
  if v_quotas is null then
    return false;
  end if;
  perform llm_private.lock_counters(v_owners, v_quotas);
  update llm_private.quota_counters as c
  set reserved = c.reserved - t.reserved, used = c.used - t.counted
  from (
    select
      r.owner, r.quota_id, r.starts_at,
      coalesce(sum(r.amount * r.requests) filter (where not r.counted), 0) as reserved,
      coalesce(sum(r.amount * r.requests) filter (where r.counted), 0) as counted
    from llm_private.take_reserved(p_user, p_holder, p_request_id, p_attempt, v_quotas, p_requests) as r
    group by r.owner, r.quota_id, r.starts_at
  ) as t
  where c.owner = t.owner and c.quota_id = t.quota_id and c.starts_at = t.starts_at;
  return true;
end
$$;

comment on function llm_private.release is
'Free what this holder reserved for an attempt or, without p_attempt, for all attempts of a request; with p_requests,
only for so many requests. Returns whether there was anything.';

create function llm_private.begin_reserving(
  p_user uuid, p_runtime uuid, p_quotas bigint[], p_request_id uuid, p_attempt integer, p_team uuid default null
)
returns llm_private.quota_counters[]
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_holder constant uuid := coalesce(p_runtime, p_user);
  v_owners constant uuid[] := array[p_user, llm_private.operator_id(), p_team];
  v_held bigint[];
  v_holding uuid[];
  v_counters llm_private.quota_counters[];
begin
  -- Quotas that no longer apply but have a reservation of the attempt.
  select array_agg(r.quota_id), array_agg(r.owner) into v_held, v_holding from llm_private.reservations as r
  where r.user_id = p_user and r.request_id = p_request_id and r.attempt = p_attempt and r.holder = v_holder;
  v_counters := llm_private.open_counters(p_user, v_owners || v_holding, p_quotas || v_held);
  -- An attempt reserves again if its candidate could not be tried or the response was lost.
  if llm_private.release(p_user, v_holder, p_request_id, p_attempt, null) then
    v_counters := llm_private.lock_counters(v_owners, p_quotas);
  end if;
  return v_counters;
end
$$;

comment on function llm_private.begin_reserving is
'Lock the counters of these quotas, all that an attempt of this user with keys of p_team may need, and free what the
attempt reserved. Returns the counters.';

create function llm_private.reserve(
  p_user uuid, p_runtime uuid, p_request_id uuid, p_attempt integer, p_weighed llm_private.weighed_attempt
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_expires_at timestamptz;
  v_hold llm_private.reservations;
begin
  -- What is reserved ahead may be used until the end of the lease.
  select now() + make_interval(
    secs => o.reservation_seconds + case when p_weighed.requests > 1 then o.lease_seconds else 0 end
  ) into v_expires_at
  from llm_private.operator_settings as o;
  -- One by one, for the reason in open_counters().
  foreach v_hold in array p_weighed.holds loop
    insert into llm_private.reservations (
      user_id, request_id, attempt, holder, quota_id, owner, starts_at, amount, requests, expires_at
    )
    values (
      p_user, p_request_id, p_attempt, coalesce(p_runtime, p_user), v_hold.quota_id, v_hold.owner, v_hold.starts_at,
      v_hold.amount, p_weighed.requests, v_expires_at
    );
    update llm_private.quota_counters as c
    set reserved = c.reserved + v_hold.amount * p_weighed.requests
    where c.owner = v_hold.owner and c.quota_id = v_hold.quota_id;
  end loop;
end
$$;

comment on function llm_private.reserve is
'Reserve what weigh_attempt() returned without a refusal. The caller has locked the counters.';

create function llm_private.has_reservation(p_attempt llm_private.attempt)
returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return exists (
    select from llm_private.reservations as r
    where
      r.user_id = p_attempt.user_id and r.request_id = coalesce(p_attempt.reservation, p_attempt.request_id)
      and r.attempt = p_attempt.attempt and r.holder = p_attempt.recorder
  );
end
$$;

comment on function llm_private.has_reservation is
'Whether something is reserved for an attempt, perhaps in a quota that does not apply to it.';

create function llm_private.lock_settled(p_attempts llm_private.attempt[])
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  perform from llm_private.quota_counters as c
  inner join (
    select llm_private.counter_owner(q, u.user_id) as owner, q.id as quota_id
    from (
      select distinct a.user_id, nullif(a.recorder, a.user_id) as runtime, a.team_id from unnest(p_attempts) as a
    ) as u
    cross join lateral llm_private.binding_quotas(u.user_id, u.team_id) as q
    where not q.shared or u.runtime is not null
    union
    select r.owner, r.quota_id
    from unnest(p_attempts) as a
    inner join llm_private.reservations as r
      on a.user_id = r.user_id and coalesce(a.reservation, a.request_id) = r.request_id and a.attempt = r.attempt
      and a.recorder = r.holder
  ) as n on c.quota_id = n.quota_id and c.owner = n.owner
  order by c.quota_id, c.owner
  for update of c;
end
$$;

comment on function llm_private.lock_settled is
'Lock all counters that settling these attempts of several users may need, in the order of locks.';

create function llm_private.settle(p_attempt llm_private.attempt)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_user constant uuid := p_attempt.user_id;
  v_trusted constant boolean := p_attempt.recorder <> p_attempt.user_id;
  v_reserved_by constant uuid := coalesce(p_attempt.reservation, p_attempt.request_id);
  v_answered constant boolean := p_attempt.outcome <> 'failed';
  v_tokens constant bigint := case
    when not v_answered or p_attempt.input_tokens is not null or p_attempt.output_tokens is not null
      then coalesce(p_attempt.input_tokens, 0)::bigint + coalesce(p_attempt.output_tokens, 0)
  end;
  v_counting constant bigint[] := array(
    select m.id
    from llm_private.matching_quotas(
      v_user, p_attempt.task, p_attempt.provider, p_attempt.key_source, p_attempt.team_id
    ) as m
    -- Usage that users report themselves cannot use up a shared quota.
    where not m.shared or v_trusted
  );
  v_quotas bigint[];
  v_owners uuid[];
  v_line record;
  v_used numeric;
begin
  -- The reservation may be in quotas that do not count the attempt, because its candidate was another one.
  select
    v_counting || array_agg(r.quota_id),
    array[v_user, llm_private.operator_id(), p_attempt.team_id] || array_agg(r.owner)
  into v_quotas, v_owners
  from llm_private.reservations as r
  where
    r.user_id = v_user and r.request_id = v_reserved_by and r.attempt = p_attempt.attempt
    and r.holder = p_attempt.recorder;
  perform llm_private.lock_counters(v_owners, v_quotas);
  -- A missing counter will be opened with the recorded usage, which already includes this attempt.
  for v_line in
    select
      q as quota, c.owner, c.starts_at, coalesce(h.amount, 0) as held,
      h.starts_at = c.starts_at and not h.counted as reserved, h.starts_at = c.starts_at and h.counted as counted,
      -- An attempt from a past period does not count in the current one. It is from the period of its reservation or, if
      -- another request reserved for it, from the period in which it began.
      q.id = any(v_counting) and c.ends_at > now() and case
        when h.starts_at is null or h.starts_at <> c.starts_at and p_attempt.reservation is not null
          then p_attempt.requested_at >= c.starts_at
        else h.starts_at = c.starts_at
      end as counts
    from llm_private.quota_counters as c
    inner join llm_private.quotas as q on c.quota_id = q.id
    left join llm_private.take_reserved(
      v_user, p_attempt.recorder, v_reserved_by, p_attempt.attempt, v_quotas, 1
    ) as h on c.quota_id = h.quota_id
    where c.quota_id = any(v_quotas) and c.owner = any(v_owners)
  loop
    -- Usage that the provider did not report counts as the reservation, the most that it can be.
    v_used := case
      when v_line.counts is not true then 0
      when (v_line.quota).unit = 'requests' then v_answered::integer
      when (v_line.quota).unit = 'tokens' then coalesce(v_tokens, v_line.held)
      else coalesce(
        case (v_line.quota).set_by when 'user' then p_attempt.cost else p_attempt.list_cost end,
        case when p_attempt.unreported then v_line.held else 0 end
      )
    end;
    update llm_private.quota_counters as c
    set
      used = c.used + v_used - case when v_line.counted then v_line.held else 0 end,
      reserved = c.reserved - case when v_line.reserved then v_line.held else 0 end
    where c.owner = v_line.owner and c.quota_id = (v_line.quota).id
    returning c.used into v_used;
    if v_line.counts then
      perform llm_private.alert_quota(v_line.quota, v_user, v_line.starts_at, v_used);
    end if;
  end loop;
end
$$;

comment on function llm_private.settle is
'Count an attempt''s usage in each quota that counts it, and free what was reserved for it.';

create function llm_private.check_reservation(
  p_request_id uuid, p_attempt integer, p_input_tokens integer, p_output_tokens integer, p_requests integer
)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  -- One condition for the usual case, as in check_candidate().
  if (
    substr(p_request_id::text, 15, 1) = '7'
    and llm_private.uuid_v7_time(p_request_id) between now() - interval '1 day' and now() + interval '10 minutes'
    and p_attempt between 1 and 1000
    and coalesce(p_input_tokens, 0) >= 0 and coalesce(p_output_tokens, 0) >= 0
    and p_requests between 1 and 1000
  ) is not true then
    perform
      llm_private.check_value(
        'invalid_argument',
        substr(p_request_id::text, 15, 1) = '7'
        and llm_private.uuid_v7_time(p_request_id) between now() - interval '1 day' and now() + interval '10 minutes',
        'p_request_id', 'where a quota applies to the user, a UUIDv7 from when the request began'
      ),
      llm_private.check_value('invalid_argument', p_attempt between 1 and 1000, 'p_attempt', '1 to 1000'),
      llm_private.check_value(
        'invalid_argument', coalesce(p_input_tokens, 0) >= 0 and coalesce(p_output_tokens, 0) >= 0,
        'p_input_tokens or p_output_tokens', 'null, or 0 or more'
      ),
      llm_private.check_value('invalid_argument', p_requests between 1 and 1000, 'p_requests', '1 to 1000');
  end if;
end
$$;

comment on function llm_private.check_reservation is
'Error invalid_argument unless these arguments can be reserved for.';

create function llm_private.priced_tier(p_service_tier text)
returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  if length(p_service_tier) > 32 or p_service_tier !~ '^[a-z0-9_-]+$' then
    perform llm_private.fail(
      400, 'invalid_argument', 'p_service_tier has an invalid value.',
      'Allowed: null, or 1 to 32 lowercase letters, digits, _ and -.'
    );
  end if;
  return case when p_service_tier not in ('auto', 'default', 'standard', 'on_demand') then p_service_tier end;
end
$$;

comment on function llm_private.priced_tier is
'The service tier at whose price a request is reserved for and recorded; null for the names of the standard tier. Error
invalid_argument.';

create function llm_private.check_candidate(p_task text, p_provider text, p_model text, p_key_source text)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  -- One condition for the usual case, because this is on the path of metered requests.
  if (
    (p_task is null or length(p_task) between 1 and 64)
    and length(p_provider) between 1 and 32
    and length(p_model) between 1 and 200 and p_model !~ '[^!-~]'
    and p_key_source in ('user', 'team', 'operator')
  ) is not true then
    perform
      llm_private.check_value(
        'invalid_argument', p_task is null or length(p_task) between 1 and 64, 'p_task', 'null, or 1 to 64 characters'
      ),
      llm_private.check_value(
        'invalid_argument', length(p_provider) between 1 and 32, 'p_provider', 'the id of a provider'
      ),
      llm_private.check_value(
        'invalid_argument', length(p_model) between 1 and 200 and p_model !~ '[^!-~]', 'p_model',
        'a model name of 1 to 200 characters, no spaces'
      ),
      llm_private.check_value(
        'invalid_argument', p_key_source in ('user', 'team', 'operator'), 'p_key_source', 'user, team or operator'
      );
  end if;
end
$$;

comment on function llm_private.check_candidate is
'Error invalid_argument unless these arguments can name a candidate.';

create function llm_private.require_runtime(p_runtime uuid, p_key_source text)
returns void
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  -- Only runtimes get these keys, so a user who names them has invented their use.
  if p_key_source in ('team', 'operator') and p_runtime is null then
    perform llm_private.fail(
      403, 'runtime_required', 'Only a registered runtime can use a key of the operator or a team.',
      'Send the runtime''s secret in the header x-llm-runtime.'
    );
  end if;
end
$$;

comment on function llm_private.require_runtime is
'Error runtime_required for a key of the operator or a team without a runtime.';

create function llm_private.reserve_attempt(
  p_request_id uuid,
  p_attempt integer,
  p_task text,
  p_provider text,
  p_model text,
  p_key_source text,
  p_input_tokens integer,
  p_output_tokens integer,
  p_service_tier text,
  p_team_id uuid
)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_user constant uuid := llm_private.require_session();
  v_runtime constant uuid := llm_private.current_runtime();
  v_tier constant text := llm_private.priced_tier(p_service_tier);
  v_quotas llm_private.quotas[];
  v_weighed llm_private.weighed_attempt;
begin
  perform llm_private.require_plain_call('reserve_llm_attempt');
  perform llm_private.check_candidate(p_task, p_provider, p_model, p_key_source);
  perform llm_private.require_runtime(v_runtime, p_key_source);
  if p_team_id is not null or p_key_source = 'team' then
    perform llm_private.check_value(
      'invalid_argument', (p_key_source = 'team') = (p_team_id is not null), 'p_team_id',
      'the id of the team whose key pays if p_key_source is team, else null'
    );
    perform llm_private.require_team_role(p_team_id, v_user, '{owner,admin,member}');
  end if;
  perform llm_private.check_reservation(p_request_id, p_attempt, p_input_tokens, p_output_tokens, 1);
  -- All quotas, because another reservation of this attempt may be in any of them.
  v_quotas := array(select q from llm_private.binding_quotas(v_user, p_team_id) as q);
  v_weighed := llm_private.weigh_attempt(
    v_user, v_quotas,
    llm_private.begin_reserving(
      v_user, v_runtime, llm_private.countable_quotas(v_quotas, v_runtime), p_request_id, p_attempt, p_team_id
    ),
    p_task, p_provider, llm_private.canonical_model(p_provider, p_model), p_key_source, coalesce(p_input_tokens, 0),
    coalesce(p_output_tokens, (select o.unbounded_output_tokens from llm_private.operator_settings as o)), 1,
    p_service_tier => v_tier, p_team => p_team_id
  );
  if v_weighed.refusal is not null then
    perform llm_private.refuse(v_weighed.refusal);
  end if;
  perform llm_private.reserve(v_user, v_runtime, p_request_id, p_attempt, v_weighed);
end
$$;

comment on function llm_private.reserve_attempt is
'Reserve for the next candidate of a request. Errors: see reserve_llm_attempt().';

create function llm_private.release_reserved(p_user uuid, p_holder uuid, p_request_id uuid, p_requests integer)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  -- Excludes opening a counter meanwhile, which would sum these reservations.
  perform pg_advisory_xact_lock_shared(llm_private.usage_lock(p_user));
  perform llm_private.release(p_user, p_holder, p_request_id, null, p_requests);
end
$$;

comment on function llm_private.release_reserved is
'Free what this holder reserved for a request, all of it or for p_requests requests.';

create function llm_private.release_request(p_request_id uuid, p_requests integer)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_user constant uuid := llm_private.require_user();
begin
  perform llm_private.require_plain_call('release_llm_request');
  perform llm_private.check_value(
    'invalid_argument', p_requests is null or p_requests between 1 and 1000, 'p_requests', 'null, or 1 to 1000'
  );
  perform llm_private.release_reserved(
    v_user, coalesce(llm_private.current_runtime(), v_user), p_request_id, p_requests
  );
end
$$;

comment on function llm_private.release_request is 'See release_llm_request().';

-- Listing and changing quotas -----------------------------------------------------------------------------------------

create function llm_private.list_team_quotas(p_team uuid, p_owner uuid, p_user_id uuid)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_operator constant boolean := p_owner = llm_private.operator_id();
  v_user constant uuid := coalesce(
    llm_private.reported_user(p_owner, p_user_id, p_team), case when not v_operator then p_owner end
  );
  -- As in reports: what all members use together, only owners and admins see.
  v_all constant boolean := v_operator or llm_private.team_role(p_team, p_owner) in ('owner', 'admin');
begin
  return (
    select coalesce(
      jsonb_agg(
        case
          when case when q.shared then v_all else v_user is not null end then llm_private.quota_status(q, v_user)
          else llm_private.quota_json(q)
        end order by q.id
      ), '[]'
    )
    from llm_private.quotas as q
    where q.team_id = p_team
  );
end
$$;

comment on function llm_private.list_team_quotas is
'The quotas of a team, with the figures that the caller may see. Error team_not_found.';

create function llm_private.list_quotas(p_user_id uuid, p_team_id uuid)
returns jsonb
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_owner constant uuid := llm_private.acting_owner();
  v_user constant uuid := case when v_owner = llm_private.operator_id() then p_user_id else v_owner end;
begin
  if p_team_id is not null then
    return llm_private.list_team_quotas(p_team_id, v_owner, p_user_id);
  elsif v_user is null then
    return (
      select coalesce(
        jsonb_agg(
          case when q.shared then llm_private.quota_status(q, v_owner) else llm_private.quota_json(q) end order by q.id
        ), '[]'
      )
      from llm_private.quotas as q
    );
  end if;
  -- Only the operator sees the figures of a shared quota.
  return (
    select coalesce(
      jsonb_agg(
        case
          when q.shared and v_user = v_owner then llm_private.quota_json(q)
          else llm_private.quota_status(q, v_user)
        end order by q.id
      ), '[]'
    )
    from llm_private.binding_quotas(v_user) as q
  );
end
$$;

comment on function llm_private.list_quotas is 'See list_llm_quotas().';

create function llm_private.forget_counters(p_quotas bigint[], p_owner uuid)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  perform from llm_private.quota_counters as c
  where c.quota_id = any(p_quotas) and (p_owner is null or c.owner = p_owner)
  order by c.quota_id, c.owner
  for update;
  delete from llm_private.quota_counters as c
  where c.quota_id = any(p_quotas) and (p_owner is null or c.owner = p_owner);
end
$$;

comment on function llm_private.forget_counters is
'Drop the counters of these quotas, or only one user''s. A quota that a more specific one replaced did not count
meanwhile, so its counter is reopened from the recorded usage.';

create function llm_private.check_quota(p_quota jsonb, p_allowed text[])
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_unknown text;
begin
  perform llm_private.check_value('invalid_quota', jsonb_typeof(p_quota) = 'object', 'p_quota', 'a JSON object');
  select k into v_unknown from jsonb_object_keys(p_quota) as k where k <> all(p_allowed) limit 1;
  perform
    llm_private.check_value(
      'invalid_quota', v_unknown is null, 'A field of the quota', array_to_string(p_allowed, ', ')
    ),
    llm_private.check_value(
      'invalid_quota',
      jsonb_typeof(p_quota -> 'limit') = 'number' and p_quota ->> 'limit' ~ '^[0-9]{1,15}(\.[0-9]{1,12})?$', 'limit',
      'a number, 0 or more'
    ),
    llm_private.check_value(
      'invalid_quota', p_quota ->> 'unit' in ('requests', 'tokens', 'cost'), 'unit',
      'requests, tokens or cost (US dollars)'
    ),
    llm_private.check_value(
      'invalid_quota', p_quota ->> 'period' in ('minute', 'day', 'month', 'lifetime'), 'period',
      'minute, day, month or lifetime'
    ),
    llm_private.check_value(
      'invalid_quota', coalesce(p_quota ->> 'clock', 'utc') in ('utc', 'user'), 'clock', 'utc or user'
    ),
    llm_private.check_value(
      'invalid_quota', coalesce(jsonb_typeof(p_quota -> 'enforced'), 'null') in ('boolean', 'null'), 'enforced',
      'true or false'
    ),
    llm_private.check_value(
      'invalid_quota', coalesce(p_quota ->> 'unpriced', 'refuse') in ('allow', 'refuse'), 'unpriced',
      'allow or refuse'
    );
end
$$;

comment on function llm_private.check_quota is
'Error invalid_quota for a field outside p_allowed, and for a limit, unit, period, clock, enforced or unpriced that is
not allowed.';

create function llm_private.check_quota_scope(p_quota jsonb)
returns void
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform
    llm_private.check_value(
      'invalid_quota', coalesce(p_quota ->> 'key_source', 'user') in ('user', 'team', 'operator'), 'key_source',
      'user, team, operator or null'
    ),
    llm_private.check_value(
      'invalid_quota',
      p_quota ->> 'provider' is null
      or exists (select from public.llm_providers as p where p.id = p_quota ->> 'provider'),
      'provider', 'a provider of the catalog, or null'
    ),
    llm_private.check_value(
      'invalid_quota', p_quota ->> 'task' is null or p_quota ->> 'task' ~ '^[^[:cntrl:]]{1,64}$', 'task',
      'a task of 1 to 64 printable characters, or null'
    ),
    llm_private.check_value(
      'invalid_quota', coalesce(jsonb_typeof(p_quota -> 'shared'), 'null') in ('boolean', 'null'), 'shared',
      'true or false'
    ),
    llm_private.check_value(
      'invalid_quota', p_quota ->> 'group' is null or p_quota ->> 'group' ~ '^[^[:cntrl:]]{1,64}$', 'group',
      'a group of 1 to 64 printable characters, or null'
    ),
    llm_private.check_value(
      'invalid_quota',
      p_quota ->> 'user_id' is null
      or exists (select from auth.users as u where u.id::text = lower(p_quota ->> 'user_id')),
      'user_id', 'the id of a user, or null'
    ),
    llm_private.check_value(
      'invalid_quota',
      (p_quota ->> 'user_id' is not null)::integer + (p_quota ->> 'group' is not null)::integer
      + (p_quota ->> 'team_id' is not null)::integer <= 1,
      'The scope', 'one of user_id, group and team_id'
    ),
    llm_private.check_value(
      'invalid_quota', p_quota ->> 'team_id' is null or coalesce(p_quota ->> 'key_source', 'team') = 'team',
      'key_source', 'team or null for a quota of a team'
    ),
    llm_private.check_value(
      'invalid_quota',
      p_quota -> 'shared' is distinct from 'true'
      or p_quota ->> 'user_id' is null and coalesce(p_quota ->> 'clock', 'utc') = 'utc',
      'shared', 'true only without a user_id and with the clock utc'
    );
end
$$;

comment on function llm_private.check_quota_scope is
'Error invalid_quota unless what a quota counts (key_source, provider, task) and whom it binds (user_id, group, shared)
exist and fit together.';

create function llm_private.save_quota(p_quota jsonb, p_set_by text, p_user uuid, p_team uuid default null)
returns llm_private.quotas
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_row llm_private.quotas;
begin
  insert into llm_private.quotas (
    set_by, user_id, group_name, shared, key_source, provider, task, unit, period, clock, amount, enforced, unpriced,
    team_id
  )
  values (
    p_set_by, p_user, p_quota ->> 'group', coalesce((p_quota ->> 'shared')::boolean, false),
    case when p_team is null then p_quota ->> 'key_source' else 'team' end,
    p_quota ->> 'provider', p_quota ->> 'task', p_quota ->> 'unit', p_quota ->> 'period',
    coalesce(p_quota ->> 'clock', case p_set_by when 'user' then 'user' else 'utc' end),
    (p_quota ->> 'limit')::numeric, coalesce((p_quota ->> 'enforced')::boolean, true),
    coalesce(p_quota ->> 'unpriced', 'refuse'), p_team
  )
  on conflict (
    set_by, unit, period, shared,
    coalesce(user_id, team_id, '00000000-0000-0000-0000-000000000000'), coalesce(group_name, ''),
    coalesce(key_source, ''), coalesce(provider, ''), coalesce(task, '')
  ) do update set
    clock = excluded.clock, amount = excluded.amount, enforced = excluded.enforced, unpriced = excluded.unpriced
  returning * into v_row;
  return v_row;
end
$$;

comment on function llm_private.save_quota is 'Insert a quota, or update the quota with the same scope.';

create function llm_private.set_own_quota(p_quota jsonb, p_user uuid)
returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_row llm_private.quotas;
begin
  perform llm_private.ensure_settings(p_user);
  -- Locks the usage before the quota, as the order of locks asks, and one user's changes follow each other.
  perform llm_private.lock_usage(p_user);
  v_row := llm_private.save_quota(p_quota, 'user', p_user);
  perform llm_private.check_value(
    'invalid_quota', (select count(*) <= 50 from llm_private.quotas as q where q.user_id = p_user and q.set_by = 'user'),
    'The number of quotas', 'at most 50 of your own'
  );
  perform llm_private.audit_change(
    p_user, 'quota_set', v_row.provider, p_runtime => llm_private.current_runtime(),
    p_detail => llm_private.quota_json(v_row)
  );
  perform llm_private.open_counters(p_user, array[p_user], array[v_row.id]);
  return llm_private.quota_status(v_row, p_user);
end
$$;

comment on function llm_private.set_own_quota is 'Set a user''s own quota. Error invalid_quota beyond 50 quotas.';

create function llm_private.lock_team_usage(p_team uuid)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  -- Excludes its removal meanwhile, which would leave the quota.
  perform from llm_private.teams as t where t.id = p_team and t.removed_at is null for share;
  if not found then
    perform llm_private.fail(404, 'team_not_found', 'Team not found.', 'list_llm_teams() returns the teams.');
  end if;
  -- Locks the usage before the quota, as the order of locks asks, and a team's changes follow each other.
  perform llm_private.lock_usage(p_team);
end
$$;

comment on function llm_private.lock_team_usage is
'Lock the usage of a team that is not removed, to set a quota. Error team_not_found.';

create function llm_private.open_shared_counter(p_quota llm_private.quotas)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_owner constant uuid := llm_private.counter_owner(p_quota, null);
begin
  -- Opened when the quota is set, so that no user's request waits for the sum over all users; recording waits for it.
  perform llm_private.open_counter(p_quota, v_owner);
  perform llm_private.open_counters(null, array[v_owner], array[p_quota.id]);
end
$$;

comment on function llm_private.open_shared_counter is
'Open the counter of a shared quota, or bring it up to date. The caller has locked the usage.';

create function llm_private.set_team_quota(p_quota jsonb, p_team uuid)
returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_user constant uuid := llm_private.require_session();
  v_row llm_private.quotas;
begin
  perform llm_private.open_team(p_team, v_user, '{owner,admin}');
  perform llm_private.lock_team_usage(p_team);
  v_row := llm_private.save_quota(p_quota, 'team', null, p_team);
  perform llm_private.check_value(
    'invalid_quota',
    (select count(*) <= 50 from llm_private.quotas as q where q.team_id = p_team and q.set_by = 'team'),
    'The number of quotas', 'at most 50 of a team'
  );
  perform llm_private.audit_team(p_team, 'quota_set', v_user, llm_private.quota_json(v_row));
  if v_row.shared then
    perform llm_private.open_shared_counter(v_row);
  end if;
  return llm_private.quota_status(v_row, v_user);
end
$$;

comment on function llm_private.set_team_quota is
'Set a quota of a team, for an owner or admin. Errors: those of require_session() and open_team(), invalid_quota beyond
50 quotas.';

create function llm_private.operator_quota(p_quota jsonb)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select llm_private.quota_json(q) from llm_private.quotas as q
    where
      q.set_by = 'operator' and q.unit = p_quota ->> 'unit' and q.period = p_quota ->> 'period'
      and q.shared = coalesce((p_quota ->> 'shared')::boolean, false)
      and q.user_id is not distinct from (p_quota ->> 'user_id')::uuid
      and q.team_id is not distinct from (p_quota ->> 'team_id')::uuid
      and q.group_name is not distinct from p_quota ->> 'group'
      and q.key_source is not distinct from coalesce(
        p_quota ->> 'key_source', case when q.team_id is not null then 'team' end
      )
      and q.provider is not distinct from p_quota ->> 'provider'
      and q.task is not distinct from p_quota ->> 'task'
  );
end
$$;

comment on function llm_private.operator_quota is 'The operator''s quota with the scope of p_quota; null without one.';

create function llm_private.audit_operator_quota(p_action text, p_old jsonb, p_quota llm_private.quotas)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_quota constant jsonb := llm_private.quota_json(p_quota);
begin
  perform llm_private.audit_operator(
    p_action, p_old, case p_action when 'quota_set' then v_quota end, p_quota.provider,
    p_detail => jsonb_build_object('quota', v_quota)
  );
end
$$;

comment on function llm_private.audit_operator_quota is
'Append a quota that an administrator set or removed to the operator''s audit log.';

create function llm_private.set_operator_quota(p_quota jsonb)
returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_old constant jsonb := llm_private.operator_quota(p_quota);
  v_team constant uuid := (p_quota ->> 'team_id')::uuid;
  v_row llm_private.quotas;
begin
  -- Locks the usage before the quota, as the order of locks asks.
  if v_team is not null then
    perform llm_private.lock_team_usage(v_team);
  elsif p_quota -> 'shared' = 'true' then
    perform llm_private.lock_usage(llm_private.operator_id());
  end if;
  v_row := llm_private.save_quota(p_quota, 'operator', (p_quota ->> 'user_id')::uuid, v_team);
  if v_team is null then
    perform llm_private.audit_operator_quota('quota_set', v_old, v_row);
  else
    perform llm_private.audit_team(v_team, 'quota_set', llm_private.operator_id(), llm_private.quota_json(v_row));
  end if;
  if not v_row.shared then
    return llm_private.quota_json(v_row);
  end if;
  perform llm_private.open_shared_counter(v_row);
  return llm_private.quota_status(v_row, null);
end
$$;

comment on function llm_private.set_operator_quota is 'Set a quota of the operator''s. Error team_not_found.';

create function llm_private.set_quota(p_quota jsonb)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_owner constant uuid := llm_private.acting_owner();
  v_operator constant boolean := v_owner = llm_private.operator_id();
  v_team uuid;
begin
  perform llm_private.require_plain_call('set_llm_quota');
  perform llm_private.check_size('p_quota', p_quota, 4, 'invalid_quota');
  perform llm_private.check_quota(
    p_quota,
    '{limit,unit,period,key_source,provider,task,clock,enforced,unpriced,team_id}'::text[]
    || case when v_operator then '{user_id,group}'::text[] else '{}' end
    || case when v_operator or p_quota ->> 'team_id' is not null then '{shared}'::text[] else '{}' end
  );
  perform llm_private.check_value(
    'invalid_quota', p_quota ->> 'team_id' is null or p_quota ->> 'team_id' ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$', 'team_id',
    'the id of a team, or null'
  );
  perform llm_private.check_quota_scope(p_quota);
  v_team := (p_quota ->> 'team_id')::uuid;
  return case
    when v_operator then llm_private.set_operator_quota(p_quota)
    when v_team is not null then llm_private.set_team_quota(p_quota, v_team)
    else llm_private.set_own_quota(p_quota, v_owner)
  end;
end
$$;

comment on function llm_private.set_quota is 'See set_llm_quota().';

create function llm_private.remove_quota(p_id bigint)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_owner constant uuid := llm_private.acting_owner();
  v_operator constant boolean := v_owner = llm_private.operator_id();
  v_team uuid;
  v_row llm_private.quotas;
begin
  perform llm_private.require_plain_call('remove_llm_quota');
  -- Read first, because a team is locked before its quotas, and strangers get the same error for any id.
  select q.team_id into v_team from llm_private.quotas as q
  where q.id = p_id and q.set_by = 'team' and llm_private.team_role(q.team_id, v_owner) in ('owner', 'admin');
  if found then
    perform llm_private.open_team(v_team, llm_private.require_session(), '{owner,admin}');
  end if;
  select q.* into v_row from llm_private.quotas as q
  where
    q.id = p_id and (
      v_operator and q.set_by = 'operator' or q.set_by = 'user' and q.user_id = v_owner
      or q.set_by = 'team' and q.team_id = v_team
    )
  for update;
  if not found then
    perform llm_private.fail(
      404, 'not_found', 'Quota not found among those that you set.', 'list_llm_quotas() returns quotas with who set them.'
    );
  end if;
  perform llm_private.forget_counters(
    array(
      select q.id from llm_private.quotas as q
      where
        q.id = p_id
        or not v_row.shared and not q.shared and v_operator and q.set_by = 'operator' and q.unit = v_row.unit
        and v_row.team_id is null and q.team_id is null
        and q.period = v_row.period and q.key_source is not distinct from v_row.key_source
        and q.provider is not distinct from v_row.provider and q.task is not distinct from v_row.task
    ),
    v_row.user_id
  );
  delete from llm_private.quotas where id = p_id;
  delete from llm_private.reservations where quota_id = p_id;
  if v_row.team_id is not null then
    perform llm_private.audit_team(
      v_row.team_id, 'quota_removed', v_owner, llm_private.quota_json(v_row), p_limited => false
    );
  elsif v_operator then
    perform llm_private.audit_operator_quota('quota_removed', llm_private.quota_json(v_row), v_row);
  else
    perform llm_private.audit(
      v_owner, 'quota_removed', v_row.provider, p_runtime => llm_private.current_runtime(),
      p_detail => llm_private.quota_json(v_row)
    );
  end if;
end
$$;

comment on function llm_private.remove_quota is 'See remove_llm_quota().';

create function llm_private.remove_team_quotas(p_team uuid)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_quotas bigint[];
begin
  select array_agg(q.id) into v_quotas
  from (
    select t.id from llm_private.quotas as t where t.team_id = p_team order by t.id for update
  ) as q;
  if v_quotas is null then
    return;
  end if;
  perform llm_private.forget_counters(v_quotas, null);
  delete from llm_private.quotas where id = any(v_quotas);
  delete from llm_private.reservations where quota_id = any(v_quotas);
end
$$;

comment on function llm_private.remove_team_quotas is
'Remove the quotas of a team that is removed, the operator''s for it too. The caller has marked the team as removed.';

create function llm_private.set_user_group(p_user_id uuid, p_group text)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_old constant text := (select g.group_name from llm_private.user_groups as g where g.user_id = p_user_id);
begin
  perform llm_private.require_plain_call('set_llm_user_group');
  perform llm_private.check_length('p_group', p_group, 64);
  perform llm_private.check_value(
    'invalid_argument', exists (select from auth.users as u where u.id = p_user_id), 'p_user_id', 'the id of a user'
  );
  perform llm_private.check_value(
    'invalid_argument', p_group is null or p_group ~ '^[^[:cntrl:]]{1,64}$', 'p_group',
    'null, or 1 to 64 printable characters'
  );
  delete from llm_private.user_groups where user_id = p_user_id and p_group is null;
  insert into llm_private.user_groups (user_id, group_name)
  select p_user_id, p_group where p_group is not null
  on conflict (user_id) do update set group_name = excluded.group_name;
  -- Other quotas apply from now on.
  perform llm_private.forget_counters(
    array(select q.id from llm_private.quotas as q where q.set_by = 'operator' and not q.shared and q.team_id is null),
    p_user_id
  );
  perform llm_private.audit_operator(
    'user_group_set', jsonb_build_object('group', v_old), jsonb_build_object('group', p_group),
    p_detail => jsonb_build_object('user_id', p_user_id)
  );
end
$$;

comment on function llm_private.set_user_group is 'See set_llm_user_group().';

-- Public RPCs ---------------------------------------------------------------------------------------------------------

create function public.list_llm_quotas(p_user_id uuid default null, p_team_id uuid default null)
returns jsonb
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select llm_private.list_quotas(p_user_id, p_team_id)
$$;

comment on function public.list_llm_quotas is
'The quotas that apply to the caller, with used, reserved and resets_at. For administrators: the quotas that apply to
p_user_id or, without it, all quotas. With p_team_id, the quotas of the team, for its members and administrators: a member
gets their own figures in quotas for each member, owners and admins also those of shared quotas, and of the member p_user_id.
Errors: not_signed_in, team_not_found.';

create function public.set_llm_quota(p_quota jsonb)
returns jsonb
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select llm_private.set_quota(p_quota)
$$;

comment on function public.set_llm_quota is
'Set a quota: users for themselves, administrators for a user_id, a group, a team_id or everyone, owners and admins of a
team for its team_id:
{"limit": 20, "unit": "cost", "period": "month", "provider": "openai", "key_source": "user"}. Updates the quota with the
same scope, if it exists.
unit: requests, tokens or cost (US dollars). period: minute, day, month or lifetime. key_source, provider, task: count only
matching attempts. clock: days and months begin in UTC (utc) or in the user''s time zone (user, the default of users'' own
quotas). enforced: true (default) refuses attempts beyond the limit, false is alert-only. unpriced: whether an enforced
quota of cost refuses (default) or allows unpriced models. shared: true makes all users in the scope share one limit.
A quota of a team counts attempts with the team''s keys: of the team as a whole with shared, else of each member.
Errors: not_signed_in, invalid_quota, too_many_changes; for a team also account_banned, account_suspended, session_ended,
team_not_found, team_role_required, second_factor_required, second_factor_unknown.';

create function public.remove_llm_quota(p_id bigint)
returns void
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select llm_private.remove_quota(p_id)
$$;

comment on function public.remove_llm_quota is
'Remove a quota: users their own, owners and admins of a team the team''s, administrators the operator''s.
Errors: not_signed_in, not_found; for a team also account_banned, session_ended, second_factor_required,
second_factor_unknown.';

create function public.set_llm_user_group(p_user_id uuid, p_group text)
returns void
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select llm_private.set_user_group(p_user_id, p_group)
$$;

comment on function public.set_llm_user_group is
'For administrators: put a user into a group, for which quotas can be set; null: into no group.
Error invalid_argument.';

create function public.reserve_llm_attempt(
  p_request_id uuid,
  p_attempt integer,
  p_provider text,
  p_model text,
  p_key_source text,
  p_task text default null,
  p_input_tokens integer default null,
  p_output_tokens integer default null,
  p_service_tier text default null,
  p_team_id uuid default null
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  perform llm_private.reserve_attempt(
    p_request_id, p_attempt, p_task, p_provider, p_model, p_key_source, p_input_tokens, p_output_tokens, p_service_tier,
    p_team_id
  );
end
$$;

comment on function public.reserve_llm_attempt is
'Reserve the most that the next candidate of a metered route may use, before it is tried; replaces an earlier
reservation of the attempt. resolve_llm_route() reserves for the first candidate, and record_llm_usage() settles the reservation.
p_service_tier: the requested tier, at whose price a quota of cost reserves. p_team_id: the candidate''s team, if its key is
a team''s.
Errors: not_signed_in, account_banned, account_suspended, session_ended, runtime_unknown, invalid_argument, quota_exceeded,
model_unpriced, request_too_large, runtime_required, team_not_found.';

create function public.release_llm_request(p_request_id uuid, p_requests integer default null)
returns void
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select llm_private.release_request(p_request_id, p_requests)
$$;

comment on function public.release_llm_request is
'Free the caller''s reservations for a request that does not run. With p_requests, only for so many of the requests that
resolve_llm_route() reserved for. Errors: not_signed_in, runtime_unknown, invalid_argument.';
