-- Quotas: how much may be used in a period, for whom, and of what.
--
-- A quota counts the attempts that match it (a key source, a provider, a task; all of them where it names none) in
-- requests, tokens or US dollars. An administrator sets quotas for one user, a group or everybody: of those that differ
-- only in whom they bind, the closest one holds; what several share is kept beside them. A user may set stricter ones
-- for themselves. An enforced quota refuses, an alert-only one warns.

create table llm_private.user_groups (
  user_id uuid primary key references auth.users (id) on delete cascade,
  group_name text not null check (group_name ~ '^[^[:cntrl:]]{1,64}$')
);

comment on table llm_private.user_groups is 'The group of a user, for quotas; a user has at most one.';

create table llm_private.quotas (
  id bigint generated always as identity primary key,
  set_by text not null check (set_by in ('operator', 'user')),
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
  created_at timestamptz not null default now()
);

create index quotas_user on llm_private.quotas (user_id);
create index quotas_provider on llm_private.quotas (provider);
create unique index quotas_once on llm_private.quotas (
  set_by, unit, period, shared,
  coalesce(user_id, '00000000-0000-0000-0000-000000000000'), coalesce(group_name, ''),
  coalesce(key_source, ''), coalesce(provider, ''), coalesce(task, '')
);

comment on table llm_private.quotas is 'Who may use how much; changed by set_llm_quota() and remove_llm_quota() only.';
comment on column llm_private.quotas.user_id is 'The user that it binds; null: those of the group, or everybody.';
comment on column llm_private.quotas.shared is 'true: all whom it binds use it up together; false: each has it whole.';
comment on column llm_private.quotas.key_source is 'Counts only what this kind of key paid for; null: whoever paid.';
comment on column llm_private.quotas.unit is
'requests (attempts that did not fail), tokens (input and output) or cost (US dollars).';
comment on column llm_private.quotas.clock is 'Whether days and months begin in UTC or in the user''s time zone.';
comment on column llm_private.quotas.enforced is 'true: what would pass it is refused; false: it only warns.';
comment on column llm_private.quotas.unpriced is
'Of an enforced quota of cost: whether models without a price may be used (and count as nothing).';

revoke all on table llm_private.user_groups from public, anon, authenticated, service_role;
revoke all on table llm_private.quotas from public, anon, authenticated, service_role;
alter table llm_private.user_groups enable row level security;
alter table llm_private.quotas enable row level security;

-- Private helpers -----------------------------------------------------------------------------------------------------

create function llm_private.has_quotas(p_user uuid)
returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  -- Where nobody has any, no more is asked.
  return exists (select from llm_private.quotas) and exists (
    select from llm_private.quotas as q where q.user_id = p_user
    union all
    select from llm_private.quotas as q
    where
      q.user_id is null and (
        q.group_name is null
        or q.group_name = (select g.group_name from llm_private.user_groups as g where g.user_id = p_user)
      )
  );
end
$$;

comment on function llm_private.has_quotas(uuid) is
'Whether any quota binds this user: all that users without one pay for quotas.';

create function llm_private.binding_quotas(p_user uuid)
returns setof llm_private.quotas
language plpgsql
stable
rows 5
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  select distinct on (
    q.set_by, q.unit, q.period, q.key_source, q.provider, q.task, case when q.shared then q.id end
  ) q.*
  from llm_private.quotas as q
  where
    q.user_id = p_user
    or q.user_id is null and (
      q.group_name is null
      or q.group_name = (select g.group_name from llm_private.user_groups as g where g.user_id = p_user)
    )
  order by
    q.set_by, q.unit, q.period, q.key_source, q.provider, q.task, case when q.shared then q.id end,
    q.user_id is null, q.group_name is null;
end
$$;

comment on function llm_private.binding_quotas(uuid) is
'The quotas that hold for a user: their own, all shared ones, and of the operator''s others that differ only in whom
they bind the closest.';

