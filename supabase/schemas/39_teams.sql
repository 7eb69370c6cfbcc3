-- Teams: users who share provider keys, a policy and quotas. See docs/teams.md.
--
-- A member's requests can use the team's keys through a runtime; nobody, its owners included, can read them. Owners and
-- admins manage members, keys, policy and quotas. A team always has an owner: the last one cannot leave, and if their
-- account is deleted or suspended, another member becomes owner.
--
-- A removed team keeps its row, so that reports of its usage keep its name; its members, keys and quotas are deleted.
--
-- Locks are taken in one order, so that nothing here can deadlock with a user's deletion, which locks the account, its
-- members' rows and then, in a trigger, their teams: first the accounts whose membership changes (hold_account()), then
-- teams by id, then their members, then settings. A change of a team's members, policy or invitations locks the team.

create table llm_private.teams (
  id uuid primary key default llm_private.uuid_v7(),
  name text not null,
  allowed_providers jsonb,
  default_provider text references public.llm_providers (id) on delete set null,
  provider_preferences jsonb not null default '{}',
  task_overrides jsonb not null default '{}',
  keys_first text not null default 'team' check (keys_first in ('team', 'member')),
  version bigint not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  removed_at timestamptz
);

create index teams_default_provider on llm_private.teams (default_provider);

comment on table llm_private.teams is 'Teams and their policies, also of removed teams.';
comment on column llm_private.teams.allowed_providers is
'{"groq": true, "openai": ["gpt-5.5"]}: the providers that requests with this team may use, with all models (true) or
only these; null: any provider and model.';
comment on column llm_private.teams.default_provider is
'Applies to members who have chosen no default provider that the team allows.';
comment on column llm_private.teams.provider_preferences is
'As in user_llm_settings. A provider that the team disabled is disabled for its members; priorities and models apply
where a member has none.';
comment on column llm_private.teams.task_overrides is
'As in user_llm_settings. Applies where a member has no override for the task that the team allows.';
comment on column llm_private.teams.keys_first is 'Whose keys come first in a route: the team''s or the member''s own.';
comment on column llm_private.teams.version is 'Counts changes, so that a panel notices changes made elsewhere.';

create table llm_private.team_members (
  team_id uuid not null references llm_private.teams (id) on delete cascade,
  user_id uuid not null references auth.users (id) on delete cascade,
  role text not null check (role in ('owner', 'admin', 'member')),
  joined_at timestamptz not null default now(),
  primary key (team_id, user_id),
  unique (user_id, team_id)
);

comment on table llm_private.team_members is 'Who belongs to which team. A user may belong to several.';
comment on column llm_private.team_members.role is
'owner: everything, also removing the team and naming owners; admin: members, keys, policy and quotas; member: uses the
team''s keys.';

alter table llm_private.teams enable row level security;
alter table llm_private.team_members enable row level security;

-- Private helpers -----------------------------------------------------------------------------------------------------

create function llm_private.team_role(p_team uuid, p_user uuid)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select m.role from llm_private.team_members as m
    inner join llm_private.teams as t on m.team_id = t.id
    where m.team_id = p_team and m.user_id = p_user and t.removed_at is null
  );
end
$$;

comment on function llm_private.team_role is 'The role of a user in a team: owner, admin or member; null: none.';

create function llm_private.refuse_team()
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  -- The same error as for a team that does not exist, so that ids of teams cannot be tried out.
  perform llm_private.fail(
    404, 'team_not_found', 'Team not found, or you are not a member of it.', 'list_llm_teams() returns your teams.'
  );
end
$$;

comment on function llm_private.refuse_team is 'Error team_not_found.';

create function llm_private.require_team_role(p_team uuid, p_user uuid, p_roles text[])
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_role constant text := llm_private.team_role(p_team, p_user);
begin
  if v_role is null then
    perform llm_private.refuse_team();
  elsif v_role <> all(p_roles) then
    perform llm_private.fail(
      403, 'team_role_required', format('Your role in this team is %s.', v_role),
      'This needs the role ' || array_to_string(p_roles, ' or ') || '. Ask an owner of the team.'
    );
  end if;
  return v_role;
end
$$;

comment on function llm_private.require_team_role is
'The role of a user in a team, if it is one of p_roles. Errors: team_not_found, team_role_required.';

create function llm_private.team_actor()
returns uuid
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_owner constant uuid := llm_private.acting_owner();
begin
  -- A suspended or banned user changes no team.
  return case when v_owner = llm_private.operator_id() then v_owner else llm_private.require_session() end;
end
$$;

comment on function llm_private.team_actor is
'Who changes a team: the signed-in user or, with a secret key, the operator.
Errors: not_signed_in, account_banned, account_suspended, session_ended.';

