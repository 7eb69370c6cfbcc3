-- The route: which providers, models and keys may serve a request, in which order, and why.
--
--   1. the requested provider and model            requested
--   2. the user's override for the task            task_override, then its own fallbacks: task_fallback
--   3. the user's default provider                 default_provider
--   4. the user's other providers, by priority     preference_order
--      each with the user's own key and the team's key (team_key), in the order that the team chose; then
--   5. the operator's keys in the same order, if the operator offers them and the user has not declined
--   6. the operator's OpenAI, last, unless a step above places it      operator_openai
--   7. a clear error that says what the user can do
--
-- A request with a team follows the team's policy, whoever's key pays: only allowed providers and models serve it, and
-- the team's override, default provider and priorities apply where the member has none (team_policy). So a member's
-- settings narrow the policy and never widen it. Team keys go to runtimes only.
--
-- Providers that a user has not ordered follow the task's order in the catalog, then the catalog's own order.
-- A requested model that is skipped gives way to the others, with two exceptions. Embeddings are never made by another
-- model, because their vectors would not be comparable. And a requested model that has no price under an enforced quota
-- of cost is refused, because the operator, who can set the price, would otherwise not notice.
-- A provider that the user or the operator disabled is never on a route, even if it is requested. A task override with
-- fallbacks of its own, even an empty list, is closed: no other provider is tried for that task. With fallbacks off,
-- only the first candidate stays, and if 1, 2 or 3 names a provider, it is that provider's.

create table llm_private.leases (
  user_id uuid not null,
  owner_id uuid not null,
  key_id uuid not null,
  holder text not null,
  granted_in xid8 not null default pg_current_xact_id(),
  expires_at timestamptz not null,
  primary key (user_id, owner_id, key_id, holder),
  foreign key (owner_id, key_id) references public.llm_keys (owner_id, id) on delete cascade
);

create index leases_key on llm_private.leases (owner_id, key_id);

comment on table llm_private.leases is
'Until when a runtime or a user''s session may keep a decrypted key. Until then, resolving again writes nothing.';
comment on column llm_private.leases.user_id is
'The user whose requests it is for. It does not reference the account, because a lease would lock that after the key,
but deleting an account locks it before.';
comment on column llm_private.leases.owner_id is 'The owner of the key.';
comment on column llm_private.leases.holder is 'See key_holder().';
comment on column llm_private.leases.granted_in is
'The transaction that wrote the row. Only later transactions return the key.';

alter table llm_private.leases enable row level security;

create type llm_private.route_line as (
  provider text,
  name text,
  model text,
  reason text,
  key_source text,
  owner_id uuid,
  key_id uuid,
  key_hint text,
  rests_until timestamptz,
  skipped text,
  wire_format text,
  base_url text,
  key_header text,
  key_scheme text,
  parameter_names jsonb,
  responses boolean,
  quota jsonb
);

comment on type llm_private.route_line is
'A provider, model and key that the route considered. skipped: why it cannot serve; rests_until: until when the model
or the key is rate-limited or out of credit; quota: the quota that refuses it.';

create type llm_private.route_settings as (
  default_provider text,
  enable_fallbacks boolean,
  preferences jsonb,
  override jsonb,
  closed boolean,
  operator_keys_skipped text,
  task_order text [],
  through_runtime boolean,
  allowed jsonb,
  team_default boolean,
  team_override boolean,
  team_preferences jsonb,
  sources text []
);

comment on type llm_private.route_settings is
'What the user''s, the team''s and the operator''s settings say about the route of a task. closed: the task''s override
has fallbacks of its own, so nothing else is tried. operator_keys_skipped: why the operator''s keys do not serve this user.
allowed: see teams.allowed_providers. team_default, team_override: whether the default provider and the override are the
team''s. sources: whose keys serve, in order.';

create type llm_private.named_model as (provider text, model text, reason text);

comment on type llm_private.named_model is
'A provider and model that the request or the task''s override names. reason says which of them: requested,
task_override, task_fallback, or team_policy for the team''s override. Without a model, the provider''s default model is
used.';

create type llm_private.keyed_route as (
  candidates json,
  key_ids uuid [],
  owner_ids uuid [],
  unleased boolean,
  expires_at timestamptz,
  rests_until timestamptz
);

comment on type llm_private.keyed_route is
'Candidates with their leased keys in plain text, the ids of their keys (one twice if two candidates share it),
their owners, whether one of them is not on lease, when the first of the leases ends, and when the first rate limit ends.';

create type llm_private.route_state as (version text, default_team uuid);

comment on type llm_private.route_state is
'What a user''s cached routes depend on: a version that changes whenever the user''s settings, keys or teams do, and the
default team.';

create type llm_private.reserved_route as (refused integer, requests integer, until timestamptz);

comment on type llm_private.reserved_route is
'How many candidates before the first allowed one the quotas refuse, for how many requests is reserved, and when the
first period of these quotas ends; null if the first allowed candidate is not metered.';

-- Private helpers -----------------------------------------------------------------------------------------------------

create function llm_private.check_route_request(
  p_task text, p_model text, p_needs text[], p_operator_providers text[], p_team text
)
returns void
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  if length(p_task) not between 1 and 64 or p_task ~ '[[:cntrl:]]' then
    perform llm_private.fail(
      400, 'invalid_argument', 'p_task has an invalid value.', 'Allowed: 1 to 64 printable characters, or null.'
    );
  elsif length(p_model) not between 1 and 200 or p_model ~ '[^!-~]' then
    perform llm_private.fail(
      400, 'invalid_argument', 'p_model has an invalid value.',
      'Allowed: provider/model or a model name, 1 to 200 characters without spaces, or null.'
    );
  elsif length(p_team) > 36 then
    perform llm_private.fail(
      400, 'invalid_argument', 'p_team is too long.', 'Allowed: the id of one of your teams, none, or null.'
    );
  elsif cardinality(p_needs) > 6 or not p_needs <@ '{chat,streaming,tools,json_schema,vision,embeddings}' then
    perform llm_private.fail(
      400, 'invalid_argument', 'p_needs has an unknown capability, or too many.',
      'Allowed: chat, streaming, tools, json_schema, vision and embeddings, each once.'
    );
  -- The size of 100 ids of 32 characters, with what an array needs for each.
  elsif cardinality(p_operator_providers) > 100 or pg_column_size(p_operator_providers) > 5000 then
    perform llm_private.fail(
      400, 'invalid_argument', 'p_operator_providers has too many providers, or ids that are too long.',
      'Allowed: at most 100 ids of at most 32 characters.'
    );
  end if;
