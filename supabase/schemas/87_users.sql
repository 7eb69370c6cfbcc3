-- Users as administrators see them: find one, look at what decides their requests, suspend them, and remove their data.
--
-- Each of these reads or changes what belongs to another user, so only administrators may call it. None of them returns
-- a key. Supabase Auth owns auth.users: these functions read it and never change it.

create type public.llm_user as (
  id uuid,
  email text,
  created_at timestamptz,
  last_sign_in_at timestamptz,
  group_name text,
  suspended_at timestamptz,
  banned_until timestamptz
);

comment on type public.llm_user is 'A user as administrators see them.';

-- Private helpers -----------------------------------------------------------------------------------------------------

-- Custom plans, because most arguments are null in most calls, and each one suits another index.
create function llm_private.list_users(
  p_search text, p_ids uuid[], p_group text, p_suspended boolean, p_limit integer, p_after uuid
)
returns setof public.llm_user
language plpgsql
stable
security definer
rows 50
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan
as $$
begin
  perform llm_private.check_length('p_search', p_search, 320);
  perform llm_private.check_length('p_group', p_group, 64);
  perform llm_private.check_value(
    'invalid_argument', coalesce(cardinality(p_ids), 0) <= 1000, 'p_ids', 'at most 1000 ids'
  );
  return query
  select
    u.id, u.email::text, u.created_at, u.last_sign_in_at, llm_private.user_group(u.id), s.suspended_at, u.banned_until
  from auth.users as u
  left join llm_private.suspended_users as s on u.id = s.user_id
  where
    u.deleted_at is null
    and (p_ids is null or u.id = any(p_ids))
    and (p_search is null or u.id::text = lower(p_search) or strpos(lower(u.email), lower(p_search)) > 0)
    and (p_group is null or u.id in (select m from llm_private.group_members(p_group) as m))
    and (p_suspended is not true or s.user_id is not null)
    and (p_after is null or u.id > p_after)
  order by u.id
  limit least(greatest(coalesce(p_limit, 50), 1), 1000);
end
$$;

comment on function llm_private.list_users is 'See list_llm_users().';

create function llm_private.require_account(p_user uuid)
returns void
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  if not exists (select from auth.users as u where u.id = p_user and u.deleted_at is null) then
    perform llm_private.fail(404, 'unknown_user', 'User not found.', 'list_llm_users() returns the users.');
  end if;
end
$$;

comment on function llm_private.require_account is
'Error unknown_user unless Supabase Auth has an account of this user.';

create function llm_private.last_errors(p_user uuid)
returns jsonb
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(jsonb_agg(to_jsonb(f) order by f.request_id desc, f.attempt desc), '[]')
  from (
    select
      e.request_id, e.attempt, llm_private.uuid_v7_time(e.request_id) as requested_at, e.task, e.provider, e.model,
      e.key_source, e.error_class
    -- Among the newest, so that a user without errors is as cheap as one with many.
    from (
      select * from public.llm_usage_events as n
      where n.user_id = p_user
      order by n.request_id desc, n.attempt desc
      limit 1000
    ) as e
    where e.outcome = 'failed'
    order by e.request_id desc, e.attempt desc
    limit 10
  ) as f
$$;

comment on function llm_private.last_errors is
'A user''s last failed attempts, at most 10, among their last 1000 attempts.';

create function llm_private.get_user(p_user_id uuid)
returns jsonb
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform llm_private.require_account(p_user_id);
  return (
    select to_jsonb(u) from llm_private.list_users(null, array[p_user_id], null, null, 1, null) as u
  ) || jsonb_build_object(
    'suspended_reason', (select s.reason from llm_private.suspended_users as s where s.user_id = p_user_id),
    'settings', llm_private.settings_json(p_user_id),
    'keys', (
      select coalesce(jsonb_agg(llm_private.key_json(k) order by k.provider), '[]')
      from public.llm_keys as k where k.owner_id = p_user_id
    ),
    'prices', (
      select coalesce(jsonb_agg(llm_private.price_json(p) order by p.id), '[]')
      from public.llm_prices as p where p.user_id = p_user_id
    ),
    'alerts', (
      select coalesce(jsonb_agg(to_jsonb(a) order by a.id desc), '[]')
      from public.llm_alerts as a where a.user_id = p_user_id
    ),
    'teams', (
      select coalesce(
        jsonb_agg(
          jsonb_build_object('team_id', t.id, 'team', t.name, 'role', m.role, 'joined_at', m.joined_at)
          order by m.joined_at, t.id
        ),
        '[]'
      )
      from llm_private.team_members as m
      inner join llm_private.teams as t on m.team_id = t.id
      where m.user_id = p_user_id
    ),
    'errors', llm_private.last_errors(p_user_id)
  );
