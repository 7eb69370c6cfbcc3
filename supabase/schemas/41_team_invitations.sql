-- Invitations to teams. See docs/teams.md.
--
-- An invitation has an email address or a token. With an address, the user whose confirmed address it is sees it and
-- accepts it by its id. With a token, whoever has the token accepts it, once. Creating an invitation does not show
-- whether the address has an account.

create table llm_private.team_invitations (
  id uuid primary key default gen_random_uuid(),
  team_id uuid not null references llm_private.teams (id) on delete cascade,
  role text not null check (role in ('owner', 'admin', 'member')),
  email text,
  -- A plain hash is enough, because a token is 32 random bytes and cannot be guessed.
  token_hash bytea unique,
  invited_by uuid not null,
  created_at timestamptz not null default now(),
  expires_at timestamptz not null,
  unique (team_id, email),
  check ((email is null) <> (token_hash is null))
);

create index team_invitations_email on llm_private.team_invitations (email);

comment on table llm_private.team_invitations is
'Invitations that nobody has accepted. One is accepted by its token, or by the user whose confirmed address it names.';
comment on column llm_private.team_invitations.email is 'In lower case, as in auth.users; null: anyone with the token.';
comment on column llm_private.team_invitations.invited_by is
'A user, or llm_private.operator_id(). The invitation goes when this user leaves the team.';

alter table llm_private.team_invitations enable row level security;

-- Private helpers -----------------------------------------------------------------------------------------------------

create function llm_private.confirmed_email(p_user uuid)
returns text
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select lower(u.email) from auth.users as u
    where u.id = p_user and u.email_confirmed_at is not null and u.deleted_at is null
  );
end
$$;

comment on function llm_private.confirmed_email is 'A user''s email address in lower case, if they have confirmed it.';

create function llm_private.invitation_json(p_invitation llm_private.team_invitations)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return jsonb_build_object(
    'id', p_invitation.id,
    'team_id', p_invitation.team_id,
    'team_name', (select t.name from llm_private.teams as t where t.id = p_invitation.team_id),
    'role', p_invitation.role,
    'email', p_invitation.email,
    'created_at', p_invitation.created_at,
    'expires_at', p_invitation.expires_at
  );
end
$$;

comment on function llm_private.invitation_json is
'An invitation without its token. It does not name who made it, because members alone see members.';

create function llm_private.invitation_invalid()
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  perform llm_private.fail(
    404, 'invitation_invalid', 'This invitation is not valid.',
    'It may be used up, expired, removed or for another email address. Ask for a new one.'
  );
end
$$;

comment on function llm_private.invitation_invalid is
'Error invitation_invalid, the same for all reasons, so that invitations cannot be tried out.';

create function llm_private.check_invitation(p_role text, p_email text, p_valid_hours integer)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  perform llm_private.check_length('p_email', p_email, 320);
  perform llm_private.check_value(
    'invalid_argument', p_email is null or p_email ~ '^[^[:space:][:cntrl:]@]+@[^[:space:][:cntrl:]@]+$', 'p_email',
    'an email address, or null'
  );
  perform llm_private.check_value(
    'invalid_argument', p_role in ('owner', 'admin', 'member'), 'p_role', 'owner, admin or member'
  );
  perform llm_private.check_value('invalid_argument', p_valid_hours between 1 and 720, 'p_valid_hours', '1 to 720');
end
$$;

comment on function llm_private.check_invitation is 'Error invalid_argument unless these can be of an invitation.';

