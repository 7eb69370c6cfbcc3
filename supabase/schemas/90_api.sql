-- The API: what it offers, and to whom. Without a grant here, only the owner has access.
--
--   authenticated   a signed-in user, who sees their own rows under row level security
--   service_role    an administrator with a secret key
--   anon            anyone else; a runtime also calls as this role when it records with tickets
--
-- An RPC in public runs with the rights of its caller. Where it needs more, it calls a function in llm_private that
-- runs with the owner's rights and checks whose rows it touches. So both functions are granted to the same roles.
-- No function is overloaded, so names identify functions.

-- Revoke everything ---------------------------------------------------------------------------------------------------
-- A project's default privileges may grant functions to everyone, TRUNCATE on tables, which ignores row level security,
-- and setval() on sequences. In public, this names only supa-llm's objects.

revoke all on schema llm_private from public, anon, authenticated, service_role;
revoke all on all tables in schema llm_private from public, anon, authenticated, service_role;
revoke all on all sequences in schema llm_private from public, anon, authenticated, service_role;
revoke all on all functions in schema llm_private from public, anon, authenticated, service_role;

revoke all on table
public.llm_providers, public.llm_tasks, public.llm_prices, public.llm_audit_log, public.llm_alerts,
public.llm_usage_events, public.llm_usage_totals, public.llm_usage_adjustments, public.user_llm_settings,
public.llm_keys
from public, anon, authenticated, service_role;

revoke all on sequence
public.llm_prices_id_seq, public.llm_usage_totals_id_seq
from public, anon, authenticated, service_role;

revoke all on function
public.get_llm_operator_settings, public.set_llm_operator_settings, public.get_llm_configuration,
public.set_llm_configuration, public.get_llm_audit_log, public.verify_llm_audit_log, public.list_llm_audit_seals,
public.list_llm_audit_texts,
public.register_llm_runtime, public.rotate_llm_runtime, public.revoke_llm_runtime, public.list_llm_runtimes,
public.list_llm_alerts, public.dismiss_llm_alerts, public.list_llm_providers, public.set_llm_provider,
public.remove_llm_provider, public.list_llm_users, public.get_llm_user, public.explain_llm_user_route,
public.set_llm_user_suspended, public.remove_llm_user_data, public.list_llm_models,
public.list_llm_prices, public.set_llm_price, public.end_llm_price, public.sync_llm_prices, public.get_llm_settings,
public.set_llm_settings, public.list_llm_keys, public.set_llm_key, public.remove_llm_key, public.reveal_llm_key,
public.begin_llm_key_check, public.record_llm_key_check, public.list_llm_quotas, public.set_llm_quota,
public.remove_llm_quota, public.set_llm_user_group, public.reserve_llm_attempt, public.release_llm_request,
public.resolve_llm_route, public.explain_llm_route, public.record_llm_usage, public.record_llm_usage_batch,
public.list_llm_teams, public.create_llm_team, public.get_llm_team, public.set_llm_team, public.remove_llm_team,
public.list_llm_team_members, public.set_llm_team_member, public.remove_llm_team_member,
public.create_llm_team_invitation, public.list_llm_team_invitations, public.remove_llm_team_invitation,
public.accept_llm_team_invitation,
public.record_llm_refusals, public.list_llm_refusals, public.get_llm_usage,
public.list_llm_requests, public.list_llm_usage_events, public.get_llm_forecast, public.list_llm_hints,
public.recalculate_llm_costs, public.run_llm_maintenance, public.check_llm_usage, public.list_llm_problems,
public.get_llm_version, public.replace_llm_master_key, public.set_llm_team_key, public.list_llm_team_keys,
public.remove_llm_team_key, public.get_llm_vault, public.rotate_llm_vault,
public.rotate_llm_ticket_key
from public, anon, authenticated, service_role;

-- Shared --------------------------------------------------------------------------------------------------------------

-- Needed to call the functions that are granted below; no role gets access to a table in llm_private.
grant usage on schema llm_private to anon, authenticated, service_role;

-- RPCs for both users and administrators call this to find out whose rows they are about.
grant execute on function llm_private.acting_owner to authenticated, service_role;