end
$$;

comment on function llm_private.get_user is 'See get_llm_user().';

create function llm_private.explain_user_route(
  p_user_id uuid, p_task text, p_model text, p_needs text[], p_operator_providers text[], p_team text
)
returns jsonb
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform llm_private.check_route_request(p_task, p_model, p_needs, p_operator_providers, p_team);
  perform llm_private.require_account(p_user_id);
  perform llm_private.check_account(p_user_id);
  return llm_private.explain_saved_route(p_user_id, p_task, p_model, p_needs, p_operator_providers, p_team);
end
$$;

comment on function llm_private.explain_user_route is 'See explain_llm_user_route().';

create function llm_private.set_user_suspended(p_user_id uuid, p_suspended boolean, p_reason text)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_changed boolean;
begin
  perform llm_private.require_plain_call('set_llm_user_suspended');
  perform llm_private.check_length('p_reason', p_reason, 200);
  perform llm_private.check_value('invalid_argument', p_suspended is not null, 'p_suspended', 'true or false');
  perform llm_private.hold_account(p_user_id);
  perform llm_private.require_account(p_user_id);
  if p_suspended then
    insert into llm_private.suspended_users (user_id, reason) values (p_user_id, p_reason) on conflict do nothing;
  else
    delete from llm_private.suspended_users where user_id = p_user_id;
  end if;
  get diagnostics v_changed = row_count;
  if v_changed then
    perform llm_private.audit_operator(
      case when p_suspended then 'user_suspended' else 'user_resumed' end,
      p_detail => jsonb_strip_nulls(jsonb_build_object('user_id', p_user_id, 'reason', p_reason))
    );
    if p_suspended then
      perform llm_private.leave_all_teams(p_user_id, 'suspended');
    end if;
  end if;
end
$$;

comment on function llm_private.set_user_suspended is 'See set_llm_user_suspended().';

create function llm_private.remove_user_totals(p_user uuid)
returns bigint
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  -- Each hour takes an advisory lock, and a database has room for some thousands.
  v_hours constant timestamptz[] := array(
    select distinct t.hour from public.llm_usage_totals as t where t.user_id = p_user order by t.hour limit 500
  );
  v_hour timestamptz;
  v_removed bigint;
begin
  delete from public.llm_usage_totals as t where t.user_id = p_user and t.hour = any(v_hours);
  get diagnostics v_removed = row_count;
  foreach v_hour in array v_hours loop
    perform llm_private.note_hour(v_hour);
  end loop;
  return v_removed;
end
$$;

comment on function llm_private.remove_user_totals is
'Remove a user''s totals of up to 500 hours, which are then rolled up again; returns how many rows.';

create function llm_private.remove_user_rows(p_user uuid)
returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_removed jsonb := jsonb_build_object('teams', llm_private.leave_all_teams(p_user, 'data_removed'));
  v_rows bigint;
  v_table record;
begin
  -- In the same order as storing a key.
  perform from public.user_llm_settings where user_id = p_user for update;
  perform from llm_private.key_owners where id = p_user for update;
  delete from llm_private.team_invitations where email = llm_private.confirmed_email(p_user);
  for v_table in
    select * from (values
      ('quotas', 'llm_private.quotas', 'user_id'),
      ('quota_counters', 'llm_private.quota_counters', 'owner'),
      ('adjustments', 'public.llm_usage_adjustments', 'user_id'),
      ('alerts', 'public.llm_alerts', 'user_id'),
      ('refusals', 'llm_private.refusals', 'user_id'),
      ('prices', 'public.llm_prices', 'user_id'),
      ('key_checks', 'llm_private.key_checks', 'user_id'),
      ('leases', 'llm_private.leases', 'user_id'),
      ('keys', 'public.llm_keys', 'owner_id'),
      ('key_owners', 'llm_private.key_owners', 'id'),
      ('groups', 'llm_private.user_groups', 'user_id'),
      ('settings', 'public.user_llm_settings', 'user_id')
    ) as t (name, relation, owner)
  loop
    execute format('delete from %s where %I = $1', v_table.relation, v_table.owner) using p_user;
    get diagnostics v_rows = row_count;
    v_removed := v_removed || jsonb_build_object(v_table.name, v_rows);
  end loop;
  -- The operator's log says that the user's log was removed.
  delete from llm_private.audit_seals where user_id = p_user;
  delete from llm_private.audit_findings where user_id = p_user;
  -- A reservation of a shared quota stays until it expires, because the quota counts it.
  delete from llm_private.reservations where user_id = p_user and (owner = p_user or counted);
  return v_removed;
end
$$;

