-- A user's settings: one row, created by get_llm_settings() at their first sign-in. A trigger on auth.users would block
-- sign-ups if it failed, and would miss users from before the installation.

create table public.user_llm_settings (
  user_id uuid primary key references auth.users (id) on delete cascade,
  default_provider text references public.llm_providers (id) on delete set null,
  enable_fallbacks boolean not null default true,
  provider_preferences jsonb not null default '{}',
  task_overrides jsonb not null default '{}',
  allow_operator_keys boolean,
  time_zone text not null default 'UTC',
  version bigint not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  default_team uuid,
  foreign key (user_id, default_team) references llm_private.team_members (user_id, team_id)
  on delete set null (default_team)
);

create index user_llm_settings_default_provider on public.user_llm_settings (default_provider);
create index user_llm_settings_default_team on public.user_llm_settings (user_id, default_team);

comment on table public.user_llm_settings is 'A user''s LLM settings; written by set_llm_settings() only.';
comment on column public.user_llm_settings.enable_fallbacks is 'false: only the first candidate of a route is tried.';
comment on column public.user_llm_settings.provider_preferences is
'{"groq": {"enabled": true, "priority": 1, "model": "…"}}; a lower priority comes first.';
comment on column public.user_llm_settings.task_overrides is
'{"speed": {"provider": "groq", "model": "…", "fallbacks": [{"provider": "openai", "model": "…"}]}}; with fallbacks,
no other provider is tried for this task.';
comment on column public.user_llm_settings.allow_operator_keys is
'Consent to the operator''s keys; null: the operator''s default.';
comment on column public.user_llm_settings.time_zone is
'The user''s time zone (Europe/Berlin), for days and months in reports and in quotas with the clock user.';
comment on column public.user_llm_settings.default_team is
'The team of requests that name none; null: no team. Leaving the team resets it.';
comment on column public.user_llm_settings.version is 'Counts changes, so that a panel notices changes made elsewhere.';

alter table public.user_llm_settings enable row level security;

create policy "users read their own settings" on public.user_llm_settings
for select to authenticated using (llm_private.is_not_estimate() and user_id = (select llm_private.user_id()));

-- Private helpers -----------------------------------------------------------------------------------------------------

create function llm_private.ensure_settings(p_user uuid)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  perform 1 from public.user_llm_settings where user_id = p_user;
  if found then
    return;
  end if;
  perform llm_private.add_month_partitions();
  insert into public.user_llm_settings (user_id) values (p_user) on conflict (user_id) do nothing;
exception when foreign_key_violation then
  -- The account was deleted after require_user() found it.
  perform llm_private.refuse_user();
end
$$;

comment on function llm_private.ensure_settings is
'Create the settings row of a user, unless it exists. Error not_signed_in for a deleted account.';

create function llm_private.settings_json(p_user uuid)
returns jsonb
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select
    to_jsonb(s)
    || jsonb_build_object(
      'allow_operator_keys', coalesce(s.allow_operator_keys, o.operator_keys_by_default),
      'reveal_allowed', o.reveal_enabled,
      'may_create_teams', o.teams_created_by = 'users',
      'total_requests', t.total_requests,
      'last_used_at', t.last_used_at
    )
  from public.user_llm_settings as s
  cross join llm_private.operator_settings as o
  cross join lateral (
    select coalesce(sum(u.requests), 0) as total_requests, max(u.last_used_at) as last_used_at
    from public.llm_usage_totals as u
    where u.user_id = s.user_id
  ) as t
  where s.user_id = p_user
$$;

comment on function llm_private.settings_json is
'A user''s settings as JSON, with the effective consent, reveal_allowed (whether users can reveal stored keys),
may_create_teams, total_requests and last_used_at.';

create function llm_private.get_settings()
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_user constant uuid := llm_private.require_user();
begin
  perform llm_private.require_plain_call('get_llm_settings');
  perform llm_private.ensure_settings(v_user);
  return llm_private.settings_json(v_user);
end
$$;

comment on function llm_private.get_settings is
'The caller''s settings, created at the first call. Error not_signed_in.';