create function llm_private.matching_quotas(p_user uuid, p_task text, p_provider text, p_key_source text)
returns setof llm_private.quotas
language plpgsql
stable
rows 5
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  select q.* from llm_private.binding_quotas(p_user) as q
  where
    (q.key_source is null or q.key_source = p_key_source)
    and (q.provider is null or q.provider = p_provider)
    and (q.task is null or q.task = p_task)
  order by q.id;
end
$$;

comment on function llm_private.matching_quotas(uuid, text, text, text) is
'The quotas of a user that count an attempt such as this, the oldest first.';

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
    'enforced', p_quota.enforced, 'unpriced', p_quota.unpriced, 'created_at', p_quota.created_at
  )
$$;

comment on function llm_private.quota_json(llm_private.quotas) is 'A quota as it was set.';

create function llm_private.list_quotas(p_user_id uuid)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_owner constant uuid := llm_private.acting_owner();
  v_user constant uuid := case when v_owner = llm_private.operator_id() then p_user_id else v_owner end;
begin
  if v_user is null then
    perform llm_private.open_counters(v_owner, array(select q.id from llm_private.quotas as q where q.shared));
    return (
      select coalesce(
        jsonb_agg(
          case when q.shared then llm_private.quota_status(q, v_owner) else llm_private.quota_json(q) end order by q.id
        ), '[]'
      )
      from llm_private.quotas as q
    );
  end if;
  perform llm_private.open_counters(v_user, array(select q.id from llm_private.binding_quotas(v_user) as q));
  -- What all use up together is for the operator to know in figures.
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

comment on function llm_private.list_quotas(uuid) is
'The quotas that bind the caller or, for an administrator, a user; all there are when none is named.
Error not_signed_in.';

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

comment on function llm_private.forget_counters(bigint[], uuid) is
'Throw counters away, all or those of one user: a quota that stood back behind a closer one did not count meanwhile, and
is opened anew from the ledger.';

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
  v_known constant text[] := '{limit,unit,period,key_source,provider,task,clock,enforced,unpriced}'::text[]
    || case when v_operator then '{user_id,group,shared}'::text[] else '{}' end;
  v_unknown text;
  v_row llm_private.quotas;