-- Policies call these.
grant execute on function llm_private.user_id, llm_private.is_not_estimate to authenticated;

-- Operator settings ---------------------------------------------------------------------------------------------------

grant execute on function public.get_llm_operator_settings, public.set_llm_operator_settings to service_role;
grant execute on function llm_private.operator_settings_json, llm_private.set_operator_settings to service_role;

-- Configuration -------------------------------------------------------------------------------------------------------

grant execute on function public.get_llm_configuration, public.set_llm_configuration to service_role;
grant execute on function llm_private.configuration, llm_private.set_configuration to service_role;

-- Audit log -----------------------------------------------------------------------------------------------------------

grant select on table public.llm_audit_log to authenticated, service_role;
grant execute on function public.get_llm_audit_log, public.verify_llm_audit_log to authenticated, service_role;
grant execute on function llm_private.audit_log, llm_private.verify_audit_log to authenticated, service_role;
grant execute on function public.list_llm_audit_seals, public.list_llm_audit_texts to service_role;
grant execute on function llm_private.list_audit_seals, llm_private.list_audit_texts to service_role;

-- Runtimes ------------------------------------------------------------------------------------------------------------

grant execute on function
public.register_llm_runtime, public.rotate_llm_runtime, public.revoke_llm_runtime, public.list_llm_runtimes
to service_role;
grant execute on function
llm_private.register_runtime, llm_private.rotate_runtime, llm_private.revoke_runtime, llm_private.list_runtimes
to service_role;

-- Alerts --------------------------------------------------------------------------------------------------------------

grant select on table public.llm_alerts to authenticated, service_role;
grant execute on function public.list_llm_alerts, public.dismiss_llm_alerts to authenticated, service_role;
grant execute on function llm_private.dismiss_alerts to authenticated, service_role;

-- Providers and models ------------------------------------------------------------------------------------------------

grant select on table public.llm_providers, public.llm_tasks to authenticated, service_role;
grant execute on function public.list_llm_models, public.list_llm_providers to authenticated, service_role;
grant execute on function llm_private.list_models to authenticated, service_role;
grant execute on function public.set_llm_provider, public.remove_llm_provider to service_role;
grant execute on function llm_private.set_provider, llm_private.remove_provider to service_role;

-- Prices --------------------------------------------------------------------------------------------------------------

grant select on table public.llm_prices to authenticated, service_role;
grant execute on function
public.list_llm_prices, public.set_llm_price, public.end_llm_price
to authenticated, service_role;
grant execute on function
llm_private.list_prices, llm_private.set_price, llm_private.end_price
to authenticated, service_role;
grant execute on function public.sync_llm_prices to service_role;
grant execute on function llm_private.sync_prices to service_role;

-- Teams ---------------------------------------------------------------------------------------------------------------

grant execute on function
public.list_llm_teams, public.create_llm_team, public.get_llm_team, public.set_llm_team, public.remove_llm_team,
public.list_llm_team_members, public.set_llm_team_member, public.remove_llm_team_member,
public.create_llm_team_invitation, public.list_llm_team_invitations, public.remove_llm_team_invitation
to authenticated, service_role;
grant execute on function
llm_private.list_teams, llm_private.create_team, llm_private.get_team, llm_private.set_team, llm_private.remove_team,
llm_private.list_team_members, llm_private.set_team_member, llm_private.remove_team_member,
llm_private.create_team_invitation, llm_private.list_team_invitations, llm_private.remove_team_invitation
to authenticated, service_role;
grant execute on function public.accept_llm_team_invitation to authenticated;
grant execute on function llm_private.accept_team_invitation to authenticated;

-- Settings ------------------------------------------------------------------------------------------------------------

grant select on table public.user_llm_settings to authenticated, service_role;
grant execute on function public.get_llm_settings, public.set_llm_settings to authenticated;
grant execute on function llm_private.get_settings, llm_private.set_settings to authenticated;

-- Keys ----------------------------------------------------------------------------------------------------------------