create function llm_private.team_access(p_team uuid, p_actor uuid, p_roles text[])
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_actor <> llm_private.operator_id() then
    return llm_private.require_team_role(p_team, p_actor, p_roles);
  elsif not exists (select from llm_private.teams as t where t.id = p_team and t.removed_at is null) then
    perform llm_private.fail(404, 'team_not_found', 'Team not found.', 'list_llm_teams() returns the teams.');
  end if;
  return 'owner';
end
$$;

comment on function llm_private.team_access is
'The role with which a user or the operator, who may do whatever an owner may, acts on a team, if it is one of p_roles.
Errors: team_not_found, team_role_required.';

create function llm_private.hold_account(p_user uuid)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  -- Serializes joining, leaving and being suspended of one user. A deletion does not take this lock, but waits for the
  -- row below.
  perform pg_advisory_xact_lock(hashtext('llm_private.hold_account'), hashtext(p_user::text));
  perform from auth.users as u where u.id = p_user for key share;
end
$$;

comment on function llm_private.hold_account is
'Until this transaction ends, nobody else changes in which teams a user is, and their account is not deleted.';

create function llm_private.can_act(p_user uuid)
returns boolean
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  return exists (
    select from auth.users as u
    where u.id = p_user and u.deleted_at is null and (u.banned_until is null or u.banned_until <= now())
  );
end
$$;

comment on function llm_private.can_act is
'Whether a user''s account is neither deleted nor banned. An owner whose account is does not count as a team''s owner.';