comment on function llm_private.remove_user_rows is
'Remove what a user has few rows of; returns how many of each. Their keys'' ciphertexts go with the keys, and the data
key with its owner, so that copies of the ciphertexts cannot be decrypted.';

create function llm_private.remove_user_data(p_user_id uuid, p_batch integer)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_removed jsonb := '{}'::jsonb;
  v_rows bigint;
  v_left bigint;
begin
  perform llm_private.require_plain_call('remove_llm_user_data');
  perform llm_private.check_value('invalid_argument', p_batch between 1 and 100000, 'p_batch', '1 to 100000');
  perform llm_private.check_value(
    'invalid_argument', p_user_id <> llm_private.operator_id(), 'p_user_id', 'the id of a user'
  );
  delete from public.llm_usage_events as e
  using (
    select n.request_id, n.attempt, n.recorder
    from public.llm_usage_events as n
    where n.user_id = p_user_id
    limit p_batch
  ) as d
  where e.user_id = p_user_id and e.request_id = d.request_id and e.attempt = d.attempt and e.recorder = d.recorder;
  get diagnostics v_rows = row_count;
  v_left := p_batch - v_rows;
  v_removed := v_removed || jsonb_build_object('usage_events', v_rows);
  delete from public.llm_audit_log as l
  using (select n.id from public.llm_audit_log as n where n.user_id = p_user_id limit v_left) as d
  where l.user_id = p_user_id and l.id = d.id;
  get diagnostics v_rows = row_count;
  v_left := v_left - v_rows;
  v_removed := v_removed || jsonb_build_object(
    'audit_entries', v_rows, 'usage_totals', llm_private.remove_user_totals(p_user_id)
  );
  if v_left > 0 and not exists (select from public.llm_usage_totals as t where t.user_id = p_user_id) then
    v_removed := v_removed || llm_private.remove_user_rows(p_user_id);
  else
    v_left := 0;
  end if;
  perform llm_private.audit_operator(
    'user_data_removed', p_detail => jsonb_build_object('user_id', p_user_id, 'removed', v_removed)
  );
  return jsonb_build_object('removed', v_removed, 'done', v_left > 0);
end
$$;

comment on function llm_private.remove_user_data is 'See remove_llm_user_data().';

-- Public RPCs ---------------------------------------------------------------------------------------------------------

create function public.list_llm_users(
  p_search text default null,
  p_ids uuid[] default null,
  p_group text default null,
  p_suspended boolean default false,
  p_limit integer default 50,
  p_after uuid default null
)
returns setof public.llm_user
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select * from llm_private.list_users(p_search, p_ids, p_group, p_suspended, p_limit, p_after)
$$;

comment on function public.list_llm_users is
'For administrators: users by id, at most 1000. p_search: those with this id, or with this text in their email address.
p_ids: those with these ids. p_group: the members of a group. p_suspended: only suspended ones. p_after: the last id of
the previous page. Error invalid_argument.';

create function public.get_llm_user(p_user_id uuid)
returns jsonb
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select llm_private.get_user(p_user_id)
$$;

comment on function public.get_llm_user is
'For administrators: a user with their settings (null before their first sign-in), the states of their keys, their own
prices, their alerts and their last failed attempts; never a key. Error unknown_user.';

create function public.explain_llm_user_route(
  p_user_id uuid,
  p_task text default null,
  p_model text default null,
  p_needs text[] default '{}',
  p_operator_providers text[] default '{}',
  p_team text default null
)
returns jsonb
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select llm_private.explain_user_route(p_user_id, p_task, p_model, p_needs, p_operator_providers, p_team)
$$;

comment on function public.explain_llm_user_route is
'For administrators: what explain_llm_route() would return to a user whose request comes through a runtime.
Errors: unknown_user, account_banned, account_suspended, invalid_argument, unknown_model, team_not_found.';

create function public.set_llm_user_suspended(p_user_id uuid, p_suspended boolean, p_reason text default null)
returns void
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select llm_private.set_user_suspended(p_user_id, p_suspended, p_reason)
$$;

comment on function public.set_llm_user_suspended is
'For administrators: suspend a user, who then leaves all teams, gets no routes and reveals no keys (account_suspended),
or resume them. They can still sign in and see their data. Routes that are on lease are served until the lease ends.
Errors: invalid_argument, unknown_user.';

create function public.remove_llm_user_data(p_user_id uuid, p_batch integer default 10000)
returns jsonb
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select llm_private.remove_user_data(p_user_id, p_batch)
$$;

comment on function public.remove_llm_user_data is
'For administrators: remove all of a user''s data from supa-llm, at most p_batch events and audit entries at a time;
also for a user whose account is deleted. Call it until done is true; removed has the numbers of rows. Their account, their
suspension and the operator''s log stay. Error invalid_argument.';