begin
  perform llm_private.check_value('invalid_quota', jsonb_typeof(p_quota) = 'object', 'p_quota', 'a JSON object');
  select k into v_unknown from jsonb_object_keys(p_quota) as k where k <> all(v_known) limit 1;
  perform llm_private.check_value(
    'invalid_quota', v_unknown is null, 'A field of the quota', array_to_string(v_known, ', ')
  );
  perform
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
      'minute, day, month or total'
    ),
    llm_private.check_value(
      'invalid_quota', coalesce(p_quota ->> 'key_source', 'user') in ('user', 'team', 'operator'), 'key_source',
      'user, team, operator or null'
    ),
    llm_private.check_value(
      'invalid_quota',
      p_quota ->> 'provider' is null
      or exists (select from public.llm_providers as p where p.id = p_quota ->> 'provider'),
      'provider', 'a provider of the catalogue, or null'
    ),
    llm_private.check_value(
      'invalid_quota', p_quota ->> 'task' is null or p_quota ->> 'task' ~ '^[^[:cntrl:]]{1,64}$', 'task',
      'a task of 1 to 64 printable characters, or null'
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
      (p_quota ->> 'user_id' is not null)::integer + (p_quota ->> 'group' is not null)::integer <= 1,
      'user_id beside group', 'one of them'
    ),
    llm_private.check_value(
      'invalid_quota',
      p_quota -> 'shared' is distinct from 'true'
      or p_quota ->> 'user_id' is null and coalesce(p_quota ->> 'clock', 'utc') = 'utc',
      'shared', 'true only without a user_id and with the clock utc'
    );
  if not v_operator then
    perform llm_private.ensure_settings(v_owner);
  end if;

  v_row.set_by := case when v_operator then 'operator' else 'user' end;
  v_row.user_id := case when v_operator then (p_quota ->> 'user_id')::uuid else v_owner end;
  v_row.shared := coalesce((p_quota -> 'shared')::boolean, false);
  -- Of what will be summed, before the quota is there: see the order of locks. A user's go one after the other then, so
  -- that they can be counted.
  if v_row.shared or not v_operator then
    perform llm_private.lock_usage(v_owner);
  end if;
  v_row.clock := coalesce(p_quota ->> 'clock', case when v_operator then 'utc' else 'user' end);
  insert into llm_private.quotas (
    set_by, user_id, group_name, shared, key_source, provider, task, unit, period, clock, amount, enforced, unpriced
  )
  values (
    v_row.set_by, v_row.user_id, p_quota ->> 'group', v_row.shared, p_quota ->> 'key_source', p_quota ->> 'provider',
    p_quota ->> 'task', p_quota ->> 'unit', p_quota ->> 'period', v_row.clock, (p_quota ->> 'limit')::numeric,
    coalesce((p_quota ->> 'enforced')::boolean, true), coalesce(p_quota ->> 'unpriced', 'refuse')
  )
  on conflict (
    set_by, unit, period, shared,
    coalesce(user_id, '00000000-0000-0000-0000-000000000000'), coalesce(group_name, ''),
    coalesce(key_source, ''), coalesce(provider, ''), coalesce(task, '')
  ) do update set
    clock = excluded.clock, amount = excluded.amount, enforced = excluded.enforced, unpriced = excluded.unpriced
  returning * into v_row;
  if not v_operator then
    perform llm_private.check_value(
      'invalid_quota', (select count(*) <= 50 from llm_private.quotas as q where q.user_id = v_owner and q.set_by = 'user'),
      'The number of quotas', 'at most 50 of your own'
    );
    perform llm_private.audit(
      v_owner, 'quota_set', v_row.provider, p_runtime => llm_private.current_runtime(),
      p_detail => llm_private.quota_json(v_row)
    );
    perform llm_private.open_counters(v_owner, array[v_row.id]);
  elsif v_row.shared then
    -- No user's request should have to wait for the sum over all users. Recording waits for it.
    perform llm_private.open_counter(v_row, v_owner);
    perform llm_private.open_counters(v_owner, array[v_row.id]);
  end if;
  return case
    when v_row.shared or not v_operator then llm_private.quota_status(v_row, v_owner)
    else llm_private.quota_json(v_row)
  end;
end
$$;

comment on function llm_private.set_quota(jsonb) is
'Set a quota, or change the one that counts the same for the same whom. Errors: not_signed_in, invalid_quota.';

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
  v_row llm_private.quotas;
begin
  select q.* into v_row from llm_private.quotas as q
  where q.id = p_id and (v_operator and q.set_by = 'operator' or q.set_by = 'user' and q.user_id = v_owner)
  for update;
  if not found then
    perform llm_private.fail(
      404, 'not_found', 'There is no such quota that you may remove.', 'list_llm_quotas() shows them, and who set them.'
    );
  end if;
  perform llm_private.forget_counters(
    array(
      select q.id from llm_private.quotas as q
      where
        q.id = p_id
        or not v_row.shared and not q.shared and v_operator and q.set_by = 'operator' and q.unit = v_row.unit
        and q.period = v_row.period and q.key_source is not distinct from v_row.key_source
        and q.provider is not distinct from v_row.provider and q.task is not distinct from v_row.task
    ),
    v_row.user_id
  );
  delete from llm_private.quotas where id = p_id;
  delete from llm_private.reservations where quota_id = p_id;
  if not v_operator then
    perform llm_private.audit(
      v_owner, 'quota_removed', v_row.provider, p_runtime => llm_private.current_runtime(),
      p_detail => llm_private.quota_json(v_row)
    );
  end if;
end
$$;

comment on function llm_private.remove_quota(bigint) is
'Remove a quota that the caller set. Errors: not_signed_in, not_found.';

create function llm_private.set_user_group(p_user_id uuid, p_group text)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
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
  -- Other quotas bind now than did before.
  perform llm_private.forget_counters(
    array(select q.id from llm_private.quotas as q where q.set_by = 'operator' and not q.shared), p_user_id
  );