create function llm_private.audit_team(
  p_team uuid, p_action text, p_actor uuid, p_detail jsonb default '{}', p_limited boolean default true
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_detail jsonb := jsonb_build_object('by', p_actor) || p_detail;
begin
  if p_actor = llm_private.operator_id() then
    v_detail := v_detail || jsonb_build_object('by', llm_private.administrator());
    insert into public.llm_audit_log (user_id, action, actor, detail)
    values (p_team, p_action, 'administrator', v_detail);
    perform llm_private.audit_operator(p_action, p_detail => jsonb_build_object('team_id', p_team) || p_detail);
  elsif p_limited then
    perform llm_private.audit_change(
      p_team, p_action, p_runtime => llm_private.current_runtime(), p_detail => v_detail
    );
  else
    perform llm_private.audit(
      p_team, p_action, p_runtime => llm_private.current_runtime(), p_detail => v_detail
    );
  end if;
end
$$;

comment on function llm_private.audit_team is
'Append an entry to a team''s audit log, whose user_id is the team''s id, with the acting user in detail.by; if an
administrator acts, also to the operator''s. Error too_many_changes if p_limited.';

-- Removing members and teams ------------------------------------------------------------------------------------------

create function llm_private.close_team(p_team uuid)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  update llm_private.teams
  set
    removed_at = now(), updated_at = now(), version = version + 1, allowed_providers = null, default_provider = null,
    provider_preferences = '{}', task_overrides = '{}'
  where id = p_team and removed_at is null;
  delete from llm_private.team_invitations where team_id = p_team;
  -- Makes every copy of the team's keys unreadable.
  delete from llm_private.key_owners where team_id = p_team;
  perform llm_private.remove_team_quotas(p_team);
  -- Skips the rows that the deletion of an account holds, which waits for this team; they go with the account.
  delete from llm_private.team_members as d
  using (
    select m.user_id from llm_private.team_members as m where m.team_id = p_team for update skip locked
  ) as gone
  where d.team_id = p_team and d.user_id = gone.user_id;
end
$$;

comment on function llm_private.close_team is
'Remove a team that the caller has locked, with all that belongs to it; its row stays for reports.';

create function llm_private.ensure_owner(p_team uuid)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_next llm_private.team_members;
begin
  if exists (
    select from llm_private.team_members as m
    where m.team_id = p_team and m.role = 'owner' and llm_private.can_act(m.user_id)
  ) then
    return;
  end if;
  -- Skips members whose accounts are being deleted. If that is rolled back, the next change of the team comes here.
  select m.* into v_next from llm_private.team_members as m
  inner join auth.users as u on m.user_id = u.id
  where m.team_id = p_team and u.deleted_at is null
  order by
    llm_private.can_act(m.user_id) desc, array_position('{owner,admin,member}'::text[], m.role), m.joined_at, m.user_id
  limit 1
  for no key update of m skip locked;
  if v_next.role <> 'owner' then
    update llm_private.team_members set role = 'owner' where team_id = p_team and user_id = v_next.user_id;
    perform
      llm_private.audit(p_team, 'team_role_set', p_detail => jsonb_build_object(
        'by', null, 'user_id', v_next.user_id, 'old', v_next.role, 'new', 'owner', 'reason', 'last_owner_left'
      )),
      llm_private.add_alert(
        v_next.user_id, 'team_owner', format('team %s at %s', p_team, clock_timestamp()),
        (select jsonb_build_object('team_id', t.id, 'name', t.name) from llm_private.teams as t where t.id = p_team)
      );
  elsif v_next.role is null and not exists (
    select from llm_private.team_members as m
    inner join auth.users as u on m.user_id = u.id
    where m.team_id = p_team and u.deleted_at is null
  ) then
    perform llm_private.audit(
      p_team, 'team_removed', p_detail => jsonb_build_object('by', null, 'reason', 'last_member_left')
    );
    perform llm_private.close_team(p_team);
  end if;
end
$$;

comment on function llm_private.ensure_owner is
'If no owner of this team, which the caller has locked, can act: make the longest-standing admin an owner, else the
longest-standing member, and alert them. Without members, remove the team.';

create function llm_private.after_members_left()
returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_team uuid;
  v_removed boolean;
begin
  -- Ordered, so that two of these do not wait for each other.
  for v_team in select distinct g.team_id from gone as g order by g.team_id loop
    select t.removed_at is not null into v_removed from llm_private.teams as t where t.id = v_team for no key update;
    continue when v_removed is not false;
    -- Somebody who was removed could otherwise have kept a way back.
    delete from llm_private.team_invitations as i
    using gone as g
    where i.team_id = v_team and g.team_id = v_team and i.invited_by = g.user_id;
    perform llm_private.audit(v_team, 'team_member_removed', p_detail => jsonb_build_object(
      'by', null, 'user_id', g.user_id, 'role', g.role, 'reason', 'account_deleted'
    ))
    from gone as g
    where g.team_id = v_team and not exists (
      select from auth.users as u where u.id = g.user_id and u.deleted_at is null
    );
    delete from llm_private.leases as l
    using gone as g
    where l.owner_id = v_team and g.team_id = v_team and l.user_id = g.user_id;
    perform
      llm_private.end_cached_routes(v_team),
      llm_private.ensure_owner(v_team);
  end loop;
  return null;
exception when others then
  -- This must not prevent the deletion of an account. The next change of the team makes up for it: see lock_team().
  raise warning 'supa-llm: the teams of a user who left were not updated: %', sqlerrm using errcode = sqlstate;
  return null;
end
$$;

comment on function llm_private.after_members_left is
'After members left for any reason: removes their invitations and leases, ends cached routes, and gives each team an
owner or removes it.';

create trigger after_members_left
after delete on llm_private.team_members
referencing old table as gone
for each statement execute function llm_private.after_members_left();

create function llm_private.lock_team(p_team uuid)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform from llm_private.teams as t where t.id = p_team and t.removed_at is null for no key update;
  if not found then
    return;
  end if;
  -- Supabase Auth can also delete an account softly, which keeps its row.
  delete from llm_private.team_members as m
  using auth.users as u
  where m.team_id = p_team and u.id = m.user_id and u.deleted_at is not null;
  if not exists (select from llm_private.team_members as m where m.team_id = p_team and m.role = 'owner') then
    perform llm_private.ensure_owner(p_team);
  end if;
end
$$;

comment on function llm_private.lock_team is
'Lock a team until this transaction ends, unless it is removed. Members whose accounts were deleted leave it.';

create function llm_private.open_team(p_team uuid, p_actor uuid, p_roles text[], p_user uuid default null)
returns text
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  -- Before the lock, so that a stranger holds nobody up.
  perform llm_private.team_access(p_team, p_actor, '{owner,admin,member}');
  -- Leaving a team needs no second factor.
  if 'member' <> all(p_roles) and p_actor <> llm_private.operator_id() then
    perform llm_private.check_step_up();
  end if;
  if p_user is not null then
    perform llm_private.hold_account(p_user);
  end if;
  perform llm_private.lock_team(p_team);
  return llm_private.team_access(p_team, p_actor, p_roles);
end
$$;

comment on function llm_private.open_team is
'Lock a team for a change, and the account of the user whose membership changes. Returns the role of who acts, which is
one of p_roles. Errors: team_not_found, team_role_required, second_factor_required, second_factor_unknown.';

create function llm_private.leave_all_teams(p_user uuid, p_reason text)
returns bigint
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_left bigint;
begin
  perform llm_private.hold_account(p_user);
  perform from llm_private.teams as t
  where t.id in (select m.team_id from llm_private.team_members as m where m.user_id = p_user)
  order by t.id
  for no key update;
  perform llm_private.audit_team(
    m.team_id, 'team_member_removed', llm_private.operator_id(),
    jsonb_build_object('user_id', p_user, 'role', m.role, 'reason', p_reason)
  )
  from llm_private.team_members as m
  where m.user_id = p_user;
  delete from llm_private.team_members where user_id = p_user;
  get diagnostics v_left = row_count;
  return v_left;
end
$$;

comment on function llm_private.leave_all_teams is
'Remove a user from all teams, on behalf of the operator. Returns how many they were.';

-- Joining -------------------------------------------------------------------------------------------------------------

create function llm_private.join_team(p_team uuid, p_user uuid, p_role text)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_most_members constant integer := 1000;
  v_most_teams constant integer := 100;
begin
  -- Again, because the user may have been suspended before the account was held.
  perform llm_private.check_account(p_user);
  if (select count(*) from llm_private.team_members as m where m.team_id = p_team) >= v_most_members then
    perform llm_private.fail(
      429, 'too_many_members', format('This team has %s members.', v_most_members),
      'Remove members, or make another team.'
    );
  elsif (select count(*) from llm_private.team_members as m where m.user_id = p_user) >= v_most_teams then
    perform llm_private.fail(
      429, 'too_many_teams', format('A user can be in at most %s teams.', v_most_teams), 'Leave a team first.'
    );
  end if;
  insert into llm_private.team_members (team_id, user_id, role, joined_at)
  values (p_team, p_user, p_role, clock_timestamp());
  perform llm_private.ensure_settings(p_user);
  update public.user_llm_settings
  set default_team = p_team, version = version + 1, updated_at = now()
  where
    user_id = p_user and default_team is null
    and not exists (select from llm_private.team_members as m where m.user_id = p_user and m.team_id <> p_team);
end
$$;

comment on function llm_private.join_team is
'Add a user whose account is held to a team that is locked. A user''s first team becomes their default team.
Errors: account_banned, account_suspended, too_many_members, too_many_teams.';

-- Rows that leave -----------------------------------------------------------------------------------------------------

create function llm_private.team_json(p_team llm_private.teams, p_user uuid)
returns jsonb
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  return jsonb_build_object(
    'id', p_team.id,
    'name', p_team.name,
    'role', llm_private.team_role(p_team.id, p_user),
    'is_default', exists (
      select from public.user_llm_settings as s where s.user_id = p_user and s.default_team = p_team.id
    ),
    'keys_first', p_team.keys_first,
    'created_at', p_team.created_at
  ) || (
    select jsonb_build_object(
      'members', count(*),
      'owners', coalesce(jsonb_agg(u.email order by m.joined_at, u.id) filter (where m.role = 'owner'), '[]')
    )
    from llm_private.team_members as m
    inner join auth.users as u on m.user_id = u.id
    where m.team_id = p_team.id and u.deleted_at is null
  );
end
$$;

comment on function llm_private.team_json is
'A team in a list, as p_user sees it: role is null and is_default false for the operator. owners has email addresses.';

create function llm_private.team_details(p_team uuid, p_user uuid)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select llm_private.team_json(t, p_user) || jsonb_build_object(
      'allowed_providers', t.allowed_providers,
      'default_provider', t.default_provider,
      'provider_preferences', t.provider_preferences,
      'task_overrides', t.task_overrides,
      'version', t.version,
      'updated_at', t.updated_at
    )
    from llm_private.teams as t
    where t.id = p_team
  );
