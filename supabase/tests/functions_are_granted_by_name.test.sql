-- Each function is granted to the roles that need it. No function is open to PUBLIC or to everyone by default.
begin;
select plan(7);

create temporary table expected (schema_name name, function_name name, roles text);
insert into expected (schema_name, function_name, roles) values
('public', 'check_llm_usage', 'service_role'),
('public', 'explain_llm_user_route', 'service_role'),
('public', 'get_llm_configuration', 'service_role'),
('public', 'get_llm_operator_settings', 'service_role'),
('public', 'get_llm_user', 'service_role'),
('public', 'get_llm_version', 'service_role'),
('public', 'replace_llm_master_key', 'service_role'),
('public', 'list_llm_audit_seals', 'service_role'),
('public', 'list_llm_audit_texts', 'service_role'),
('public', 'get_llm_vault', 'service_role'),
('public', 'rotate_llm_vault', 'service_role'),
('public', 'rotate_llm_ticket_key', 'service_role'),
('public', 'list_llm_problems', 'service_role'),
('public', 'list_llm_runtimes', 'service_role'),
('public', 'list_llm_users', 'service_role'),
('public', 'recalculate_llm_costs', 'service_role'),
('public', 'register_llm_runtime', 'service_role'),
('public', 'remove_llm_provider', 'service_role'),
('public', 'remove_llm_user_data', 'service_role'),
('public', 'revoke_llm_runtime', 'service_role'),
('public', 'rotate_llm_runtime', 'service_role'),
('public', 'run_llm_maintenance', 'service_role'),
('public', 'set_llm_configuration', 'service_role'),
('public', 'set_llm_operator_settings', 'service_role'),
('public', 'set_llm_provider', 'service_role'),
('public', 'set_llm_user_group', 'service_role'),
('public', 'set_llm_user_suspended', 'service_role'),
('public', 'sync_llm_prices', 'service_role'),
('public', 'begin_llm_key_check', 'authenticated'),
('public', 'explain_llm_route', 'authenticated'),
('public', 'get_llm_forecast', 'authenticated'),
('public', 'get_llm_settings', 'authenticated'),
('public', 'list_llm_hints', 'authenticated'),
('public', 'list_llm_keys', 'authenticated'),
('public', 'list_llm_team_keys', 'authenticated'),
('public', 'set_llm_team_key', 'authenticated'),
('public', 'remove_llm_team_key', 'authenticated'),
('public', 'list_llm_requests', 'authenticated'),
('public', 'record_llm_key_check', 'authenticated'),
('public', 'record_llm_refusals', 'authenticated'),
('public', 'record_llm_usage', 'authenticated'),
('public', 'release_llm_request', 'authenticated'),
('public', 'remove_llm_key', 'authenticated'),
('public', 'reserve_llm_attempt', 'authenticated'),
('public', 'resolve_llm_route', 'authenticated'),
('public', 'reveal_llm_key', 'authenticated'),
('public', 'set_llm_key', 'authenticated'),
('public', 'set_llm_settings', 'authenticated'),
('public', 'accept_llm_team_invitation', 'authenticated'),
('public', 'dismiss_llm_alerts', 'authenticated service_role'),
('public', 'list_llm_teams', 'authenticated service_role'),
('public', 'create_llm_team', 'authenticated service_role'),
('public', 'get_llm_team', 'authenticated service_role'),
('public', 'set_llm_team', 'authenticated service_role'),
('public', 'remove_llm_team', 'authenticated service_role'),
('public', 'list_llm_team_members', 'authenticated service_role'),
('public', 'set_llm_team_member', 'authenticated service_role'),
('public', 'remove_llm_team_member', 'authenticated service_role'),
('public', 'create_llm_team_invitation', 'authenticated service_role'),
('public', 'list_llm_team_invitations', 'authenticated service_role'),
('public', 'remove_llm_team_invitation', 'authenticated service_role'),
('public', 'end_llm_price', 'authenticated service_role'),
('public', 'get_llm_audit_log', 'authenticated service_role'),
('public', 'get_llm_usage', 'authenticated service_role'),
('public', 'list_llm_alerts', 'authenticated service_role'),
('public', 'list_llm_models', 'authenticated service_role'),
('public', 'list_llm_prices', 'authenticated service_role'),
('public', 'list_llm_providers', 'authenticated service_role'),
('public', 'list_llm_quotas', 'authenticated service_role'),
('public', 'list_llm_refusals', 'authenticated service_role'),
('public', 'list_llm_usage_events', 'authenticated service_role'),
('public', 'remove_llm_quota', 'authenticated service_role'),
('public', 'set_llm_price', 'authenticated service_role'),
('public', 'set_llm_quota', 'authenticated service_role'),
('public', 'verify_llm_audit_log', 'authenticated service_role'),
('public', 'record_llm_usage_batch', 'anon authenticated service_role'),
('llm_private', 'check_usage', 'service_role'),
('llm_private', 'configuration', 'service_role'),
('llm_private', 'explain_user_route', 'service_role'),
('llm_private', 'get_user', 'service_role'),
('llm_private', 'installed_version', 'service_role'),
('llm_private', 'list_audit_seals', 'service_role'),
('llm_private', 'list_audit_texts', 'service_role'),
('llm_private', 'replace_master_key', 'service_role'),
('llm_private', 'get_vault', 'service_role'),
('llm_private', 'rotate_vault', 'service_role'),
('llm_private', 'rotate_ticket_key', 'service_role'),
('llm_private', 'list_problems', 'service_role'),
('llm_private', 'list_runtimes', 'service_role'),
('llm_private', 'list_users', 'service_role'),
('llm_private', 'operator_settings_json', 'service_role'),
('llm_private', 'recalculate_costs', 'service_role'),
('llm_private', 'register_runtime', 'service_role'),
('llm_private', 'remove_provider', 'service_role'),
('llm_private', 'remove_user_data', 'service_role'),
('llm_private', 'revoke_runtime', 'service_role'),
('llm_private', 'rotate_runtime', 'service_role'),
('llm_private', 'run_maintenance', 'service_role'),
('llm_private', 'set_configuration', 'service_role'),
('llm_private', 'set_operator_settings', 'service_role'),
('llm_private', 'set_provider', 'service_role'),
('llm_private', 'set_user_group', 'service_role'),
('llm_private', 'set_user_suspended', 'service_role'),
('llm_private', 'sync_prices', 'service_role'),
('llm_private', 'begin_key_check', 'authenticated'),
('llm_private', 'explain_route', 'authenticated'),
('llm_private', 'forecast', 'authenticated'),
('llm_private', 'get_settings', 'authenticated'),
('llm_private', 'hints', 'authenticated'),
('llm_private', 'is_not_estimate', 'authenticated'),
('llm_private', 'list_keys', 'authenticated'),
('llm_private', 'list_team_keys', 'authenticated'),
('llm_private', 'set_team_key', 'authenticated'),
('llm_private', 'remove_team_key', 'authenticated'),
('llm_private', 'list_requests', 'authenticated'),
('llm_private', 'record_key_check', 'authenticated'),
('llm_private', 'record_refusals', 'authenticated'),
('llm_private', 'record_usage', 'authenticated'),
('llm_private', 'release_request', 'authenticated'),
('llm_private', 'remove_key', 'authenticated'),
('llm_private', 'reserve_attempt', 'authenticated'),
('llm_private', 'resolve_route', 'authenticated'),
('llm_private', 'reveal_key', 'authenticated'),
('llm_private', 'set_key', 'authenticated'),
('llm_private', 'set_settings', 'authenticated'),
('llm_private', 'user_id', 'authenticated'),
('llm_private', 'accept_team_invitation', 'authenticated'),
('llm_private', 'acting_owner', 'authenticated service_role'),
('llm_private', 'list_teams', 'authenticated service_role'),
('llm_private', 'create_team', 'authenticated service_role'),
('llm_private', 'get_team', 'authenticated service_role'),
('llm_private', 'set_team', 'authenticated service_role'),
('llm_private', 'remove_team', 'authenticated service_role'),
('llm_private', 'list_team_members', 'authenticated service_role'),
('llm_private', 'set_team_member', 'authenticated service_role'),
('llm_private', 'remove_team_member', 'authenticated service_role'),
('llm_private', 'create_team_invitation', 'authenticated service_role'),
('llm_private', 'list_team_invitations', 'authenticated service_role'),
('llm_private', 'remove_team_invitation', 'authenticated service_role'),
('llm_private', 'audit_log', 'authenticated service_role'),
('llm_private', 'verify_audit_log', 'authenticated service_role'),
('llm_private', 'dismiss_alerts', 'authenticated service_role'),
('llm_private', 'end_price', 'authenticated service_role'),
('llm_private', 'list_events', 'authenticated service_role'),
('llm_private', 'list_models', 'authenticated service_role'),
('llm_private', 'list_prices', 'authenticated service_role'),
('llm_private', 'list_quotas', 'authenticated service_role'),
('llm_private', 'list_refusals', 'authenticated service_role'),
('llm_private', 'remove_quota', 'authenticated service_role'),
('llm_private', 'set_price', 'authenticated service_role'),
('llm_private', 'set_quota', 'authenticated service_role'),
('llm_private', 'usage_report', 'authenticated service_role'),
('llm_private', 'record_batch', 'anon authenticated service_role');