end
$$;

comment on function llm_private.check_route_request is
'Error invalid_argument unless these are valid arguments of a request.';

create function llm_private.requested_models(p_model text, p_default_provider text)
returns setof llm_private.named_model
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_prefix constant text := split_part(p_model, '/', 1);
  v_model text := nullif(substr(p_model, length(v_prefix) + 2), '');
begin
  perform 1 from public.llm_providers as p where p.id = v_prefix;
  if found then
    if strpos(v_model, '/') > 0 then
      v_model := llm_private.canonical_model(v_prefix, v_model);
    end if;
    return query select v_prefix, v_model, 'requested';
    return;
  end if;
  return query
  select p.id, c.model, 'requested' from public.llm_providers as p
  cross join lateral (
    select case when strpos(p_model, '/') > 0 then llm_private.canonical_model(p.id, p_model) else p_model end as model
  ) as c
  where c.model ~ p.model_pattern
  order by (p.id = p_default_provider) desc nulls last, p.position, p.id;
  if found then
    return;
  end if;
  if p_default_provider is null then
    perform llm_private.fail(
      400, 'unknown_model', 'No provider is known to have the requested model.',
      'Request it as provider/model, with one of these providers: '
      || (select string_agg(p.id, ', ' order by p.position, p.id) from public.llm_providers as p) || '.'
    );
  end if;
  return query select p_default_provider, llm_private.canonical_model(p_default_provider, p_model), 'requested';
end
$$;

comment on function llm_private.requested_models is
'The requested model at each provider that may have it: at the provider named before the slash; else at each provider
whose model_pattern matches; else at the user''s default provider. Error unknown_model.';

create function llm_private.named_models(
  p_model text, p_override jsonb, p_default_provider text, p_team_override boolean
)
returns llm_private.named_model[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_named llm_private.named_model[] := '{}'::llm_private.named_model[];
begin
  if p_model is not null then
    v_named := array(select m from llm_private.requested_models(p_model, p_default_provider) as m);
  end if;
  if p_override is not null then
    v_named := v_named || array(
      select
        row(
          o.entry ->> 'provider',
          case
            when strpos(o.entry ->> 'model', '/') > 0
              then llm_private.canonical_model(o.entry ->> 'provider', o.entry ->> 'model')
            else o.entry ->> 'model'
          end,
          case when p_team_override then 'team_policy' else o.reason end
        )::llm_private.named_model
      from (
        select p_override as entry, 'task_override' as reason
        union all
        select f.value, 'task_fallback' from jsonb_array_elements(p_override -> 'fallbacks') as f
      ) as o
    );
  end if;
  return v_named;
end
$$;

comment on function llm_private.named_models is
'Steps 1 and 2 of the route, in order: the requested model, then the task''s override and its fallbacks. May name a
provider more than once. Error unknown_model.';

create function llm_private.canonical_preferences(p_preferences jsonb)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select jsonb_object_agg(
      p.key,
      case
        when p.value ->> 'model' is null then p.value
        else jsonb_set(p.value, '{model}', to_jsonb(llm_private.canonical_model(p.key, p.value ->> 'model')))
      end
    )
    from jsonb_each(p_preferences) as p
  );
end
$$;

comment on function llm_private.canonical_preferences is
'A user''s provider_preferences with the one name of each model.';

create function llm_private.route_state(p_user uuid)
returns llm_private.route_state
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_state llm_private.route_state;
  v_in_team boolean;
begin
  select
    concat_ws('.', coalesce(s.version, 0), coalesce(o.version, 0)), s.default_team,
    exists (select from llm_private.team_members as m where m.user_id = p_user)
  into v_state.version, v_state.default_team, v_in_team
  from (values (p_user)) as u (id)
  left join public.user_llm_settings as s on u.id = s.user_id
  left join llm_private.key_owners as o on u.id = o.id;
  -- Users without a team save the query.
  if v_in_team then
    v_state.version := v_state.version || '.' || (
      select hashtextextended(string_agg(concat_ws(':', t.id, t.version, o.version), ' ' order by t.id), 0)
      from llm_private.team_members as m
      inner join llm_private.teams as t on m.team_id = t.id
      left join llm_private.key_owners as o on m.team_id = o.id
      where m.user_id = p_user
    );
  end if;
  return v_state;
end
$$;

comment on function llm_private.route_state is 'What the user''s cached routes depend on.';

create function llm_private.named_team(p_user uuid, p_team text)
returns uuid
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_team uuid;
begin
  if p_team = 'none' then
    return null;
  end if;
  if length(p_team) = 36 then
    select m.team_id into v_team from llm_private.team_members as m
    where m.user_id = p_user and m.team_id::text = lower(p_team);
  end if;
  if v_team is null then
    perform llm_private.refuse_team();
  end if;
  return v_team;
end
$$;

comment on function llm_private.named_team is
'The team that a request names: none for none, otherwise the user''s team with this id. Error team_not_found.';

create function llm_private.team_allows(p_allowed jsonb, p_provider text, p_model text)
returns boolean
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return p_allowed is null or coalesce(p_allowed -> p_provider = 'true' or p_allowed -> p_provider ? p_model, false);
end
$$;

comment on function llm_private.team_allows is
'Whether teams.allowed_providers allows this model of a provider; with no model, whether it allows all of them.';

create function llm_private.own_override(p_override jsonb, p_allowed jsonb)
returns jsonb
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return case
    when p_allowed is null or p_allowed ? (p_override ->> 'provider')
      and (p_override ->> 'model' is null or llm_private.team_allows(p_allowed, p_override ->> 'provider', p_override ->> 'model'))
      then p_override
  end;
end
$$;