end
$$;

comment on function llm_private.team_details is 'A team with its policy, as p_user sees it.';

create function llm_private.members_json(p_team uuid, p_user uuid)
returns jsonb
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select
      coalesce(
        jsonb_agg(
          jsonb_build_object(
            'user_id', m.user_id,
            'email', u.email,
            -- Users set it themselves, so it may be of any length or type.
            'name', left(coalesce(u.raw_user_meta_data ->> 'full_name', u.raw_user_meta_data ->> 'name'), 100),
            'role', m.role,
            'joined_at', m.joined_at
          )
          order by array_position('{owner,admin,member}'::text[], m.role), m.joined_at, m.user_id
        ), '[]'
      )
    from llm_private.team_members as m
    inner join auth.users as u on m.user_id = u.id
    where m.team_id = p_team and u.deleted_at is null and (p_user is null or m.user_id = p_user)
  );
end
$$;

comment on function llm_private.members_json is 'The members of a team, owners first; only p_user if given.';

-- Reads ---------------------------------------------------------------------------------------------------------------

create function llm_private.list_teams(p_before uuid, p_limit integer)
returns jsonb
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor constant uuid := llm_private.acting_owner();
begin
  return (
    select coalesce(jsonb_agg(llm_private.team_json(t, v_actor) order by t.id desc), '[]')
    from (
      select n.* from llm_private.teams as n
      where
        n.removed_at is null
        and (p_before is null or n.id < p_before)
        and (
          v_actor = llm_private.operator_id()
          or n.id in (select m.team_id from llm_private.team_members as m where m.user_id = v_actor)
        )
      order by n.id desc
      limit least(greatest(coalesce(p_limit, 100), 1), 500)
    ) as t
  );