create temporary table granted as
select
  n.nspname as schema_name,
  p.proname as function_name,
  p.prosecdef as definer,
  p.proconfig as config,
  p.proowner as owner,
  coalesce(
    (
      select
        string_agg(
          case a.grantee when 0 then 'public' else a.grantee::regrole::text end, ' ' order by a.grantee::regrole::text
        )
      from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) as a
      -- What the owner of the helpers may call is in helpers_can_do_only_what_they_need.test.sql.
      where a.grantee not in (p.proowner, 'llm_definer'::regrole)
    ), ''
  ) as roles
from pg_proc as p
inner join pg_namespace as n on p.pronamespace = n.oid
left join expected as e on n.nspname = e.schema_name and p.proname = e.function_name
-- The app has functions of its own in public.
where n.nspname = 'llm_private' or e.function_name is not null;

select results_eq(
  $$select schema_name, function_name, roles from granted where roles <> '' order by 1, 2$$,
  $$select schema_name, function_name, roles from expected order by 1, 2$$,
  'each function is granted to its roles, and to no others'
);
select is_empty(
  $$select function_name from granted group by schema_name, function_name having count(*) > 1$$,
  'no function is overloaded, so a grant names one function'
);
select is_empty(
  $$select function_name from granted where schema_name = 'public' and definer$$,
  'functions in public run with the rights of their caller'
);
select is_empty(
  $$select function_name from granted where schema_name = 'llm_private' and roles <> '' and not definer$$,
  'the private functions that they call check the caller themselves'
);
select is_empty(
  $$select function_name from granted where not coalesce(config, '{}') @> '{"search_path=pg_catalog, pg_temp"}'$$,
  'every function pins its search path, so that no other schema''s objects are taken for its own'
);
select is_empty(
  $$
  select g.function_name from granted as g
  inner join pg_roles as r on r.oid = g.owner
  where g.definer and r.rolsuper
  $$,
  'no function runs as a superuser'
);

-- An administrator's function, called by a user.
set local role authenticated;
set local "request.jwt.claims" = '{"sub": "ada00000-0000-4000-8000-000000000001", "role": "authenticated"}';
select throws_ok(
  $$select public.set_llm_operator_settings('{"reveal_enabled": true}')$$, '42501', null,
  'users cannot change the operator''s settings'
);

select * from finish();
rollback;
