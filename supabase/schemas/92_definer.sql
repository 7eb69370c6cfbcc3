-- The role of the helpers: what the definer functions in llm_private may do.
--
-- A definer function runs with its owner's rights. If postgres owned them all, a mistake in one of them would have the
-- rights of postgres: it bypasses row level security, and may read Vault and the app's own tables, and drop anything.
-- So they belong to llm_definer, which owns nothing but these functions and has the privileges below. It cannot log in,
-- and row level security binds it.
--
-- A migration that adds or drops definer functions or tables repeats the grants for them, and calls assign_helpers().

do $$
begin
  -- Roles belong to the whole server, so this one outlives a reset, and another database may use it.
  if not exists (select from pg_roles as r where r.rolname = 'llm_definer') then
    create role llm_definer;
    comment on role llm_definer is 'Owns supa-llm''s definer functions: see llm_private.assign_helpers().';
  end if;
  if exists (
    select from pg_roles as r
    where
      r.rolname = 'llm_definer'
      and (
        r.rolsuper or r.rolcanlogin or r.rolcreaterole or r.rolcreatedb or r.rolreplication or r.rolbypassrls
        or exists (select from pg_auth_members as m where m.member = r.oid)
      )
  ) then
    raise exception 'The role llm_definer exists, and has more rights than supa-llm''s functions need.'
      using hint = 'Run: alter role llm_definer nosuperuser nologin nocreaterole nocreatedb noreplication nobypassrls; '
      'and revoke the roles that were granted to it.';
  end if;
end
$$;

-- Only a member can give functions to the role, and replace them later.
grant llm_definer to current_user;

grant usage on schema llm_private, extensions to llm_definer;

-- Privileges on tables ------------------------------------------------------------------------------------------------
-- What the functions need, and no more: tests/database/test_definer.py derives it from their source. Nothing can change
-- or delete an entry of the audit log or a usage event.

grant select on table
llm_private.adjusted_events, llm_private.audit_findings, llm_private.audit_seal_points, llm_private.audit_sealing,
llm_private.audit_seals, llm_private.charges, llm_private.dropped_events, llm_private.installation,
llm_private.key_checks, llm_private.key_owners, llm_private.key_reveals, llm_private.key_secrets, llm_private.leases,
llm_private.master_keys, llm_private.operator_settings, llm_private.price_list, llm_private.price_names,
llm_private.price_tiers, llm_private.price_units, llm_private.project_totals, llm_private.quota_counters,
llm_private.quotas, llm_private.recalculations, llm_private.refusals, llm_private.refused_events,
llm_private.reservations, llm_private.runtimes, llm_private.suspended_users, llm_private.team_invitations,
llm_private.team_members, llm_private.teams, llm_private.ticket_keys, llm_private.usage_measures,
llm_private.usage_retention, llm_private.usage_rollups, public.llm_alerts, public.llm_audit_log, public.llm_keys,
public.llm_prices, public.llm_providers, public.llm_tasks, public.llm_usage_adjustments, public.llm_usage_events,
public.llm_usage_totals, public.user_llm_settings
to llm_definer;

grant insert on table
llm_private.audit_findings, llm_private.audit_seal_points, llm_private.audit_sealing, llm_private.audit_seals,
llm_private.charges, llm_private.dropped_events, llm_private.key_checks, llm_private.key_owners,
llm_private.key_reveals, llm_private.key_secrets, llm_private.leases, llm_private.master_keys, llm_private.price_list,
llm_private.price_names, llm_private.price_tiers, llm_private.project_totals, llm_private.quota_counters,
llm_private.quotas, llm_private.recalculations, llm_private.refusals, llm_private.refused_events,
llm_private.reservations, llm_private.runtimes, llm_private.suspended_users, llm_private.team_invitations,
llm_private.team_members, llm_private.teams, llm_private.ticket_keys, llm_private.usage_rollups, public.llm_alerts,
public.llm_audit_log, public.llm_keys, public.llm_prices, public.llm_providers, public.llm_usage_adjustments,
public.llm_usage_events, public.llm_usage_totals, public.user_llm_settings
to llm_definer;

