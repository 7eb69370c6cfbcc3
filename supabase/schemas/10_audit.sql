-- The audit log: who changed, revealed or leased what. It is append-only. Users read their own entries; what
-- administrators change is on the operator's log, under the user id of llm_private.operator_id().
-- It never holds a secret: a key appears as its id and masked hint.

create table public.llm_audit_log (
  user_id uuid not null,
  id uuid not null default llm_private.uuid_v7(),
  at timestamptz not null default now(),
  action text not null,
  actor text not null,
  provider text,
  key_id uuid,
  runtime_id uuid,
  detail jsonb not null default '{}',
  primary key (user_id, id)
) partition by range (id);

comment on table public.llm_audit_log is
'Users'' changes, reveals and leases, and administrators'' changes. Append-only, one partition a month. Users read their
own entries; the operator''s have the user id of llm_private.operator_id(), and a team''s have the id of the team.';
comment on column public.llm_audit_log.action is
'settings_changed, key_set, key_revoked, key_revealed, key_checked, key_check_result, price_set, price_ended, quota_set,
quota_removed, team_created, team_joined, or lease (a runtime or session may get keys until a time). On a team''s log:
team_created, team_changed, team_removed, team_member_added, team_member_removed, team_role_set, team_invitation_created
or team_invitation_removed. On the operator''s log: the same of a team by an administrator,
operator_settings_changed, provider_set, provider_removed, price_set, price_ended, prices_synced, quota_set, quota_removed, user_group_set, runtime_registered,
runtime_rotated, runtime_revoked, user_suspended, user_resumed, user_data_removed, recalculation_started,
recalculation_finished, months_dropped, master_key_replaced, master_keys_imported, vault_rotation_started, vault_rotated or ticket_key_rotated.';
comment on column public.llm_audit_log.actor is
'user, runtime (a registered runtime acted for the user) or administrator.';
comment on column public.llm_audit_log.detail is
'The changes, masked hints or expiry; never a secret. On a team''s log: by, the id of the user who made the change. If
an administrator made it, and on the operator''s log: by (the role, and the sub and email of the token if it has them),
and old and new: the fields that changed.';

create table llm_private.llm_audit_log_default partition of public.llm_audit_log default;

alter table public.llm_audit_log enable row level security;
alter table llm_private.llm_audit_log_default enable row level security;

create policy "users read their own audit log" on public.llm_audit_log
for select to authenticated using (llm_private.is_not_estimate() and user_id = (select llm_private.user_id()));

-- Private helpers -----------------------------------------------------------------------------------------------------

create function llm_private.audit(
  p_user uuid,
  p_action text,
  p_provider text default null,
  p_key_id uuid default null,
  p_runtime uuid default null,
  p_detail jsonb default '{}'
)
returns void
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  insert into public.llm_audit_log (user_id, action, actor, provider, key_id, runtime_id, detail)
  values (
    p_user, p_action, case when p_runtime is null then 'user' else 'runtime' end,
    p_provider, p_key_id, p_runtime, p_detail
  )
$$;

comment on function llm_private.audit is 'Append an entry to a user''s audit log.';