grant select on table public.llm_keys to authenticated, service_role;
grant execute on function
public.list_llm_keys, public.set_llm_key, public.remove_llm_key, public.reveal_llm_key, public.begin_llm_key_check,
public.record_llm_key_check
to authenticated;
grant execute on function
llm_private.set_key, llm_private.remove_key, llm_private.reveal_key, llm_private.list_keys,
llm_private.begin_key_check, llm_private.record_key_check
to authenticated;

-- Team keys -----------------------------------------------------------------------------------------------------------

grant execute on function
public.list_llm_team_keys, public.set_llm_team_key, public.remove_llm_team_key
to authenticated;
grant execute on function
llm_private.list_team_keys, llm_private.set_team_key, llm_private.remove_team_key
to authenticated;

-- Master keys ---------------------------------------------------------------------------------------------------------

grant execute on function
public.replace_llm_master_key, public.get_llm_vault, public.rotate_llm_vault, public.rotate_llm_ticket_key
to service_role;
grant execute on function
llm_private.replace_master_key, llm_private.get_vault, llm_private.rotate_vault, llm_private.rotate_ticket_key
to service_role;

-- Quotas --------------------------------------------------------------------------------------------------------------

grant execute on function public.reserve_llm_attempt, public.release_llm_request to authenticated;
grant execute on function llm_private.reserve_attempt, llm_private.release_request to authenticated;
grant execute on function
public.list_llm_quotas, public.set_llm_quota, public.remove_llm_quota
to authenticated, service_role;
grant execute on function
llm_private.list_quotas, llm_private.set_quota, llm_private.remove_quota
to authenticated, service_role;
grant execute on function public.set_llm_user_group to service_role;
grant execute on function llm_private.set_user_group to service_role;

-- Route ---------------------------------------------------------------------------------------------------------------

grant execute on function public.resolve_llm_route, public.explain_llm_route to authenticated;
grant execute on function llm_private.explain_route, llm_private.resolve_route to authenticated;

-- Refusals ------------------------------------------------------------------------------------------------------------

grant execute on function public.record_llm_refusals to authenticated;
grant execute on function llm_private.record_refusals to authenticated;
grant execute on function public.list_llm_refusals to authenticated, service_role;
grant execute on function llm_private.list_refusals to authenticated, service_role;

-- Usage ---------------------------------------------------------------------------------------------------------------

grant select on table public.llm_usage_events, public.llm_usage_totals to authenticated, service_role;
grant execute on function
public.record_llm_usage, public.list_llm_requests, public.get_llm_forecast, public.list_llm_hints
to authenticated;
-- A runtime records without a user's access token: see 17_tickets.sql. Its API key may be a secret key.
grant execute on function public.record_llm_usage_batch to anon, authenticated, service_role;
grant execute on function llm_private.record_batch to anon, authenticated, service_role;
grant execute on function
llm_private.record_usage, llm_private.list_requests, llm_private.forecast, llm_private.hints
to authenticated;
grant execute on function public.get_llm_usage, public.list_llm_usage_events to authenticated, service_role;
grant execute on function llm_private.usage_report, llm_private.list_events to authenticated, service_role;

-- Users ---------------------------------------------------------------------------------------------------------------

grant execute on function
public.list_llm_users, public.get_llm_user, public.explain_llm_user_route, public.set_llm_user_suspended,
public.remove_llm_user_data
to service_role;
grant execute on function
llm_private.list_users, llm_private.get_user, llm_private.explain_user_route, llm_private.set_user_suspended,
llm_private.remove_user_data
to service_role;

-- Maintenance ---------------------------------------------------------------------------------------------------------

grant select on table public.llm_usage_adjustments to authenticated, service_role;
grant execute on function
public.recalculate_llm_costs, public.run_llm_maintenance, public.check_llm_usage
to service_role;
grant execute on function
llm_private.recalculate_costs, llm_private.run_maintenance, llm_private.check_usage
to service_role;

-- Problems ------------------------------------------------------------------------------------------------------------

grant execute on function public.list_llm_problems, public.get_llm_version to service_role;
grant execute on function llm_private.list_problems, llm_private.installed_version to service_role;

-- PostgREST -----------------------------------------------------------------------------------------------------------

-- Sent when the migration commits. PostgREST does not know new functions before it has reloaded its schema cache.
notify pgrst, 'reload schema';