comment on function llm_private.own_override is
'A member''s override for a task, unless the team''s policy does not allow its provider or model.';

create function llm_private.route_settings(p_user uuid, p_task text, p_team uuid)
returns llm_private.route_settings
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_settings llm_private.route_settings;
begin
  select
    s.default_provider,
    coalesce(s.enable_fallbacks, true),
    coalesce(s.provider_preferences, '{}'),
    s.task_overrides -> p_task,
    s.task_overrides -> p_task ? 'fallbacks',
    case
      when
        not o.operator_keys_for_anonymous
        and llm_private.is_anonymous(p_user)
        then 'operator_keys_not_for_anonymous'
      when not coalesce(s.allow_operator_keys, o.operator_keys_by_default) then 'operator_keys_declined'
      -- Only a runtime can record the use of these keys. An invalid secret is an error of current_runtime().
      when not r.through_runtime then 'runtime_required'
    end,
    (select t.provider_order from public.llm_tasks as t where t.task = p_task),
    r.through_runtime,
    null::jsonb, false, false, null::jsonb,
    '{user,operator}'::text[]
  into strict v_settings
  from llm_private.operator_settings as o
  -- Administrators get no route; what they explain is the route through a runtime.
  cross join lateral (
    select
      nullif(current_setting('request.headers', true), '')::json ->> 'x-llm-runtime' is not null
      or current_setting('role') = 'service_role' as through_runtime
  ) as r
  left join public.user_llm_settings as s on s.user_id = p_user;
  if strpos(v_settings.preferences::text, '/') > 0 then
    v_settings.preferences := llm_private.canonical_preferences(v_settings.preferences);
  end if;
  if p_team is not null then
    v_settings := llm_private.with_team_policy(v_settings, p_task, p_team);
  end if;
  return v_settings;
end
$$;

comment on function llm_private.route_settings is 'The settings that decide the route of a user''s task with a team.';

create function llm_private.with_team_policy(p_settings llm_private.route_settings, p_task text, p_team uuid)
returns llm_private.route_settings
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_settings llm_private.route_settings := p_settings;
  v_team llm_private.teams;
begin
  select * into strict v_team from llm_private.teams where id = p_team;
  v_settings.allowed := v_team.allowed_providers;
  v_settings.team_preferences := v_team.provider_preferences;
  if strpos(v_team.provider_preferences::text, '/') > 0 then
    v_settings.team_preferences := llm_private.canonical_preferences(v_team.provider_preferences);
  end if;
  v_settings.sources := case v_team.keys_first
    when 'member' then '{user,team,operator}'::text[] else '{team,user,operator}'::text[]
  end;
  v_settings.override := llm_private.own_override(v_settings.override, v_settings.allowed);
  v_settings.team_override := v_settings.override is null;
  if v_settings.team_override then
    v_settings.override := v_team.task_overrides -> p_task;
  end if;
  v_settings.closed := v_settings.override ? 'fallbacks';
  v_settings.team_default := v_settings.default_provider is null
    or v_settings.allowed is not null and not v_settings.allowed ? v_settings.default_provider;
  if v_settings.team_default then
    v_settings.default_provider := v_team.default_provider;
  end if;
  return v_settings;
end
$$;

comment on function llm_private.with_team_policy is
'A member''s settings with the team''s policy: its override and default provider where the member has none that it
allows.';

create function llm_private.route_model(
  p_settings llm_private.route_settings, p_provider public.llm_providers, p_task text
)
returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_model text;
begin
  foreach v_model in array array[
    p_settings.preferences -> p_provider.id ->> 'model', p_settings.team_preferences -> p_provider.id ->> 'model',
    p_provider.task_models ->> p_task, p_provider.default_model
  ] loop
    if v_model is not null and llm_private.team_allows(p_settings.allowed, p_provider.id, v_model) then
      return v_model;
    end if;
  end loop;
  return coalesce(
    case jsonb_typeof(p_settings.allowed -> p_provider.id) when 'array' then p_settings.allowed -> p_provider.id ->> 0 end,
    p_provider.default_model
  );
end
$$;

comment on function llm_private.route_model is
'The model of a provider that neither the request nor the task names: the member''s choice, then the team''s, then the
catalog''s, of those that the team allows.';

