-- Teams: users who share provider keys, a policy and quotas. See docs/teams.md.
--
-- A member's requests can use the team's keys through a runtime; nobody, its owners included, can read them. Owners and
-- admins manage members, keys, policy and quotas. A team always has an owner: the last one cannot leave, and if their
-- account is deleted or suspended, another member becomes owner.
--
-- A removed team keeps its row, so that reports of its usage keep its name; its members, keys and quotas are deleted.

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
  return (select m.role from llm_private.team_members as m where m.team_id = p_team and m.user_id = p_user);
end
$$;

comment on function llm_private.team_role is 'The role of a user in a team: owner, admin or member; null: none.';

create function llm_private.require_team_role(p_team uuid, p_user uuid, p_roles text[])
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_role constant text := llm_private.team_role(p_team, p_user);
begin
  -- The same error as for a team that does not exist, so that ids of teams cannot be tried out.
  if v_role is null then
    perform llm_private.fail(
      404, 'team_not_found', 'Team not found, or you are not a member of it.', 'list_llm_teams() returns your teams.'
    );
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