end
$$;

comment on function llm_private.list_teams is 'See list_llm_teams().';

create function llm_private.get_team(p_team_id uuid)
returns jsonb
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor constant uuid := llm_private.acting_owner();
begin
  perform llm_private.team_access(p_team_id, v_actor, '{owner,admin,member}');
  return llm_private.team_details(p_team_id, v_actor);
end
$$;

comment on function llm_private.get_team is 'See get_llm_team().';

create function llm_private.list_team_members(p_team_id uuid)
returns jsonb
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor constant uuid := llm_private.acting_owner();
begin
  perform llm_private.team_access(p_team_id, v_actor, '{owner,admin,member}');
  return llm_private.members_json(p_team_id, null);
end
$$;

comment on function llm_private.list_team_members is 'See list_llm_team_members().';

-- Changes of a team ---------------------------------------------------------------------------------------------------

create function llm_private.check_team_name(p_argument text, p_name text)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  perform llm_private.check_value(
    'invalid_argument',
    length(p_name) between 1 and 100 and p_name !~ '[[:cntrl:]]' and p_name ~ '[^[:space:]]',
    p_argument, '1 to 100 printable characters'
  );
end
$$;

comment on function llm_private.check_team_name is 'Error invalid_argument unless this can be a team''s name.';

create function llm_private.check_new_team(p_actor uuid, p_owner uuid)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_settings llm_private.operator_settings;
begin
  select * into strict v_settings from llm_private.operator_settings;
  if p_actor = llm_private.operator_id() then
    perform llm_private.require_account(p_owner);
  elsif p_owner <> p_actor then
    perform llm_private.fail(
      400, 'invalid_argument', 'p_owner has an invalid value.', 'Only administrators name another owner.'
    );
  elsif v_settings.teams_created_by = 'operator' then
    perform llm_private.fail(
      403, 'teams_created_by_operator', 'In this app, users cannot create teams.', 'Ask the app''s support for a team.'
    );
  elsif (
    select count(*) from llm_private.team_members as m where m.user_id = p_actor and m.role = 'owner'
  ) >= v_settings.teams_per_user then
    perform llm_private.fail(
      429, 'too_many_teams', format('You own %s teams, which is the limit.', v_settings.teams_per_user),
      'Remove a team, or make somebody else its owner.'
    );
  end if;
end
$$;

comment on function llm_private.check_new_team is
'Error unless p_actor may create a team that p_owner owns: unknown_user, invalid_argument, teams_created_by_operator,
too_many_teams.';

create function llm_private.create_team(p_name text, p_owner uuid)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor constant uuid := llm_private.team_actor();
  v_owner constant uuid := coalesce(p_owner, v_actor);
  v_team uuid;
begin
  perform llm_private.require_plain_call('create_llm_team');
  perform llm_private.check_team_name('p_name', p_name);
  perform llm_private.hold_account(v_owner);
  perform llm_private.check_new_team(v_actor, v_owner);
  if v_actor = v_owner then
    -- Teams that were removed count here, too, because their rows stay.
    perform llm_private.audit_change(
      v_actor, 'team_created', p_runtime => llm_private.current_runtime(), p_detail => jsonb_build_object('name', p_name)
    );
  end if;
  insert into llm_private.teams (name) values (p_name) returning id into v_team;
  -- Before it has keys, because its owner's version is also that of its policy and members.
  perform llm_private.ensure_key_owner(v_team, true);
  perform llm_private.join_team(v_team, v_owner, 'owner');
  perform llm_private.audit_team(
    v_team, 'team_created', v_actor, jsonb_build_object('name', p_name, 'owner', v_owner), false
  );
  return llm_private.team_details(v_team, v_actor);
end
$$;

comment on function llm_private.create_team is 'See create_llm_team().';

create function llm_private.check_allowed_providers(p_value jsonb, p_providers text[])
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_provider text;
  v_models jsonb;
begin
  if p_value = 'null' then
    return;
  end if;
  perform llm_private.check_known_settings(p_value, 'allowed_providers', p_providers);
  for v_provider, v_models in select * from jsonb_each(p_value) loop
    perform llm_private.check_value(
      'invalid_setting',
      v_models = 'true' or case
        when jsonb_typeof(v_models) = 'array' and jsonb_array_length(v_models) <= 200
          then (select coalesce(bool_and(llm_private.is_model_name(m)), true) from jsonb_array_elements(v_models) as m)
      end,
      'allowed_providers.' || v_provider, 'true, or a list of at most 200 model names'
    );
  end loop;