create function llm_private.route_lines(
  p_settings llm_private.route_settings,
  p_named llm_private.named_model[],
  p_user uuid,
  p_task text,
  p_model text,
  p_needs text[],
  p_operator_providers text[],
  p_team uuid
)
returns setof llm_private.route_line
language plpgsql
stable
rows 10
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
as $$
begin
  return query
  -- By owner, because the planner would rather read all users' keys of a provider.
  with owned as materialized (select o.* from public.llm_keys as o where o.owner_id in (p_user, p_team)),

  considered as (
    select
      p.*, s.source, s.turn, n.place, n.reason, k.owner_id, k.id as key_id, k.hint, k.rate_limited_until,
      k.out_of_credit_until, k.rate_limited_models,
      (p_settings.preferences -> p.id ->> 'priority')::integer as own_priority,
      coalesce(p_settings.preferences -> p.id ->> 'priority', p_settings.team_preferences -> p.id ->> 'priority')::integer
        as priority,
      array_position(p_settings.task_order, p.id) as task_position,
      case
        when n.model is not null then n.model
        when 'embeddings' = any(p_needs) then p.task_models ->> 'embedding'
        when p_team is not null then llm_private.route_model(p_settings, p, p_task)
        else coalesce(p_settings.preferences -> p.id ->> 'model', p.task_models ->> p_task, p.default_model)
      end as model,
      case
        when not p.enabled then 'provider_off'
        when p_settings.team_preferences -> p.id -> 'enabled' = 'false' then 'team_policy'
        when p_settings.preferences -> p.id -> 'enabled' = 'false' then 'provider_disabled'
        when 'embeddings' = any(p_needs) and p_model is not null and n.reason is distinct from 'requested'
          then 'other_model'
        when p_settings.closed and n.place is null then 'not_in_task_fallbacks'
        when not p.capabilities @> p_needs then 'lacks_capability'
        when 'embeddings' = any(p_needs) and n.model is null and not p.task_models ? 'embedding' then 'no_model'
        when s.source = 'operator' then p_settings.operator_keys_skipped
        when s.source = 'team' and not p_settings.through_runtime then 'runtime_required'
        when k.id is null then 'no_key'
        when k.status in ('rejected', 'unreadable') then 'key_' || k.status
        when k.out_of_credit_until > now() then 'key_out_of_credit'
        when k.rate_limited_until > now() then 'key_rate_limited'
      end as skipped
    from public.llm_providers as p
    cross join unnest(p_settings.sources) with ordinality as s (source, turn)
    left join unnest(p_named) with ordinality as n (provider, model, reason, place) on p.id = n.provider
    left join owned as k
      on k.owner_id = case s.source when 'user' then p_user when 'team' then p_team end and k.provider = p.id
    where s.source = 'user' or k.id is not null or s.source = 'operator' and p.id = any(p_operator_providers)
  ),

  placed as (
    select
      c.*,
      -- Places from steps 1 and 2 are far below 1000.
      case
        when c.place is not null then c.place
        when c.id = p_settings.default_provider then 1000
        when c.source = 'operator' and c.id = 'openai' and coalesce(c.priority, c.task_position) is null then 1002
        else 1001
      end as step
    from considered as c
  )

  select
    c.id, c.name, c.model,
    case
      when c.place is not null then c.reason
      when c.step = 1000 then case when p_settings.team_default then 'team_policy' else 'default_provider' end
      when c.step = 1002 then 'operator_openai'
      when c.source = 'team' then 'team_key'
      when c.own_priority is null and c.priority is not null then 'team_policy'
      else 'preference_order'
    end,
    c.source, c.owner_id, c.key_id, c.hint,
    greatest(c.out_of_credit_until, c.rate_limited_until, (c.rate_limited_models ->> c.model)::timestamptz),
    case
      when p_settings.allowed is not null and not llm_private.team_allows(p_settings.allowed, c.id, c.model)
        then 'team_policy'
      when c.skipped is not null then c.skipped
      when (c.rate_limited_models ->> c.model)::timestamptz > now() then 'model_rate_limited'
    end,
    c.wire_format, c.base_url, c.key_header, c.key_scheme, c.parameter_names,
    'responses' = any(c.capabilities), null::jsonb
  from placed as c
  order by c.turn, c.step, c.priority nulls last, c.task_position nulls last, c.position, c.id;
end
$$;

comment on function llm_private.route_lines is
'All lines that the route of a request considers with these settings and named models, in order, as if fallbacks were
on.';

create function llm_private.route(
  p_user uuid, p_task text, p_model text, p_needs text[], p_operator_providers text[], p_team uuid
)
returns setof llm_private.route_line
language plpgsql
stable
rows 10
set search_path = pg_catalog, pg_temp
as $$
declare
  v_settings constant llm_private.route_settings := llm_private.route_settings(p_user, p_task, p_team);
  v_named llm_private.named_model[];
  v_only text;
  v_line llm_private.route_line;
  v_taken boolean := false;
begin
  if p_model is not null or v_settings.override is not null then
    v_named := llm_private.named_models(
      p_model, v_settings.override, v_settings.default_provider, v_settings.team_override
    );
  end if;
  if v_settings.enable_fallbacks then
    return query
    select l.* from llm_private.route_lines(
      v_settings, v_named, p_user, p_task, p_model, p_needs, p_operator_providers, p_team
    ) as l;
    return;
  end if;
  for v_line in
    select l.* from llm_private.route_lines(
      v_settings, v_named, p_user, p_task, p_model, p_needs, p_operator_providers, p_team
    ) as l
  loop
    if v_line.skipped is null then
      v_only := coalesce(v_named[1].provider, v_settings.default_provider, v_line.provider);
      v_line.skipped := case when v_taken or v_line.provider <> v_only then 'fallbacks_off' end;
      v_taken := v_taken or v_line.skipped is null;
    end if;
    return next v_line;
  end loop;
end
$$;

comment on function llm_private.route is
'All lines that the route of a request with a team (null: none) considers, in order. A line without skipped is a
candidate. Error unknown_model.';

create function llm_private.skip_message(p_line llm_private.route_line, p_needs text[])
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select case p_line.skipped
    when 'provider_off' then p_line.name || ' is disabled by the operator.'
    when 'provider_disabled' then 'You disabled ' || p_line.name || '.'
    when 'other_model' then 'Embeddings of ' || p_line.name || ' are not comparable with those of the requested model.'
    when 'not_in_task_fallbacks' then p_line.name || ' is not among your fallbacks for this task.'
    when 'lacks_capability' then p_line.name || ' does not support all of: ' || array_to_string(p_needs, ', ') || '.'
    when 'no_model' then p_line.name || ' has no model for this task.'
    when 'team_policy' then format('Your team does not allow %s at %s.', p_line.model, p_line.name)
    when 'no_key' then 'No key for ' || p_line.name || '.'
    when 'key_rejected' then format(
      '%s rejected %s key %s. %s', p_line.name, w.whose, p_line.key_hint,
      case when p_line.key_source = 'user' then 'Replace it.' else 'Ask an owner or admin of the team to replace it.' end
    )
    when 'key_unreadable' then format(
      '%s key %s for %s was lost. %s', upper(left(w.whose, 1)) || substr(w.whose, 2), p_line.key_hint, p_line.name,
      case when p_line.key_source = 'user' then 'Store it again.' else 'Ask an owner or admin of the team to store it again.' end
    )
    when 'key_out_of_credit' then format(
      '%s reports that the account of %s key %s has no credit left. Add credit, then check the key.',
      p_line.name, w.whose, p_line.key_hint
    )
    when 'key_rate_limited' then format(
      '%s key for %s is rate-limited for another %s seconds.',
      upper(left(w.whose, 1)) || substr(w.whose, 2), p_line.name,
      ceil(extract(epoch from p_line.rests_until - now()))::integer
    )
    when 'model_rate_limited' then format(
      '%s is rate-limited at %s for another %s seconds.',
      p_line.model, p_line.name, ceil(extract(epoch from p_line.rests_until - now()))::integer
    )
    when 'operator_keys_declined' then 'The operator has a key for ' || p_line.name || ', but you have not allowed its use.'
    when 'operator_keys_not_for_anonymous' then format(
      'The operator has a key for %s, but not for anonymous users. Sign in with an account.', p_line.name
    )
    when 'quota_exceeded' then p_line.quota ->> 'message'
    when 'model_unpriced' then p_line.quota ->> 'message'
    when 'requested_model_unpriced'
      then p_line.name || ' would answer with another model than the requested one, which has no price.'
    when 'runtime_required' then format(
      'Only a registered runtime can use %s key for %s.',
      case p_line.key_source when 'team' then 'the team''s' else 'the operator''s' end, p_line.name
    )
    when 'fallbacks_off' then p_line.name || ' would be a fallback, but fallbacks are off.'
  end
  from (values (case when p_line.key_source = 'user' then 'your' else 'the team''s' end)) as w (whose)