create function llm_private.check_known_settings(p_value jsonb, p_path text, p_known text[])
returns void
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_unknown text;
begin
  perform llm_private.check_value(
    'invalid_setting', jsonb_typeof(p_value) = 'object', coalesce(nullif(p_path, ''), 'p_changes'), 'a JSON object'
  );
  select k into v_unknown from jsonb_object_keys(p_value) as k where k <> all(p_known) limit 1;
  if found then
    -- The message repeats only a name without digits, because anything else may be a key pasted here.
    perform llm_private.fail(
      400, 'unknown_setting',
      case
        when v_unknown ~ '^[A-Za-z_-]{1,32}$'
          then format('%s is not a setting.', concat_ws('.', nullif(p_path, ''), v_unknown))
        else format('%s has an unknown field.', coalesce(nullif(p_path, ''), 'p_changes'))
      end,
      'Allowed: ' || array_to_string(p_known, ', ') || '.'
    );
  end if;
end
$$;

comment on function llm_private.check_known_settings is
'Error invalid_setting unless p_value is an object, unknown_setting if it has a field beyond p_known.';

create function llm_private.is_model_name(p_value jsonb)
returns boolean
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(jsonb_typeof(p_value) = 'string' and length(p_value #>> '{}') <= 200 and p_value #>> '{}' ~ '^[!-~]{1,200}$', false)
$$;

comment on function llm_private.is_model_name is
'Whether this is a JSON string of 1 to 200 printable characters without spaces.';

create function llm_private.merge_preferences(p_old jsonb, p_changes jsonb, p_providers text[])
returns jsonb
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_new jsonb := p_old;
  v_provider text;
  v_change jsonb;
  v_path text;
begin
  perform llm_private.check_known_settings(p_changes, 'provider_preferences', p_providers);
  for v_provider, v_change in select * from jsonb_each(p_changes) loop
    v_path := 'provider_preferences.' || v_provider;
    if v_change = 'null' then
      v_new := v_new - v_provider;
      continue;
    end if;
    perform llm_private.check_known_settings(v_change, v_path, '{enabled,priority,model}');
    perform llm_private.check_value(
      'invalid_setting', coalesce(jsonb_typeof(v_change -> 'enabled'), 'null') in ('boolean', 'null'), v_path || '.enabled',
      'true, false or null'
    );
    perform llm_private.check_value(
      'invalid_setting', v_change ->> 'priority' is null
      or v_change ->> 'priority' ~ '^[0-9]{1,4}$' and jsonb_typeof(v_change -> 'priority') = 'number',
      v_path || '.priority', 'a whole number from 0 to 9999, or null'
    );
    perform llm_private.check_value(
      'invalid_setting', v_change ->> 'model' is null or llm_private.is_model_name(v_change -> 'model'), v_path || '.model',
      'a model name of 1 to 200 characters without spaces, or null'
    );
    v_change := jsonb_strip_nulls(coalesce(v_new -> v_provider, '{}') || v_change);
    v_new := case
      when v_change = '{}' then v_new - v_provider
      else v_new || jsonb_build_object(v_provider, v_change)
    end;
  end loop;
  return v_new;
end
$$;

comment on function llm_private.merge_preferences is
'provider_preferences with the given fields changed; null resets a field or a provider.
Errors: invalid_setting, unknown_setting.';

create function llm_private.merge_task_overrides(p_old jsonb, p_changes jsonb, p_providers text[])
returns jsonb
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_new jsonb := p_old;
  v_task text;
  v_change jsonb;
  v_path text;
  v_fallback jsonb;
  v_index bigint;
  v_allowed constant text := 'one of ' || array_to_string(p_providers, ', ');
  v_model_allowed constant text := 'a model name of 1 to 200 characters without spaces, or null';
begin
  perform llm_private.check_value(
    'invalid_setting', jsonb_typeof(p_changes) = 'object', 'task_overrides', 'a JSON object'
  );
  perform llm_private.check_value(
    'invalid_setting', (select count(*) <= 200 from jsonb_object_keys(p_changes)), 'task_overrides', 'at most 200 tasks'
  );
  for v_task, v_change in select * from jsonb_each(p_changes) loop
    perform llm_private.check_value(
      'invalid_setting', length(v_task) <= 64 and v_task ~ '^[^[:cntrl:]]{1,64}$', 'task_overrides', 'task names of 1 to 64 printable characters'
    );
    v_path := 'task_overrides.' || v_task;
    if v_change = 'null' then
      v_new := v_new - v_task;
      continue;
    end if;
    perform llm_private.check_known_settings(v_change, v_path, '{provider,model,fallbacks}');
    perform llm_private.check_value(
      'invalid_setting', v_change ->> 'provider' = any(p_providers), v_path || '.provider', v_allowed
    );
    perform llm_private.check_value(
      'invalid_setting', v_change ->> 'model' is null or llm_private.is_model_name(v_change -> 'model'), v_path || '.model',
      v_model_allowed
    );
    if v_change -> 'fallbacks' <> 'null' then
      perform llm_private.check_value(
        'invalid_setting', jsonb_typeof(v_change -> 'fallbacks') = 'array' and jsonb_array_length(v_change -> 'fallbacks') <= 20,
        v_path || '.fallbacks', 'a list of at most 20 objects with provider and model, or null'
      );
      for v_fallback, v_index in
        select f.value, f.ordinality - 1 from jsonb_array_elements(v_change -> 'fallbacks') with ordinality as f
      loop
        perform llm_private.check_known_settings(
          v_fallback, format('%s.fallbacks[%s]', v_path, v_index), '{provider,model}'
        );
        perform llm_private.check_value(
          'invalid_setting', v_fallback ->> 'provider' = any(p_providers), format('%s.fallbacks[%s].provider', v_path, v_index), v_allowed
        );
        perform llm_private.check_value(
          'invalid_setting', v_fallback ->> 'model' is null or llm_private.is_model_name(v_fallback -> 'model'),
          format('%s.fallbacks[%s].model', v_path, v_index), v_model_allowed
        );
      end loop;
    end if;
    v_new := v_new || jsonb_build_object(v_task, jsonb_strip_nulls(v_change));
  end loop;
  perform llm_private.check_value(
    'invalid_setting', (select count(*) <= 200 from jsonb_object_keys(v_new)), 'task_overrides', 'at most 200 tasks'
  );
  return v_new;
end
$$;

comment on function llm_private.merge_task_overrides is
'task_overrides with the given tasks replaced; null removes a task. Errors: invalid_setting, unknown_setting.';

create function llm_private.changed_settings(p_old public.user_llm_settings, p_changes jsonb)
returns public.user_llm_settings
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_providers constant text[] := array(select p.id from public.llm_providers as p order by p.position, p.id);
  v_new public.user_llm_settings := p_old;
begin
  if p_changes ? 'default_provider' then
    perform llm_private.check_value(
      'invalid_setting', p_changes -> 'default_provider' = 'null' or p_changes ->> 'default_provider' = any(v_providers),
      'default_provider', 'null or one of ' || array_to_string(v_providers, ', ')
    );
    v_new.default_provider := p_changes ->> 'default_provider';
  end if;
  if p_changes ? 'enable_fallbacks' then
    perform llm_private.check_value(
      'invalid_setting', jsonb_typeof(p_changes -> 'enable_fallbacks') = 'boolean', 'enable_fallbacks', 'true or false'
    );
    v_new.enable_fallbacks := (p_changes ->> 'enable_fallbacks')::boolean;
  end if;
  if p_changes ? 'allow_operator_keys' then
    perform llm_private.check_value(
      'invalid_setting', jsonb_typeof(p_changes -> 'allow_operator_keys') in ('boolean', 'null'), 'allow_operator_keys',
      'true, false or null'
    );
    v_new.allow_operator_keys := (p_changes ->> 'allow_operator_keys')::boolean;
  end if;
  if p_changes ? 'time_zone' then
    perform llm_private.check_value(
      'invalid_setting',
      jsonb_typeof(p_changes -> 'time_zone') = 'string' and length(p_changes ->> 'time_zone') <= 64
      and exists (select from pg_timezone_names as z where z.name = p_changes ->> 'time_zone'),
      'time_zone', 'the name of a time zone, such as Europe/Berlin or UTC'
    );
    v_new.time_zone := p_changes ->> 'time_zone';
  end if;
  if p_changes ? 'default_team' then
    perform llm_private.check_value(
      'invalid_setting',
      p_changes -> 'default_team' = 'null' or exists (
        select from llm_private.team_members as m
        where m.user_id = p_old.user_id and m.team_id::text = p_changes ->> 'default_team'
      ),
      'default_team', 'null or the id of one of your teams'
    );
    v_new.default_team := (p_changes ->> 'default_team')::uuid;
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

comment on function llm_private.changed_settings is
'Settings with the changes in p_changes. Errors: invalid_setting, unknown_setting.';

create function llm_private.change_settings(p_user uuid, p_changes jsonb, p_expected_version bigint)
returns bigint
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_old public.user_llm_settings;
  v_new public.user_llm_settings;
begin
  perform llm_private.check_size('p_changes', p_changes, 64, 'invalid_setting');
  perform llm_private.check_known_settings(
    p_changes, '',
    '{default_provider,enable_fallbacks,allow_operator_keys,time_zone,default_team,provider_preferences,task_overrides}'
  );
  if p_changes ? 'default_team' then
    -- Before the settings, in the order in which leaving the team locks all three: see 39_teams.sql.
    perform llm_private.hold_account(p_user);
    perform from llm_private.team_members as m
    where m.user_id = p_user and m.team_id::text = p_changes ->> 'default_team'
    for key share;
  end if;
  perform llm_private.ensure_settings(p_user);
  -- The lock serializes concurrent changes, so that none is lost.
  select * into v_old from public.user_llm_settings where user_id = p_user for update;
  if not found then
    -- The account was deleted meanwhile.
    perform llm_private.refuse_user();
  end if;
  if p_expected_version is not null and p_expected_version <> v_old.version then
    perform llm_private.fail(
      409, 'settings_changed',
      format('The settings were changed elsewhere and are now at version %s.', v_old.version),
      'Read them again and repeat the change.'
    );
  end if;

  v_new := llm_private.changed_settings(v_old, p_changes);
  if v_new is not distinct from v_old then
    return null;
  end if;
  perform
    llm_private.check_size('provider_preferences', v_new.provider_preferences, 64, 'invalid_setting'),
    llm_private.check_size('task_overrides', v_new.task_overrides, 64, 'invalid_setting');
  update public.user_llm_settings
  set
    default_provider = v_new.default_provider,
    enable_fallbacks = v_new.enable_fallbacks,
    provider_preferences = v_new.provider_preferences,
    task_overrides = v_new.task_overrides,
    allow_operator_keys = v_new.allow_operator_keys,
    time_zone = v_new.time_zone,
    default_team = v_new.default_team,
    version = v_old.version + 1,
    updated_at = now()
  where user_id = p_user;
  return v_old.version + 1;
end
$$;

comment on function llm_private.change_settings is
'Apply p_changes to a user''s settings. Returns their new version, or null if nothing changed.
Errors: not_signed_in, invalid_setting, unknown_setting, settings_changed.';

create function llm_private.set_settings(p_changes jsonb, p_expected_version bigint)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_user constant uuid := llm_private.require_user();
  v_version bigint;
begin
  perform llm_private.require_plain_call('set_llm_settings');
  v_version := llm_private.change_settings(v_user, p_changes, p_expected_version);
  if v_version is not null then
    perform llm_private.audit_change(
      v_user, 'settings_changed', p_runtime => llm_private.current_runtime(),
      p_detail => jsonb_build_object('changes', p_changes, 'version', v_version)
    );
  end if;
  return llm_private.settings_json(v_user);
end
$$;

comment on function llm_private.set_settings is 'See set_llm_settings().';

-- Public RPCs ---------------------------------------------------------------------------------------------------------

create function public.get_llm_settings()
returns jsonb
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select llm_private.get_settings()
$$;

comment on function public.get_llm_settings is
'The caller''s settings, created at the first call, with total_requests, last_used_at, reveal_allowed (whether
users can reveal stored keys) and may_create_teams (whether users can). Error not_signed_in.';

create function public.set_llm_settings(p_changes jsonb, p_expected_version bigint default null)
returns jsonb
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select llm_private.set_settings(p_changes, p_expected_version)
$$;

comment on function public.set_llm_settings is
'Apply p_changes to the caller''s settings: provider_preferences by provider and field, task_overrides by task; null
resets. With p_expected_version, the change is refused if the settings have another version.
Errors: not_signed_in, invalid_setting, unknown_setting, settings_changed, too_many_changes.';