create function llm_private.create_team_invitation(
  p_team_id uuid, p_role text, p_email text, p_valid_hours integer
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor constant uuid := llm_private.team_actor();
  v_most constant integer := 100;
  v_email constant text := lower(p_email);
  v_token text;
  v_row llm_private.team_invitations;
begin
  perform llm_private.require_plain_call('create_llm_team_invitation');
  perform llm_private.check_invitation(p_role, p_email, p_valid_hours);
  perform llm_private.refuse_role(llm_private.open_team(p_team_id, v_actor, '{owner,admin}'), p_role);
  -- A new invitation of an address replaces the old one.
  delete from llm_private.team_invitations as i
  where i.team_id = p_team_id and (i.expires_at <= now() or i.email = v_email);
  if (select count(*) from llm_private.team_invitations as i where i.team_id = p_team_id) >= v_most then
    perform llm_private.fail(
      429, 'too_many_invitations', format('The team has %s open invitations, which is the limit.', v_most),
      'Remove some, or wait until they are accepted or expire.'
    );
  end if;
  if v_email is null then
    v_token := 'sli_' || translate(encode(extensions.gen_random_bytes(32), 'base64'), '+/=', '-_');
  end if;
  insert into llm_private.team_invitations (team_id, role, email, token_hash, invited_by, expires_at)
  values (
    p_team_id, p_role, v_email, sha256(convert_to(v_token, 'UTF8')), v_actor, now() + make_interval(hours => p_valid_hours)
  )
  returning * into v_row;
  perform llm_private.audit_team(
    p_team_id, 'team_invitation_created', v_actor,
    jsonb_build_object('invitation_id', v_row.id, 'role', p_role, 'email', v_email, 'expires_at', v_row.expires_at)
  );
  return llm_private.invitation_json(v_row) || jsonb_build_object('token', v_token);
end
$$;

comment on function llm_private.create_team_invitation is 'See create_llm_team_invitation().';

create function llm_private.list_team_invitations(p_team_id uuid)
returns jsonb
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor constant uuid := llm_private.acting_owner();
  v_email text;
begin
  if p_team_id is not null then
    perform llm_private.team_access(p_team_id, v_actor, '{owner,admin}');
  else
    v_email := llm_private.confirmed_email(v_actor);
  end if;
  return (
    select coalesce(jsonb_agg(llm_private.invitation_json(i) order by i.created_at desc, i.id), '[]')
    from (
      select n.* from llm_private.team_invitations as n
      where n.expires_at > now() and (n.team_id = p_team_id or p_team_id is null and n.email = v_email)
      order by n.created_at desc, n.id
      limit 100
    ) as i
  );
end
$$;

comment on function llm_private.list_team_invitations is 'See list_llm_team_invitations().';

create function llm_private.remove_team_invitation(p_team_id uuid, p_id uuid)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_actor constant uuid := llm_private.team_actor();
  v_email constant text := llm_private.confirmed_email(v_actor);
begin
  perform llm_private.require_plain_call('remove_llm_team_invitation');
  if exists (
    select from llm_private.team_invitations as i where i.id = p_id and i.team_id = p_team_id and i.email = v_email
  ) then
    perform llm_private.lock_team(p_team_id);
  else
    perform llm_private.open_team(p_team_id, v_actor, '{owner,admin}');
  end if;
  delete from llm_private.team_invitations where id = p_id and team_id = p_team_id;
  if not found then
    perform llm_private.invitation_invalid();
  end if;
  perform llm_private.audit_team(
    p_team_id, 'team_invitation_removed', v_actor, jsonb_build_object('invitation_id', p_id), false
  );
end
$$;

comment on function llm_private.remove_team_invitation is 'See remove_llm_team_invitation().';

create function llm_private.find_invitation(p_invitation text, p_user uuid)
returns llm_private.team_invitations
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_row llm_private.team_invitations;
begin
  if p_invitation like 'sli\_%' then
    select * into v_row from llm_private.team_invitations as i
    where i.token_hash = sha256(convert_to(p_invitation, 'UTF8')) and i.expires_at > now();
  elsif p_invitation ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then
    select * into v_row from llm_private.team_invitations as i
    where i.id = p_invitation::uuid and i.email = llm_private.confirmed_email(p_user) and i.expires_at > now();
  end if;
  if v_row.id is null then
    perform llm_private.invitation_invalid();
  end if;
  return v_row;
end
$$;

comment on function llm_private.find_invitation is
'The invitation with this token or, if it is addressed to this user, with this id. Error invitation_invalid.';

create function llm_private.accept_team_invitation(p_invitation text)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_user constant uuid := llm_private.require_session();
  v_row llm_private.team_invitations;
begin
  perform llm_private.require_plain_call('accept_llm_team_invitation');
  perform llm_private.check_length('p_invitation', p_invitation, 100);
  v_row := llm_private.find_invitation(p_invitation, v_user);
  perform
    llm_private.hold_account(v_user),
    llm_private.lock_team(v_row.team_id);
  -- Again, because somebody else may have used it up before the team was locked.
  v_row := llm_private.find_invitation(p_invitation, v_user);
  if llm_private.team_role(v_row.team_id, v_user) is not null then
    perform llm_private.fail(
      409, 'already_member', 'You are a member of this team already.', 'The invitation is still valid for others.'
    );
  end if;
  perform llm_private.audit_change(
    v_user, 'team_joined', p_runtime => llm_private.current_runtime(),
    p_detail => jsonb_build_object('team_id', v_row.team_id, 'role', v_row.role)
  );
  delete from llm_private.team_invitations where id = v_row.id;
  perform llm_private.join_team(v_row.team_id, v_user, v_row.role);
  perform llm_private.audit_team(
    v_row.team_id, 'team_member_added', v_user,
    jsonb_build_object('user_id', v_user, 'role', v_row.role, 'invitation_id', v_row.id), false
  );
  return llm_private.team_details(v_row.team_id, v_user);
end
$$;

comment on function llm_private.accept_team_invitation is 'See accept_llm_team_invitation().';

-- Public RPCs ---------------------------------------------------------------------------------------------------------

create function public.create_llm_team_invitation(
  p_team_id uuid, p_role text default 'member', p_email text default null, p_valid_hours integer default 168
)
returns jsonb
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select llm_private.create_team_invitation(p_team_id, p_role, p_email, p_valid_hours)
$$;

comment on function public.create_llm_team_invitation is
'For owners, admins and administrators: invite somebody to a team for p_valid_hours, from 1 to 720. Owners alone invite
owners. With p_email, the user with this confirmed address sees the invitation in list_llm_team_invitations(), and a
former one of the address ends; without, the result has a token, which is returned this once and good for one use.
Errors: not_signed_in, account_banned, account_suspended, session_ended, team_not_found, team_role_required,
invalid_argument, too_many_invitations, too_many_changes.';

create function public.list_llm_team_invitations(p_team_id uuid default null)
returns jsonb
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select llm_private.list_team_invitations(p_team_id)
$$;

comment on function public.list_llm_team_invitations is
'For owners, admins and administrators: the open invitations of a team, without tokens. Without p_team_id: those to the
caller''s confirmed email address. At most 100. Errors: not_signed_in, team_not_found, team_role_required.';

create function public.remove_llm_team_invitation(p_team_id uuid, p_id uuid)
returns void
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select llm_private.remove_team_invitation(p_team_id, p_id)
$$;

comment on function public.remove_llm_team_invitation is
'For owners, admins and administrators: remove an open invitation. For the user to whose address it is: decline it.
Errors: not_signed_in, account_banned, account_suspended, session_ended, team_not_found, team_role_required,
invitation_invalid.';

create function public.accept_llm_team_invitation(p_invitation text)
returns jsonb
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select llm_private.accept_team_invitation(p_invitation)
$$;

comment on function public.accept_llm_team_invitation is
'Join a team by an invitation''s token or, if it is addressed to the caller, its id. Returns the team as get_llm_team()
does. Errors: not_signed_in, account_banned, account_suspended, session_ended, invalid_argument, invitation_invalid,
already_member, too_many_members, too_many_teams, too_many_changes.';