end
$$;

comment on function llm_private.set_user_group(uuid, text) is
'Put a user into a group, or with null into none. Error invalid_argument.';

revoke execute on function llm_private.has_quotas(uuid) from public, anon, authenticated, service_role;
revoke execute on function llm_private.binding_quotas(uuid) from public, anon, authenticated, service_role;
revoke execute on function llm_private.matching_quotas(uuid, text, text, text)
from public, anon, authenticated, service_role;
revoke execute on function llm_private.quota_json(llm_private.quotas)
from public, anon, authenticated, service_role;
revoke execute on function llm_private.list_quotas(uuid) from public, anon, authenticated, service_role;
revoke execute on function llm_private.forget_counters(bigint[], uuid) from public, anon, authenticated, service_role;
revoke execute on function llm_private.set_quota(jsonb) from public, anon, authenticated, service_role;
revoke execute on function llm_private.remove_quota(bigint) from public, anon, authenticated, service_role;
revoke execute on function llm_private.set_user_group(uuid, text) from public, anon, authenticated, service_role;
grant execute on function llm_private.list_quotas(uuid) to authenticated, service_role;
grant execute on function llm_private.set_quota(jsonb) to authenticated, service_role;
grant execute on function llm_private.remove_quota(bigint) to authenticated, service_role;
grant execute on function llm_private.set_user_group(uuid, text) to service_role;

-- Public RPCs ---------------------------------------------------------------------------------------------------------

create function public.list_llm_quotas(p_user_id uuid default null)
returns jsonb
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select llm_private.list_quotas(p_user_id)
$$;

comment on function public.list_llm_quotas(uuid) is
'The quotas that bind the caller, with used, reserved and resets_at; p_user_id is for administrators, who without it see
all quotas as they were set. Error not_signed_in.';

create function public.set_llm_quota(p_quota jsonb)
returns jsonb
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select llm_private.set_quota(p_quota)
$$;

comment on function public.set_llm_quota(jsonb) is
'Set a quota of the caller''s own, or as an administrator one for a user_id, a group or everybody:
{"limit": 20, "unit": "cost", "period": "month", "provider": "openai", "key_source": "user"}.
unit: requests, tokens, cost (US dollars). period: minute, day, month, total. Counts all attempts, or only those of a
key_source, provider or task. clock: utc, or user for days and months in the user''s time zone (a user''s own quotas
unless they say else). enforced (true): refuses; false: warns. unpriced (refuse): whether an enforced quota of cost lets models
without a price pass. shared (false): all whom it binds use it up together. A quota that counts the same for the same
whom is changed. Errors: not_signed_in, invalid_quota.';

create function public.remove_llm_quota(p_id bigint)
returns void
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select llm_private.remove_quota(p_id)
$$;

comment on function public.remove_llm_quota(bigint) is
'Remove a quota: a user those of their own, an administrator the operator''s. Errors: not_signed_in, not_found.';

create function public.set_llm_user_group(p_user_id uuid, p_group text)
returns void
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select llm_private.set_user_group(p_user_id, p_group)
$$;

comment on function public.set_llm_user_group(uuid, text) is
'For administrators: put a user into a group, which quotas can be set for, or with null into none.
Error invalid_argument.';

revoke execute on function public.list_llm_quotas(uuid) from public, anon, authenticated, service_role;
revoke execute on function public.set_llm_quota(jsonb) from public, anon, authenticated, service_role;
revoke execute on function public.remove_llm_quota(bigint) from public, anon, authenticated, service_role;
revoke execute on function public.set_llm_user_group(uuid, text) from public, anon, authenticated, service_role;
grant execute on function public.list_llm_quotas(uuid) to authenticated, service_role;
grant execute on function public.set_llm_quota(jsonb) to authenticated, service_role;
grant execute on function public.remove_llm_quota(bigint) to authenticated, service_role;
grant execute on function public.set_llm_user_group(uuid, text) to service_role;