grant update on table
llm_private.audit_findings, llm_private.audit_sealing, llm_private.charges, llm_private.dropped_events,
llm_private.installation, llm_private.key_checks, llm_private.key_owners, llm_private.key_reveals, llm_private.leases,
llm_private.master_keys, llm_private.operator_settings, llm_private.price_list, llm_private.price_names,
llm_private.quota_counters, llm_private.quotas, llm_private.recalculations, llm_private.refusals,
llm_private.refused_events, llm_private.reservations, llm_private.runtimes, llm_private.team_members,
llm_private.teams, llm_private.ticket_keys, llm_private.usage_rollups, public.llm_alerts, public.llm_keys,
public.llm_prices, public.llm_providers, public.llm_tasks, public.llm_usage_totals, public.user_llm_settings
to llm_definer;

grant delete on table
llm_private.audit_findings, llm_private.charges, llm_private.dropped_events, llm_private.key_checks,
llm_private.key_reveals, llm_private.leases, llm_private.price_list, llm_private.price_names,
llm_private.project_totals, llm_private.quota_counters, llm_private.quotas, llm_private.refusals,
llm_private.refused_events, llm_private.reservations, llm_private.suspended_users, llm_private.team_invitations,
llm_private.team_members, llm_private.ticket_keys, public.llm_keys, public.llm_prices, public.llm_providers
to llm_definer;

-- Functions that keep the rights of postgres --------------------------------------------------------------------------
-- Those of assign_helpers() that the role's functions call.

grant execute on function
llm_private.add_month_partitions, llm_private.administrator, llm_private.can_act, llm_private.check_account,
llm_private.check_quota_scope, llm_private.check_step_up, llm_private.confirmed_email,
llm_private.destroy_master_keys, llm_private.drop_old_audit, llm_private.drop_old_events, llm_private.group_members,
llm_private.hold_account, llm_private.is_anonymous, llm_private.key_holder, llm_private.list_users,
llm_private.lock_team, llm_private.master_key_problems, llm_private.members_json, llm_private.put_in_vault,
llm_private.readable_master_key, llm_private.refuse_user, llm_private.require_account, llm_private.require_session,
llm_private.signed_in_at, llm_private.team_json, llm_private.user_group, llm_private.user_id
to llm_definer;

-- Ownership -----------------------------------------------------------------------------------------------------------

create function llm_private.assign_helpers()
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_kept constant text[] := array[
    -- They read Supabase Auth's schema, on which only supabase_auth_admin can grant privileges.
    'administrator', 'after_members_left', 'can_act', 'check_account', 'check_quota_scope', 'check_step_up',
    'confirmed_email', 'ensure_owner', 'group_members', 'hold_account', 'is_anonymous', 'key_holder', 'list_users',
    'lock_team', 'members_json', 'refuse_user', 'remove_team', 'require_account', 'require_session', 'set_user_group',
    'signed_in_at', 'team_json', 'user_group', 'user_id',
    -- They read or write Vault.
    'destroy_master_keys', 'master_key_problems', 'put_in_vault', 'readable_master_key',
    -- They create or drop partitions.
    'add_month_partitions', 'drop_old_audit', 'drop_old_events',
    -- It deletes from append-only tables.
    'remove_user_data'
  ];
  v_object text;
begin
  -- The new owner of a function must be able to create one there.
  grant create on schema llm_private to llm_definer;
  for v_object in
    select p.oid::regprocedure from pg_proc as p
    where p.pronamespace = 'llm_private'::regnamespace and p.prosecdef and p.proname <> all(v_kept)
  loop
    execute format('alter function %s owner to llm_definer', v_object);
  end loop;
  revoke create on schema llm_private from llm_definer;
  -- A function that runs with its caller's rights gives the role nothing that it does not have.
  for v_object in
    select p.oid::regprocedure from pg_proc as p
    where p.pronamespace = 'llm_private'::regnamespace and not p.prosecdef
  loop
    execute format('grant execute on function %s to llm_definer', v_object);
  end loop;
  -- Row level security binds the role. Which rows a function may touch, it checks itself.
  for v_object in
    select c.oid::regclass from pg_class as c
    where c.relkind in ('r', 'p') and exists (
      select from aclexplode(c.relacl) as a where a.grantee = 'llm_definer'::regrole
    ) and not exists (
      select from pg_policy as l where l.polrelid = c.oid and l.polroles @> array['llm_definer'::regrole::oid]
    )
  loop
    execute format('create policy "helpers check rows themselves" on %s to llm_definer using (true)', v_object);
  end loop;
end
$$;

comment on function llm_private.assign_helpers is
'Give the definer functions in llm_private to the role llm_definer, but for those that need postgres, with the rights to
call the other functions, and with a policy on each table that was granted to it. Running it again changes nothing.';

revoke all on function llm_private.assign_helpers from public, anon, authenticated, service_role;

select llm_private.assign_helpers();