$$;

comment on function llm_private.skip_message is 'Why a line cannot serve, as a message for users.';

create function llm_private.route_advice(p_lines llm_private.route_line[], p_needs text[])
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  with line as (
    select
      l.*,
      l.key_id is not null or l.skipped = 'team_policy' or starts_with(l.skipped, 'operator_keys_') or l.skipped = 'runtime_required'
      or l.quota is not null as fixable,
      l.key_source = 'user' and l.skipped = 'no_key' as keyless,
      llm_private.skip_message(p_lines[l.ordinality], p_needs) as message,
      row_number() over (partition by l.name, l.key_source order by l.ordinality) as nth
    from unnest(p_lines) with ordinality as l
  )

  select coalesce(
    nullif(
      concat_ws(
        ' ',
        string_agg(line.message, ' ' order by line.ordinality) filter (where line.fixable and line.nth = 1),
        'Add a key for one of: '
        || string_agg(line.name, ', ' order by line.ordinality) filter (where line.keyless and line.nth = 1) || '.',
        case
          when bool_or(line.skipped = 'runtime_required')
            then 'To use the operator''s or a team''s keys, the app''s server must set SUPA_LLM_RUNTIME_SECRET.'
        end
      ),
      ''
    ),
    'No provider of this project supports this request.'
  )
  from line
$$;

comment on function llm_private.route_advice is 'What a user can do about a route without candidates.';

create function llm_private.explain_saved_route(
  p_user uuid, p_task text, p_model text, p_needs text[], p_operator_providers text[], p_team text
)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_team uuid;
  v_runtime uuid;
  v_quotas llm_private.quotas[];
  v_counters llm_private.quota_counters[];
  v_lines llm_private.route_line[];
  v_unpriced boolean := false;
begin
  perform llm_private.check_route_request(p_task, p_model, p_needs, p_operator_providers, p_team);
  v_team := case
    when p_team is null then (llm_private.route_state(p_user)).default_team
    else llm_private.named_team(p_user, p_team)
  end;
  v_lines := array(
    select r from llm_private.route(p_user, p_task, p_model, p_needs, p_operator_providers, v_team) as r
  );
  if llm_private.has_quotas(p_user, v_team) then
    v_runtime := case current_setting('role')
      when 'service_role' then llm_private.operator_id() else llm_private.current_runtime(p_note => false)
    end;
    v_quotas := array(select q from llm_private.binding_quotas(p_user, v_team) as q);
    v_counters := array(
      select llm_private.counter_now(q, p_user) from unnest(v_quotas) as q
      where q.id = any(llm_private.countable_quotas(v_quotas, v_runtime))
    );
    for i in 1..cardinality(v_lines) loop
      if v_lines[i].skipped is null then
        -- For one token in and one out, so that only a quota that is used up refuses.
        v_lines[i].quota := (
          select w.refusal
          from llm_private.weigh_attempt(
            p_user, v_quotas, v_counters, p_task, v_lines[i].provider, v_lines[i].model, v_lines[i].key_source, 1, 1,
            1, true, p_team => v_lines[i].owner_id
          ) as w
        );
        v_lines[i].skipped := v_lines[i].quota ->> 'reason';
        v_unpriced := v_unpriced or v_lines[i].reason = 'requested' and v_lines[i].skipped = 'model_unpriced';
        -- As in reserve_route().
        if v_unpriced and v_lines[i].skipped is null and v_lines[i].reason <> 'requested' then
          v_lines[i].skipped := 'requested_model_unpriced';
        end if;
      end if;
    end loop;
  end if;
  return (
    select jsonb_build_object(
      'task', p_task,
      'team_id', v_team,
      'candidates', coalesce(
        jsonb_agg(
          jsonb_build_object(
            'provider', l.provider, 'model', l.model, 'reason', l.reason, 'key_source', l.key_source,
            'key_id', l.key_id, 'key_hint', l.key_hint, 'team_id', case l.key_source when 'team' then l.owner_id end, 'wire_format', l.wire_format, 'base_url', l.base_url,
            'key_header', l.key_header, 'key_scheme', l.key_scheme, 'parameter_names', l.parameter_names,
            'responses', l.responses, 'context_tokens', n.context_tokens,
            'metered', exists (
              select from unnest(v_quotas) as q
              where llm_private.quota_counts(q, p_task, l.provider, l.key_source, l.owner_id)
            )
          ) order by l.ordinality
        ) filter (where l.skipped is null), '[]'
      ),
      'skipped', coalesce(
        jsonb_agg(
          jsonb_build_object(
            'provider', l.provider, 'key_source', l.key_source, 'reason', l.skipped,
            'message', llm_private.skip_message(v_lines[l.ordinality], p_needs), 'quota', l.quota -> 'quota',
            'until', case when l.rests_until > now() then l.rests_until end
          ) order by l.ordinality
        ) filter (where l.skipped is not null), '[]'
      ),
      'advice', case
        when count(*) filter (where l.skipped is null) = 0 then llm_private.route_advice(v_lines, p_needs) else ''
      end
    )
    from unnest(v_lines) with ordinality as l
    left join llm_private.price_names as n on l.provider = n.provider and n.model = lower(l.model)
  );
end
$$;

comment on function llm_private.explain_saved_route is
'A user''s route with their saved settings; for an administrator, the route through a runtime.
Errors: see explain_llm_route().';