end
$$;

comment on function llm_private.check_allowed_providers is
'Error invalid_setting or unknown_setting unless this is null or {"groq": true, "openai": ["gpt-5.5"]}.';

create function llm_private.changed_team(p_old llm_private.teams, p_changes jsonb)
returns llm_private.teams
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_providers constant text[] := array(select p.id from public.llm_providers as p order by p.position, p.id);
  v_new llm_private.teams := p_old;
begin
  if p_changes ? 'name' then
    perform llm_private.check_value(
      'invalid_setting', jsonb_typeof(p_changes -> 'name') = 'string', 'name', '1 to 100 printable characters'
    );
    perform llm_private.check_team_name('name', p_changes ->> 'name');
    v_new.name := p_changes ->> 'name';
  end if;
  if p_changes ? 'keys_first' then
    perform llm_private.check_value(
      'invalid_setting', p_changes ->> 'keys_first' in ('team', 'member'), 'keys_first', 'team or member'
    );
    v_new.keys_first := p_changes ->> 'keys_first';
  end if;
  if p_changes ? 'default_provider' then
    perform llm_private.check_value(
      'invalid_setting', p_changes -> 'default_provider' = 'null' or p_changes ->> 'default_provider' = any(v_providers),
      'default_provider', 'null or one of ' || array_to_string(v_providers, ', ')
    );
    v_new.default_provider := p_changes ->> 'default_provider';
  end if;
  if p_changes ? 'allowed_providers' then
    perform llm_private.check_allowed_providers(p_changes -> 'allowed_providers', v_providers);
    v_new.allowed_providers := nullif(p_changes -> 'allowed_providers', 'null');
  end if;
  if p_changes ? 'provider_preferences' then
    v_new.provider_preferences := llm_private.merge_preferences(
      p_old.provider_preferences, p_changes -> 'provider_preferences', v_providers
    );
  end if;
  if p_changes ? 'task_overrides' then
    v_new.task_overrides := llm_private.merge_task_overrides(
      p_old.task_overrides, p_changes -> 'task_overrides', v_providers
    );
  end if;
  return v_new;
end
$$;

comment on function llm_private.changed_team is
'A team with the changes in p_changes. Errors: invalid_setting, unknown_setting, invalid_argument.';

create function llm_private.save_team(p_team uuid, p_actor uuid, p_changes jsonb, p_expected_version bigint)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_old llm_private.teams;
  v_new llm_private.teams;
begin
  select * into strict v_old from llm_private.teams where id = p_team;
  if p_expected_version is not null and p_expected_version <> v_old.version then
    perform llm_private.fail(
      409, 'settings_changed',
      format('The team was changed elsewhere and is now at version %s.', v_old.version),
      'Read it again and repeat the change.'
    );
  end if;
  v_new := llm_private.changed_team(v_old, p_changes);
  if v_new is not distinct from v_old then
    return;
  end if;
  perform
    llm_private.check_size('allowed_providers', v_new.allowed_providers, 64, 'invalid_setting'),
    llm_private.check_size('provider_preferences', v_new.provider_preferences, 64, 'invalid_setting'),
    llm_private.check_size('task_overrides', v_new.task_overrides, 64, 'invalid_setting');
  update llm_private.teams
  set
    name = v_new.name,
    allowed_providers = v_new.allowed_providers,
    default_provider = v_new.default_provider,
    provider_preferences = v_new.provider_preferences,
    task_overrides = v_new.task_overrides,
    keys_first = v_new.keys_first,
    version = v_old.version + 1,
    updated_at = now()
  where id = p_team;
  if p_changes - 'name' <> '{}' then
    perform llm_private.end_cached_routes(p_team);
  end if;
  perform llm_private.audit_team(
    p_team, 'team_changed', p_actor, jsonb_build_object('changes', p_changes, 'version', v_old.version + 1)
  );
end
$$;

comment on function llm_private.save_team is
'Apply p_changes to a team that the caller has locked. Errors: invalid_setting, unknown_setting, invalid_argument,
settings_changed, too_many_changes.';

create function llm_private.set_team(p_team_id uuid, p_changes jsonb, p_expected_version bigint)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor constant uuid := llm_private.team_actor();
begin
  perform llm_private.require_plain_call('set_llm_team');
  perform llm_private.check_size('p_changes', p_changes, 64, 'invalid_setting');
  perform llm_private.check_known_settings(
    p_changes, '', '{name,allowed_providers,default_provider,provider_preferences,task_overrides,keys_first}'
  );
  perform llm_private.open_team(p_team_id, v_actor, '{owner,admin}');
  perform llm_private.save_team(p_team_id, v_actor, p_changes, p_expected_version);
  return llm_private.team_details(p_team_id, v_actor);
