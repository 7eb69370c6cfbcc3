-- Team keys: the provider keys of a team. Owners and admins store, replace and revoke them.
--
-- A member's requests use them through a runtime (75_route.sql). Nobody reveals one: no function here or elsewhere
-- returns a team's key to a caller without a runtime, its owners included.

-- Private helpers -----------------------------------------------------------------------------------------------------

create function llm_private.body_team(p_body json)
returns uuid
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_team constant text := p_body ->> 'team_id';
begin
  if json_typeof(p_body -> 'team_id') is distinct from 'string' or v_team !~* '^([0-9a-f]{4}-?){8}$' then
    perform llm_private.refuse_team();
  end if;
  return v_team::uuid;
end
$$;

comment on function llm_private.body_team is
'The team_id of a body that read_key_body() accepted; not whether such a team exists. Error team_not_found.';

create function llm_private.set_team_key(p_body json)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_user constant uuid := llm_private.require_session();
  v_runtime constant uuid := llm_private.current_runtime();
  v_provider public.llm_providers;
  v_team uuid;
begin
  perform llm_private.require_plain_call('set_llm_team_key');
  v_provider := llm_private.read_key_body(p_body, '{team_id,provider,key}', true);
  v_team := llm_private.body_team(p_body);
  perform llm_private.open_team(v_team, v_user, '{owner,admin}');
  perform llm_private.ensure_key_owner(v_team, true);
  return llm_private.key_json(llm_private.store_key(v_team, v_provider.id, p_body ->> 'key', v_runtime, v_user));
end
$$;

comment on function llm_private.set_team_key is 'See set_llm_team_key().';

create function llm_private.list_team_keys(p_team_id uuid)
returns jsonb
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform llm_private.require_team_role(p_team_id, llm_private.require_user(), '{owner,admin,member}');
  return llm_private.keys_json(p_team_id);
end
$$;

comment on function llm_private.list_team_keys is 'See list_llm_team_keys().';

create function llm_private.remove_team_key(p_team_id uuid, p_provider text)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_user constant uuid := llm_private.require_session();
  v_runtime constant uuid := llm_private.current_runtime();
begin
  perform llm_private.require_plain_call('remove_llm_team_key');
  perform llm_private.check_length('p_provider', p_provider, 32);
  perform llm_private.open_team(p_team_id, v_user, '{owner,admin}');
  perform llm_private.delete_key(llm_private.own_key(p_team_id, p_provider), v_runtime, v_user);
end
$$;

comment on function llm_private.remove_team_key is 'See remove_llm_team_key().';

-- Public RPCs ---------------------------------------------------------------------------------------------------------

-- One unnamed json parameter, for the same reason as in set_llm_key().
create function public.set_llm_team_key(json)
returns jsonb
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select llm_private.set_team_key($1)
$$;

comment on function public.set_llm_team_key is
'For owners and admins of a team: store or replace its key for a provider: {"team_id": "…", "provider": "groq", "key":
"gsk_…"}. Nobody can read it afterwards.
Errors: not_signed_in, account_banned, account_suspended, session_ended, runtime_unknown, key_malformed, unknown_provider,
invalid_argument, team_not_found, team_role_required, too_many_changes.';

create function public.list_llm_team_keys(p_team_id uuid)
returns jsonb
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select llm_private.list_team_keys(p_team_id)
$$;

comment on function public.list_llm_team_keys is
'For members of a team: its keys, as list_llm_keys() returns a user''s. Errors: not_signed_in, team_not_found.';

create function public.remove_llm_team_key(p_team_id uuid, p_provider text)
returns void
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select llm_private.remove_team_key(p_team_id, p_provider)
$$;

comment on function public.remove_llm_team_key is
'For owners and admins of a team: delete its key for a provider.
Errors: not_signed_in, account_banned, account_suspended, session_ended, runtime_unknown, invalid_argument, team_not_found,
team_role_required, key_not_found.';