create function llm_private.explain_route(
  p_task text, p_model text, p_needs text[], p_operator_providers text[], p_changes jsonb, p_team text
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_route jsonb;
begin
  perform llm_private.require_plain_call('explain_llm_route');
  if p_changes is null then
    return llm_private.explain_saved_route(
      llm_private.require_session(), p_task, p_model, p_needs, p_operator_providers, p_team
    );
  end if;
  -- Saves the changes and rolls them back, so that the preview is exactly what saving would lead to.
  begin
    perform llm_private.change_settings(llm_private.require_user(), p_changes, null);
    v_route := llm_private.explain_saved_route(
      llm_private.require_session(), p_task, p_model, p_needs, p_operator_providers, p_team
    );
    raise exception using errcode = 'LLMUN';
  exception when sqlstate 'LLMUN' then
    return v_route;
  end;
end
$$;

comment on function llm_private.explain_route is 'See explain_llm_route().';

create function llm_private.lease_keys(
  p_user uuid, p_runtime uuid, p_holder text, p_owners uuid[], p_keys uuid[], p_until timestamptz
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_found bigint;
begin
  -- Locks keys before leases, in the same order as replacing a key.
  perform from public.llm_keys as k where k.owner_id = any(p_owners) and k.id = any(p_keys) for key share;
  get diagnostics v_found = row_count;
  if v_found < cardinality(p_keys) then
    return;
  end if;
  insert into llm_private.leases (user_id, owner_id, key_id, holder, expires_at)
  select p_user, k.owner_id, k.id, p_holder, p_until from public.llm_keys as k
  where k.owner_id = any(p_owners) and k.id = any(p_keys)
  order by k.id
  on conflict (user_id, owner_id, key_id, holder) do update
  set granted_in = excluded.granted_in, expires_at = excluded.expires_at;
  -- Removes expired leases, except those that their holder is renewing right now.
  delete from llm_private.leases as l
  using (
    select e.owner_id, e.key_id, e.holder from llm_private.leases as e
    where e.user_id = p_user and e.expires_at <= now()
    for update skip locked
  ) as ended
  where
    l.user_id = p_user and l.owner_id = ended.owner_id and l.key_id = ended.key_id and l.holder = ended.holder;
  insert into public.llm_audit_log (user_id, action, actor, provider, key_id, runtime_id, detail)
  select
    p_user, 'lease', case when p_runtime is null then 'user' else 'runtime' end, k.provider, k.id, p_runtime,
    jsonb_build_object('hint', k.hint, 'holder', p_holder, 'until', p_until)
  from public.llm_keys as k
  where k.owner_id = any(p_owners) and k.id = any(p_keys)
  union all
  -- The log of the team whose key it is, too.
  select
    k.owner_id, 'lease', 'runtime', k.provider, k.id, p_runtime,
    jsonb_build_object('by', p_user, 'hint', k.hint, 'holder', p_holder, 'until', p_until)
  from public.llm_keys as k
  where k.owner_id = any(p_owners) and k.id = any(p_keys) and k.owner_id <> p_user;
end
$$;

comment on function llm_private.lease_keys is
'Record in leases and audit log that this holder gets these keys of these owners; nothing if one of them was
replaced or revoked meanwhile.';

create function llm_private.reserve_route(
  p_user uuid,
  p_runtime uuid,
  p_quotas llm_private.quotas[],
  p_task text,
  p_candidates json,
  p_request_id uuid,
  p_input_tokens integer,
  p_output_tokens integer,
  p_requests integer,
  p_service_tier text
)
returns llm_private.reserved_route
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_counters llm_private.quota_counters[];
  v_candidate record;
  v_weighed llm_private.weighed_attempt;
  v_refusal jsonb;
  v_unpriced jsonb;
  v_reserved llm_private.reserved_route := row(0, null, null);
begin
  for v_candidate in
    select c.* from json_to_recordset(p_candidates)
    as c (provider text, model text, key_source text, metered boolean, reason text, team_id uuid)
  loop
    if v_unpriced is not null and v_candidate.reason <> 'requested' then
      v_reserved.refused := v_reserved.refused + 1;
      continue;
    end if;
    -- A candidate that no quota counts needs no reservation.
    if v_candidate.metered is not true then
      return v_reserved;
    end if;
    if v_counters is null then
      perform llm_private.check_reservation(p_request_id, 1, p_input_tokens, p_output_tokens, p_requests);
      v_counters := llm_private.begin_reserving(
        p_user, p_runtime, llm_private.countable_quotas(p_quotas, p_runtime), p_request_id, 1,
        (select (array_agg(q.team_id) filter (where q.team_id is not null))[1] from unnest(p_quotas) as q)
      );
    end if;
    v_weighed := llm_private.weigh_attempt(
      p_user, p_quotas, v_counters, p_task, v_candidate.provider, v_candidate.model, v_candidate.key_source,
      p_input_tokens, p_output_tokens, p_requests, p_service_tier => p_service_tier, p_team => v_candidate.team_id
    );
    if v_weighed.refusal is null then
      perform llm_private.reserve(p_user, p_runtime, p_request_id, 1, v_weighed);
      v_reserved.requests := v_weighed.requests;
      v_reserved.until := (
        select min(c.ends_at) from unnest(v_counters) as c
        inner join unnest(v_weighed.holds) as h on c.quota_id = h.quota_id
      );
      return v_reserved;
    end if;
    v_reserved.refused := v_reserved.refused + 1;
    -- Reports the first refusal, but prefers one that waiting resolves.
    if
      v_refusal is null
      or v_refusal ->> 'reason' <> 'quota_exceeded' and v_weighed.refusal ->> 'reason' = 'quota_exceeded'
    then
      v_refusal := v_weighed.refusal;
    end if;
    if v_candidate.reason = 'requested' and v_weighed.refusal ->> 'reason' = 'model_unpriced' then
      v_unpriced := v_weighed.refusal || jsonb_build_object(
        'message', format(
          'The requested model %s/%s has no price. %s', v_candidate.provider, v_candidate.model,
          v_weighed.refusal ->> 'message'
        )
      );
    end if;
  end loop;
  perform llm_private.refuse(coalesce(v_unpriced, v_refusal));
  return null;
end
$$;

comment on function llm_private.reserve_route is
'Reserve for the first candidate that the user''s quotas allow, unless none of them counts it. After a requested model
without a price, only further providers of the requested model are allowed.
Errors: quota_exceeded, model_unpriced, request_too_large.';

create function llm_private.refuse_route(
  p_user uuid, p_task text, p_model text, p_needs text[], p_operator_providers text[], p_team uuid
)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_lines constant llm_private.route_line[] := array(
    select r from llm_private.route(p_user, p_task, p_model, p_needs, p_operator_providers, p_team) as r
  );
begin
  if exists (select from unnest(v_lines) as l where l.skipped in ('key_rate_limited', 'model_rate_limited')) then
    perform llm_private.fail(
      429, 'keys_rate_limited', 'No provider can serve this request right now.',
      llm_private.route_advice(v_lines, p_needs)
    );
  end if;
  perform llm_private.fail(
    422, 'no_usable_key', 'No provider can serve this request.', llm_private.route_advice(v_lines, p_needs)
  );
end
$$;

comment on function llm_private.refuse_route is
'Error keys_rate_limited or no_usable_key for a route without candidates, with what the user can do.';

-- Without sequential scans, because the planner would read small tables whole, and these queries run for every route.
create function llm_private.keyed_route(
  p_user uuid,
  p_holder text,
  p_quotas llm_private.quotas[],
  p_task text,
  p_model text,
  p_needs text[],
  p_operator_providers text[],
  p_team uuid
)
returns llm_private.keyed_route
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
  v_route llm_private.keyed_route;
begin
  -- Materialized, so that Vault decrypts each master key once, and a master key each owner's data key once.
  with line as materialized (
    select r.*
    from llm_private.route(p_user, p_task, p_model, p_needs, p_operator_providers, p_team) with ordinality as r
    where r.skipped is null or r.skipped in ('key_rate_limited', 'model_rate_limited')
  ),

  owner as materialized (
    select o.id, o.master_key_id, o.wrapped_key from llm_private.key_owners as o
    where o.id in (select r.owner_id from line as r where r.skipped is null)
  ),

  master as materialized (
    select m.id, llm_private.readable_master_key(m.id) as secret
    from (select distinct o.master_key_id as id from owner as o) as m
  ),

  data_key as materialized (
    select o.id, llm_private.unwrap_data_key(o.id, o.wrapped_key, m.secret) as secret
    from owner as o
    inner join master as m on o.master_key_id = m.id
  )

  select
    json_agg(c order by r.ordinality) filter (where r.skipped is null),
    array_agg(r.key_id) filter (where r.key_id is not null and r.skipped is null),
    array_agg(r.owner_id) filter (where r.key_id is not null and r.skipped is null),
    bool_or(l.key_id is null) filter (where r.key_id is not null and r.skipped is null),
    min(l.expires_at) filter (where r.skipped is null),
    min(r.rests_until) filter (where r.skipped is not null)
  into v_route
  from line as r
  left join llm_private.key_secrets as s on r.owner_id = s.owner_id and r.key_id = s.key_id
  left join data_key as d on r.owner_id = d.id
  left join llm_private.price_names as n on r.provider = n.provider and n.model = lower(r.model)
  left join llm_private.leases as l
    on l.user_id = p_user and r.owner_id = l.owner_id and r.key_id = l.key_id and l.holder = p_holder
    and l.expires_at > now()
    and l.granted_in is distinct from pg_current_xact_id_if_assigned()
  -- As a row, because json_build_object() takes 4 microseconds longer.
  cross join lateral (
    select
      r.provider, r.model, r.reason, r.key_source, r.key_id, r.key_hint, r.wire_format, r.base_url, r.key_header,
      r.key_scheme, r.parameter_names, r.responses, case r.key_source when 'team' then r.owner_id end as team_id,
      n.context_tokens,
      case
        when l.key_id is not null
          then llm_private.decrypt_key(
            r.owner_id, r.key_id, s.ciphertext, coalesce(d.secret, llm_private.data_key(r.owner_id))
          )
      end as key,
      case
        when p_quotas is not null
          then exists (
            select from unnest(p_quotas) as q
            where llm_private.quota_counts(q, p_task, r.provider, r.key_source, r.owner_id)
          )
        else false
      end as metered
  ) as c;
  return v_route;
end
$$;

comment on function llm_private.keyed_route is
'The candidates, with the keys in plain text that this holder has on lease since an earlier transaction, and whether
one of these quotas counts them. Errors: master_key_missing, key_unreadable.';

create function llm_private.without_first(p_candidates json, p_refused integer)
returns json
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_refused = 0 then
    return p_candidates;
  end if;
  return (
    select json_agg(c.value order by c.ordinality)
    from json_array_elements(p_candidates) with ordinality as c
    where c.ordinality > p_refused
  );
end
$$;

comment on function llm_private.without_first is 'Candidates without the first ones, which reserve_route() refused.';

create function llm_private.resolve_route(
  p_task text,
  p_model text,
  p_needs text[],
  p_operator_providers text[],
  p_request_id uuid,
  p_input_tokens integer,
  p_output_tokens integer,
  p_requests integer,
  p_service_tier text,
  p_team text
)
returns json
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_user constant uuid := llm_private.require_session();
  v_runtime constant uuid := llm_private.current_runtime();
  v_holder constant text := llm_private.key_holder(v_user, v_runtime);
  v_operator llm_private.operator_settings;
  v_state llm_private.route_state;
  v_team uuid;
  v_quotas llm_private.quotas[];
  v_route llm_private.keyed_route;
  v_reserved llm_private.reserved_route;
  v_output_tokens integer;
  v_tier text;
begin
  perform llm_private.require_plain_call('resolve_llm_route');
  select * into strict v_operator from llm_private.operator_settings;
  perform llm_private.require_readable_keys(v_runtime, v_operator);
  perform llm_private.check_route_request(p_task, p_model, p_needs, p_operator_providers, p_team);
  -- Before all that it covers, so that a change during this call outdates the route.
  v_state := llm_private.route_state(v_user);
  v_team := case when p_team is null then v_state.default_team else llm_private.named_team(v_user, p_team) end;
  if p_service_tier is not null then
    v_tier := llm_private.priced_tier(p_service_tier);
  end if;
  if llm_private.has_quotas(v_user, v_team) then
    v_quotas := array(select q from llm_private.binding_quotas(v_user, v_team) as q);
  end if;

  v_route := llm_private.keyed_route(
    v_user, v_holder, v_quotas, p_task, p_model, p_needs, p_operator_providers, v_team
  );
  if v_route.candidates is null then
    perform llm_private.refuse_route(v_user, p_task, p_model, p_needs, p_operator_providers, v_team);
  end if;
  -- Nothing is written while leases cover all keys. A user with a key has settings.
  if v_route.unleased is null then
    perform llm_private.ensure_settings(v_user);
  end if;
  if v_route.unleased or v_route.expires_at is null then
    v_route.expires_at := now() + make_interval(secs => v_operator.lease_seconds);
  end if;
  if v_route.unleased then
    perform llm_private.lease_keys(
      v_user, v_runtime, v_holder, v_route.owner_ids, array(select distinct k from unnest(v_route.key_ids) as k),
      v_route.expires_at
    );
    return json_build_object('again', true);
  end if;

  -- A candidate that is rate-limited now may serve again soon.
  v_route.expires_at := least(v_route.expires_at, v_route.rests_until);
  if v_quotas is null then
    return json_build_object(
      'task', p_task, 'team_id', v_team, 'version', v_state.version,
      'candidates', v_route.candidates, 'expires_at', v_route.expires_at,
      'ticket', case when v_runtime is not null then llm_private.new_ticket(v_user, v_runtime) end
    );
  end if;
  v_output_tokens := coalesce(p_output_tokens, v_operator.unbounded_output_tokens);
  v_reserved := llm_private.reserve_route(
    v_user, v_runtime, v_quotas, p_task, v_route.candidates, p_request_id, coalesce(p_input_tokens, 0), v_output_tokens,
    p_requests, v_tier
  );
  return json_build_object(
    'task', p_task,
    'team_id', v_team,
    'version', v_state.version,
    'candidates', llm_private.without_first(v_route.candidates, v_reserved.refused),
    -- A candidate that a quota refuses now may serve again soon.
    'expires_at', case
      when v_reserved.refused > 0 then least(v_route.expires_at, now() + interval '10 seconds')
      else v_route.expires_at
    end,
    'ticket', case when v_runtime is not null then llm_private.new_ticket(v_user, v_runtime) end,
    'max_output_tokens', case
      when exists (select from unnest(v_quotas) as q where q.enforced and q.unit <> 'requests') then v_output_tokens
    end,
    'reserved_requests', v_reserved.requests,
    'reserved_until', least(v_route.expires_at, v_reserved.until)
  );
end
$$;

comment on function llm_private.resolve_route is 'See resolve_llm_route().';

-- Public RPCs ---------------------------------------------------------------------------------------------------------

-- On the hot path, so plpgsql (see uuid_v7_time()): an SQL function here makes a call take 13 % longer.
create function public.resolve_llm_route(
  p_task text default null,
  p_model text default null,
  p_needs text[] default '{}',
  p_operator_providers text[] default '{}',
  p_request_id uuid default null,
  p_input_tokens integer default null,
  p_output_tokens integer default null,
  p_requests integer default 1,
  p_service_tier text default null,
  p_team text default null
)
returns json
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  return llm_private.resolve_route(
    p_task, p_model, p_needs, p_operator_providers, p_request_id, p_input_tokens, p_output_tokens, p_requests,
    p_service_tier, p_team
  );
end
$$;

comment on function public.resolve_llm_route is
'The ordered candidates for a request, each with its reason and, for the caller''s own keys, the key in plain text; the
operator''s keys stay with the operator. The caller may keep them until expires_at. If one of the keys is not on lease to
the caller, the call records the lease, reserves nothing and returns {"again": true}; the next call, in a transaction of
its own, returns the route. Within the lease, the route comes at once.
p_needs: of chat, streaming, tools, json_schema, vision and embeddings. p_operator_providers: the providers that the
operator has a key for. p_team: the id of one of the caller''s teams, none, or null for the default team; its policy
applies, and through a runtime, its keys serve too.
A candidate is metered if a quota counts it. The route reserves for a metered first candidate: the most that the request
p_request_id (a UUIDv7) may use (p_input_tokens and p_output_tokens, or max_output_tokens of the result, which a metered
attempt must then keep to; in a quota of cost at the price of p_service_tier), until record_llm_usage() settles it. With p_requests, it also reserves for further requests
of the same size, as far as no quota is near its limit: reserved_requests in all, which begin before reserved_until.
The attempts of the further ones name p_request_id as their reservation. A metered later candidate is reserved by
reserve_llm_attempt() when its turn comes.
For a runtime, the result has a ticket for record_llm_usage_batch(). version changes with the user''s settings, keys and
teams.
Errors: not_signed_in, account_banned, account_suspended, session_ended, runtime_unknown, runtime_required, invalid_argument,
unknown_model, team_not_found, no_usable_key,
keys_rate_limited, key_unreadable, quota_exceeded, model_unpriced, request_too_large.';

create function public.explain_llm_route(
  p_task text default null,
  p_model text default null,
  p_needs text[] default '{}',
  p_operator_providers text[] default '{}',
  p_changes jsonb default null,
  p_team text default null
)
returns jsonb
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select llm_private.explain_route(p_task, p_model, p_needs, p_operator_providers, p_changes, p_team)
$$;

comment on function public.explain_llm_route is
'What resolve_llm_route() would return, without keys: candidates with reasons, what is skipped and why, and advice if no
candidate is left. With p_changes, as it would be after set_llm_settings(p_changes); nothing is saved.
p_team: as in resolve_llm_route().
Errors: not_signed_in, account_banned, account_suspended, session_ended, invalid_argument, unknown_model, team_not_found; with
p_changes also invalid_setting and unknown_setting.';