end
$$;

comment on function llm_private.set_team is 'See set_llm_team().';

create function llm_private.remove_team(p_team_id uuid)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor constant uuid := llm_private.team_actor();
begin
  perform llm_private.require_plain_call('remove_llm_team');
  perform llm_private.team_access(p_team_id, v_actor, '{owner}');
  -- All members leave.
  perform from auth.users as u
  where u.id in (select m.user_id from llm_private.team_members as m where m.team_id = p_team_id)
  order by u.id
  for key share;
  perform llm_private.open_team(p_team_id, v_actor, '{owner}');
  perform llm_private.audit_team(p_team_id, 'team_removed', v_actor, p_limited => false);
  perform llm_private.close_team(p_team_id);
end
$$;

comment on function llm_private.remove_team is 'See remove_llm_team().';

-- Changes of members --------------------------------------------------------------------------------------------------

create function llm_private.require_other_owner(p_team uuid, p_user uuid)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if not exists (
    select from llm_private.team_members as m
    where m.team_id = p_team and m.role = 'owner' and m.user_id <> p_user and llm_private.can_act(m.user_id)
  ) then
    perform llm_private.fail(
      409, 'last_owner', 'The team would be left without an owner.',
      'Make another member an owner first, or remove the team.'
    );
  end if;
end
$$;

comment on function llm_private.require_other_owner is
'Error last_owner unless a team has an owner other than p_user whose account is neither deleted nor banned.';

create function llm_private.member_not_found()
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  perform llm_private.fail(
    404, 'member_not_found', 'This user is not a member of the team.',
    'list_llm_team_members() returns the members; invite others with create_llm_team_invitation().'
  );
end
$$;

comment on function llm_private.member_not_found is 'Error member_not_found.';

create function llm_private.refuse_role(p_mine text, p_role text)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_role = 'owner' and p_mine <> 'owner' then
    perform llm_private.fail(
      403, 'team_role_required', format('Your role in this team is %s.', p_mine),
      'Only an owner of the team can do this to an owner, or make somebody an owner.'
    );
  end if;
end
$$;

comment on function llm_private.refuse_role is 'Error team_role_required if p_role is owner and p_mine is not.';

create function llm_private.change_role(p_team uuid, p_user uuid, p_actor uuid, p_old text, p_new text)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_old = p_new then
    return;
  elsif p_old = 'owner' then
    perform llm_private.require_other_owner(p_team, p_user);
  end if;
  update llm_private.team_members set role = p_new where team_id = p_team and user_id = p_user;
  -- Invitations do not outlast the right to make them.
  delete from llm_private.team_invitations as i
  where i.team_id = p_team and i.invited_by = p_user and (p_new = 'member' or p_new = 'admin' and i.role = 'owner');
  perform llm_private.audit_team(
    p_team, 'team_role_set', p_actor, jsonb_build_object('user_id', p_user, 'old', p_old, 'new', p_new)
  );
end
$$;

comment on function llm_private.change_role is
'Change the role of a member of a team that is locked. Errors: last_owner, too_many_changes.';

create function llm_private.set_team_member(p_team_id uuid, p_user_id uuid, p_role text)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor constant uuid := llm_private.team_actor();
  v_mine text;
  v_old text;
begin
  perform llm_private.require_plain_call('set_llm_team_member');
  perform llm_private.check_value(
    'invalid_argument', p_role in ('owner', 'admin', 'member'), 'p_role', 'owner, admin or member'
  );
  v_mine := llm_private.open_team(p_team_id, v_actor, '{owner,admin}', p_user_id);
  v_old := llm_private.team_role(p_team_id, p_user_id);
  perform
    llm_private.refuse_role(v_mine, p_role),
    llm_private.refuse_role(v_mine, v_old);
  if v_old is not null then
    perform llm_private.change_role(p_team_id, p_user_id, v_actor, v_old, p_role);
  elsif v_actor = llm_private.operator_id() then
    perform llm_private.require_account(p_user_id);
    perform llm_private.join_team(p_team_id, p_user_id, p_role);
    perform llm_private.audit_team(
      p_team_id, 'team_member_added', v_actor, jsonb_build_object('user_id', p_user_id, 'role', p_role)
    );
  else
    perform llm_private.member_not_found();
  end if;
  return llm_private.members_json(p_team_id, p_user_id) -> 0;
end
$$;

comment on function llm_private.set_team_member is 'See set_llm_team_member().';

create function llm_private.remove_team_member(p_team_id uuid, p_user_id uuid)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor constant uuid := llm_private.team_actor();
  v_mine text;
  v_role text;