create function llm_private.audit_change(
  p_user uuid,
  p_action text,
  p_provider text default null,
  p_key_id uuid default null,
  p_runtime uuid default null,
  p_detail jsonb default '{}'
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_per_day constant integer := (select o.changes_per_day from llm_private.operator_settings as o);
  v_entries bigint;
  v_bytes bigint;
  v_first timestamptz;
begin
  -- Serializes a user's changes, so that together they cannot pass the limit.
  perform pg_advisory_xact_lock(hashtext('llm_private.audit_change'), hashtext(p_user::text));
  select count(*), coalesce(sum(octet_length(l.detail::text)), 0), min(l.at) into v_entries, v_bytes, v_first
  from public.llm_audit_log as l
  where
    l.user_id = p_user and l.id >= llm_private.first_uuid_v7(now() - interval '1 day') and l.action = p_action;
  -- A single entry is never too large.
  if v_entries >= v_per_day or v_entries > 0 and v_bytes + octet_length(p_detail::text) > v_per_day * 2048::bigint then
    perform llm_private.fail(
      429, 'too_many_changes', 'You have done this too often within 24 hours.',
      format(
        'Try again after %s UTC. The limit is %s times a day, or fewer if the changes are large.',
        to_char((v_first + interval '1 day') at time zone 'UTC', 'YYYY-MM-DD HH24:MI'), v_per_day
      )
    );
  end if;
  perform llm_private.audit(p_user, p_action, p_provider, p_key_id, p_runtime, p_detail);
end
$$;

comment on function llm_private.audit_change is
'Append an entry for an action that users can repeat. Each action has its own limit, so that many changes of one kind do
not prevent others. Error too_many_changes.';

create function llm_private.administrator()
returns jsonb
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  return jsonb_strip_nulls(
    jsonb_build_object(
      -- In a definer function, current_user is its owner.
      'role', coalesce(nullif(current_setting('role'), 'none'), session_user),
      'sub', left(auth.jwt() ->> 'sub', 200),
      'email', left(auth.jwt() ->> 'email', 320)
    )
  );
end
$$;

comment on function llm_private.administrator is
'Who makes an administrator''s call: the role, and the sub and email of the token if it has them.';

create function llm_private.audit_operator(
  p_action text,
  p_old jsonb default null,
  p_new jsonb default null,
  p_provider text default null,
  p_runtime uuid default null,
  p_detail jsonb default '{}'
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_old jsonb := p_old;
  v_new jsonb := p_new;
begin
  if p_old = p_new then
    return;
  end if;
  if p_old is not null and p_new is not null then
    select jsonb_object_agg(o.key, o.value), jsonb_object_agg(o.key, p_new -> o.key) into v_old, v_new
    from jsonb_each(p_old) as o
    where o.value is distinct from p_new -> o.key;
  end if;
  insert into public.llm_audit_log (user_id, action, actor, provider, runtime_id, detail)
  values (
    llm_private.operator_id(), p_action, 'administrator', p_provider, p_runtime,
    jsonb_build_object('by', llm_private.administrator()) || p_detail
    || case when p_old is null and p_new is null then '{}' else jsonb_build_object('old', v_old, 'new', v_new) end
  );
end
$$;

comment on function llm_private.audit_operator is
'Append an administrator''s change to the operator''s audit log, with the fields that differ between p_old and p_new;
nothing if none differs.';

create function llm_private.readable_log(p_caller uuid, p_user_id uuid, p_team_id uuid)
returns uuid
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_team_id is not null then
    -- The log of a removed team stays, for administrators.
    if p_caller <> llm_private.operator_id() then
      perform llm_private.require_team_role(p_team_id, p_caller, '{owner,admin}');
    end if;
    return p_team_id;
  elsif p_caller = llm_private.operator_id() then
    return coalesce(p_user_id, p_caller);
  end if;
  return p_caller;
end
$$;

comment on function llm_private.readable_log is
'Whose log a caller reads or verifies: that of p_team_id, for its owners and admins; for the operator that of p_user_id;
otherwise their own. Errors: team_not_found, team_role_required.';

create function llm_private.audit_log(
  p_limit integer,
  p_before uuid,
  p_user_id uuid,
  p_action text,
  p_provider text,
  p_by text,
  p_since timestamptz,
  p_until timestamptz,
  p_team_id uuid
)
returns setof public.llm_audit_log
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_owner constant uuid := llm_private.acting_owner();
  v_log uuid;
  -- Ids begin with the time, within the range that a UUIDv7 can hold.
  v_first constant uuid := llm_private.first_uuid_v7(greatest(least(p_since, '9999-01-01'), 'epoch'));
  v_end constant uuid := llm_private.first_uuid_v7(greatest(least(p_until, '9999-01-01'), 'epoch'));
begin
  perform
    llm_private.check_length('p_action', p_action, 64),
    llm_private.check_length('p_provider', p_provider, 32),
    llm_private.check_length('p_by', p_by, 320);
  v_log := llm_private.readable_log(v_owner, p_user_id, p_team_id);
  return query
  select l.* from public.llm_audit_log as l
  where
    l.user_id = v_log
    and (p_before is null or l.id < p_before)
    and (p_since is null or l.id >= v_first)
    and (p_until is null or l.id < v_end)
    and (p_action is null or l.action = p_action)
    and (p_provider is null or l.provider = p_provider)
    and (
      p_by is null or l.actor = p_by or lower(l.detail #>> '{by,email}') = lower(p_by)
      or p_by in (l.detail #>> '{by,sub}', l.detail #>> '{by,role}', l.detail ->> 'by')
    )
  order by l.id desc
  limit least(greatest(coalesce(p_limit, 50), 1), 500);
end
$$;

comment on function llm_private.audit_log is 'See get_llm_audit_log().';

-- Public RPCs ---------------------------------------------------------------------------------------------------------

create function public.get_llm_audit_log(
  p_limit integer default 50,
  p_before uuid default null,
  p_user_id uuid default null,
  p_action text default null,
  p_provider text default null,
  p_by text default null,
  p_since timestamptz default null,
  p_until timestamptz default null,
  p_team_id uuid default null
)
returns setof public.llm_audit_log
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select * from llm_private.audit_log(
    p_limit, p_before, p_user_id, p_action, p_provider, p_by, p_since, p_until, p_team_id
  )
$$;

comment on function public.get_llm_audit_log is
'The caller''s audit log, newest first, at most 500 entries. p_before: the last id of the previous page. Only entries
with this p_action, p_provider and p_by (the actor, or the email address, sub or role of an administrator), from p_since to
before p_until. With p_team_id: the log of a team, for its owners and admins; p_by is also the id of the user who made a
change. For administrators: the log of p_user_id or, without it, the operator''s: what administrators changed.
Errors: not_signed_in, invalid_argument, team_not_found, team_role_required.';
