-- The definer functions belong to llm_definer, a role without a login that row level security binds. It has what they
-- need, and nothing of the app, Supabase Auth or Vault.
begin;
select plan(17);

select is_empty(
  $$
  select p.oid::regprocedure from pg_proc as p
  where p.pronamespace = 'llm_private'::regnamespace and p.prosecdef and p.proowner <> 'llm_definer'::regrole
    and p.proname <> all(array[
      -- They read Supabase Auth's schema.
      'administrator', 'after_members_left', 'can_act', 'check_account', 'check_quota_scope', 'check_step_up',
      'confirmed_email', 'ensure_owner', 'group_members', 'hold_account', 'is_anonymous', 'key_holder', 'list_users',
      'lock_team', 'members_json', 'refuse_user', 'remove_team', 'require_account', 'require_session', 'set_user_group',
      'signed_in_at', 'team_json', 'user_group', 'user_id',
      -- They read or write Vault.
      'destroy_master_keys', 'master_key_problems', 'put_in_vault', 'readable_master_key',
      -- They create or drop partitions, or delete from append-only tables.
      'add_month_partitions', 'drop_old_audit', 'drop_old_events', 'remove_user_data'
    ])
  $$,
  'a definer function runs with the rights of postgres only if it is in this list'
);
select is_empty(
  $$
  select r.rolname from pg_roles as r
  where r.rolname = 'llm_definer' and (
    r.rolsuper or r.rolcanlogin or r.rolbypassrls or r.rolcreaterole or r.rolcreatedb or r.rolreplication
  )
  $$,
  'the role has no login, and bypasses nothing'
);
select is_empty(
  $$select m.roleid::regrole from pg_auth_members as m where m.member = 'llm_definer'::regrole$$,
  'it has no other role''s rights'
);
select is_empty(
  $$
  select pg_describe_object(d.classid, d.objid, 0)
  from pg_shdepend as d
  left join pg_proc as p on d.classid = 'pg_proc'::regclass and d.objid = p.oid
  where d.refobjid = 'llm_definer'::regrole and d.deptype = 'o'
    and d.dbid = (select b.oid from pg_database as b where b.datname = current_database())
    and p.pronamespace is distinct from 'llm_private'::regnamespace
  $$,
  'it owns nothing but functions in llm_private'
);
select is_empty(
  $$
  select c.oid::regclass from pg_class as c
  cross join lateral aclexplode(c.relacl) as a
  where a.grantee = 'llm_definer'::regrole and c.relnamespace <> 'llm_private'::regnamespace
    and not (c.relnamespace = 'public'::regnamespace and c.relname = any(array[
      'user_llm_settings', 'llm_keys', 'llm_audit_log', 'llm_alerts', 'llm_usage_events', 'llm_usage_totals',
      'llm_usage_adjustments', 'llm_prices', 'llm_providers', 'llm_tasks'
    ]))
  $$,
  'no table of the app is granted to it'
);
select is_empty(
  $$
  select c.oid::regclass, a.privilege_type from pg_class as c
  cross join lateral aclexplode(c.relacl) as a
  where a.grantee = 'llm_definer'::regrole and (
    a.is_grantable or a.privilege_type not in ('SELECT', 'INSERT', 'UPDATE', 'DELETE')
  )
  $$,
  'it passes no grant on, and cannot truncate a table or add a trigger'
);

-- What a mistake in a helper could try.
set local role llm_definer;
select throws_ok(s.statement, '42501', null, s.about)
from (
  values
  ('select from auth.users', 'a helper cannot read accounts'),
  ('select from vault.decrypted_secrets', 'a helper cannot read Vault'),
  ('update public.llm_audit_log set action = action', 'a helper cannot change the audit log'),
  ('delete from public.llm_audit_log', 'a helper cannot delete from the audit log'),
  ('update public.llm_usage_events set cost = cost', 'a helper cannot change usage events'),
  ('delete from public.llm_usage_events', 'a helper cannot delete usage events'),
  ('delete from public.llm_usage_adjustments', 'a helper cannot delete adjustments'),
  ('update llm_private.key_secrets set ciphertext = ciphertext', 'a helper cannot change a stored key in place'),
  ('alter table llm_private.quotas disable row level security', 'a helper cannot switch off row level security'),
  ('create table public.llm_mine (id bigint)', 'a helper cannot create a table'),
  ('drop table llm_private.quotas', 'a helper cannot drop a table')
) as s (statement, about);

select * from finish();
rollback;