begin
  perform llm_private.require_plain_call('remove_llm_team_member');
  v_mine := llm_private.open_team(
    p_team_id, v_actor,
    case when p_user_id = v_actor then '{owner,admin,member}'::text[] else '{owner,admin}'::text[] end,
    p_user_id
  );
  v_role := llm_private.team_role(p_team_id, p_user_id);
  if v_role is null then
    perform llm_private.member_not_found();
  elsif v_role = 'owner' then
    perform llm_private.refuse_role(v_mine, v_role);
    perform llm_private.require_other_owner(p_team_id, p_user_id);
  end if;
  -- Unlimited, so that somebody can always leave and be removed. They joined by an invitation, and those are limited.
  perform llm_private.audit_team(
    p_team_id, 'team_member_removed', v_actor, jsonb_build_object('user_id', p_user_id, 'role', v_role), false
  );
  delete from llm_private.team_members where team_id = p_team_id and user_id = p_user_id;
end
$$;

comment on function llm_private.remove_team_member is 'See remove_llm_team_member().';

-- Public RPCs ---------------------------------------------------------------------------------------------------------

create function public.list_llm_teams(p_before uuid default null, p_limit integer default 100)
returns jsonb
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select llm_private.list_teams(p_before, p_limit)
$$;

comment on function public.list_llm_teams is
'The caller''s teams, newest first, with the caller''s role, the number of members and the owners'' email addresses. For
administrators: all teams. At most 500; p_before: the last id of the previous page. Error not_signed_in.';

create function public.create_llm_team(p_name text, p_owner uuid default null)
returns jsonb
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select llm_private.create_team(p_name, p_owner)
$$;

comment on function public.create_llm_team is
'Create a team that the caller owns. For administrators: one that p_owner owns. Returns it as get_llm_team() does.
Errors: not_signed_in, account_banned, account_suspended, session_ended, invalid_argument, teams_created_by_operator,
too_many_teams, too_many_changes, unknown_user, master_key_missing.';

create function public.get_llm_team(p_team_id uuid)
returns jsonb
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select llm_private.get_team(p_team_id)
$$;

comment on function public.get_llm_team is
'One of the caller''s teams, with its policy. For administrators: any team. Errors: not_signed_in, team_not_found.';

create function public.set_llm_team(p_team_id uuid, p_changes jsonb, p_expected_version bigint default null)
returns jsonb
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select llm_private.set_team(p_team_id, p_changes, p_expected_version)
$$;

comment on function public.set_llm_team is
'For owners, admins and administrators: apply p_changes to name, keys_first, allowed_providers, default_provider,
provider_preferences (by provider and field) and task_overrides (by task); null resets. With p_expected_version, the
change is refused if the team has another version. Returns the team as get_llm_team() does.
Errors: not_signed_in, account_banned, account_suspended, session_ended, team_not_found, team_role_required,
invalid_argument, invalid_setting, unknown_setting, settings_changed, too_many_changes.';

create function public.remove_llm_team(p_team_id uuid)
returns void
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select llm_private.remove_team(p_team_id)
$$;

comment on function public.remove_llm_team is
'For owners and administrators: remove a team, its members, invitations, keys and quotas. Its usage stays.
Errors: not_signed_in, account_banned, account_suspended, session_ended, team_not_found, team_role_required.';

create function public.list_llm_team_members(p_team_id uuid)
returns jsonb
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select llm_private.list_team_members(p_team_id)
$$;

comment on function public.list_llm_team_members is
'For members and administrators: the members of a team with id, email address, name, role and when they joined.
Errors: not_signed_in, team_not_found.';

create function public.set_llm_team_member(p_team_id uuid, p_user_id uuid, p_role text)
returns jsonb
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select llm_private.set_team_member(p_team_id, p_user_id, p_role)
$$;

comment on function public.set_llm_team_member is
'Set a member''s role: owner, admin or member. Admins set that of members and admins, and make nobody an owner. For
administrators: also add a user to the team. Returns the member.
Errors: not_signed_in, account_banned, account_suspended, session_ended, team_not_found, team_role_required,
invalid_argument, member_not_found, last_owner, too_many_changes, unknown_user, too_many_members, too_many_teams.';

create function public.remove_llm_team_member(p_team_id uuid, p_user_id uuid)
returns void
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select llm_private.remove_team_member(p_team_id, p_user_id)
$$;

comment on function public.remove_llm_team_member is
'Leave a team (with the caller''s own id) or remove a member: admins remove members and admins, owners and
administrators everyone. The invitations that they made go too.
Errors: not_signed_in, account_banned, account_suspended, session_ended, team_not_found, team_role_required,
member_not_found, last_owner.';
