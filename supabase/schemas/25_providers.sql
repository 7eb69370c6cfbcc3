-- The provider catalog. To add a provider that uses a known wire format, an administrator adds one row.

create table public.llm_providers (
  id text primary key,
  name text not null,
  base_url text not null,
  wire_format text not null default 'openai',
  key_header text not null default 'authorization',
  key_scheme text not null default 'Bearer',
  key_pattern text not null default '^\S+$',
  key_example text not null default '',
  key_url text not null default '',
  key_check_path text,
  capabilities text[] not null default '{chat,streaming,tools,json_schema}',
  default_model text not null,
  task_models jsonb not null default '{}',
  model_pattern text,
  parameter_names jsonb not null default '{}',
  position integer not null default 100,
  enabled boolean not null default true,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  model_prefixes text[] not null default '{}',
  constraint id_is_lower_case check (id ~ '^[a-z][a-z0-9_-]{0,31}$'),
  constraint name_is_short check (length(name) between 1 and 60),
  -- Keys are sent to this address, so plain HTTP is allowed to this machine only.
  constraint base_url_is_https_or_loopback check (
    base_url ~ '^(https://[^\s/?#@]+|http://(127\.0\.0\.1|localhost|\[::1\])(:[0-9]+)?)(/[^\s?#]*)?$'
    and base_url !~ '/$'
  ),
  constraint wire_format_is_known check (wire_format in ('openai', 'anthropic', 'google')),
  constraint key_header_is_a_header_name check (key_header ~ '^[a-z][a-z0-9-]{0,63}$'),
  constraint key_scheme_is_a_token check (key_scheme ~ '^[A-Za-z0-9-]{0,32}$'),
  -- Users follow this link from the page that lists their keys.
  constraint key_url_is_https check (key_url = '' or key_url ~ '^https://[^\s@"<>]+$'),
  constraint key_check_path_is_a_path check (key_check_path ~ '^/[^\s#@]*$'),
  constraint capabilities_are_known check (
    capabilities <@ '{chat,streaming,tools,json_schema,vision,embeddings,responses}'::text[]
    -- JSON can hold lists of lists.
    and coalesce(array_ndims(capabilities), 1) = 1
  ),
  constraint responses_need_the_openai_format check (wire_format = 'openai' or 'responses' <> all(capabilities)),
  constraint task_models_is_an_object check (jsonb_typeof(task_models) = 'object'),
  constraint parameter_names_is_an_object check (jsonb_typeof(parameter_names) = 'object'),
  -- Quotas reserve for this limit, so it must reach the provider.
  constraint output_limit_is_sent check (parameter_names -> 'max_completion_tokens' is distinct from 'null'),
  constraint model_prefixes_end_with_a_slash check (
    coalesce(array_ndims(model_prefixes), 1) = 1
    and array_position(model_prefixes, null) is null and '' <> all(model_prefixes)
    and array_to_string(model_prefixes, ' ') ~ '^([A-Za-z0-9_-]{1,63}/( |$)){0,8}$'
  ),
  constraint models_have_no_prefix check (
    model_prefixes = '{}'
    or ('"": "' || default_model || '"' || task_models::text)
    !~ ('": "(' || array_to_string(model_prefixes, '|') || ')')
  ),
  -- A pattern that does not compile fails here instead of in a user's request.
  constraint patterns_compile check ('' ~ key_pattern is not null and ('' ~ model_pattern) in (true, false, null))
);

comment on table public.llm_providers is
'The provider catalog: every signed-in user reads it, administrators change it.';
comment on column public.llm_providers.base_url is
'Base URL of requests, without a trailing slash. The provider''s keys are sent nowhere else.';
comment on column public.llm_providers.wire_format is 'Format of requests and responses: openai, anthropic or google.';
comment on column public.llm_providers.key_header is 'Header that carries the key, in lower case.';
comment on column public.llm_providers.key_scheme is 'Scheme before the key in that header (Bearer), or empty.';
comment on column public.llm_providers.key_pattern is 'Regular expression that a key must match before it is stored.';
comment on column public.llm_providers.key_example is 'Example of a key to show to users: sk-…';
comment on column public.llm_providers.key_url is 'Page where users create a key, or empty.';
comment on column public.llm_providers.key_check_path is
'Path below base_url that accepts only a valid key (/key); null: the list of models.';
comment on column public.llm_providers.capabilities is
'Of chat, streaming, tools, json_schema, vision, embeddings and responses. With responses, the provider serves OpenAI''s
Responses API; such requests reach other providers as chats.';
comment on column public.llm_providers.default_model is 'Model for tasks that are not in task_models.';
comment on column public.llm_providers.task_models is
'Model by task: {"speed": "…"}; "embedding" is the model for embeddings.';
comment on column public.llm_providers.model_pattern is
'Regular expression for the provider''s model names, to route requests for a bare model name.';
comment on column public.llm_providers.parameter_names is
'OpenAI parameter → the provider''s name for it; null: the parameter is not sent. Unless it is here,
max_completion_tokens is sent as max_tokens.';
comment on column public.llm_providers.model_prefixes is
'Prefixes, each with a trailing slash, that are not part of a model''s name: with {models/}, models/gemini-2.5-pro is
gemini-2.5-pro. They are removed before a model is requested, priced or recorded. The row''s own models have none.';
comment on column public.llm_providers.position is
'Order of providers that the user has not ordered; lower comes first.';
comment on column public.llm_providers.enabled is 'false: the provider serves no requests; its keys stay stored.';

create table public.llm_tasks (
  task text primary key,
  description text not null default '',
  provider_order text[] not null default '{}',
  constraint task_is_short check (length(task) between 1 and 64)
);

comment on table public.llm_tasks is 'Tasks with an order of providers. Any other string is a task too, without one.';
comment on column public.llm_tasks.provider_order is
'Providers for this task, best first; applies to providers that the user has not ordered.';

alter table public.llm_providers enable row level security;
alter table public.llm_tasks enable row level security;

create policy "signed-in users read the catalog" on public.llm_providers
for select to authenticated using (true);
create policy "signed-in users read the tasks" on public.llm_tasks
for select to authenticated using (true);

-- Private helpers -----------------------------------------------------------------------------------------------------

create type llm_private.default_provider as (
  id text,
  name text,
  base_url text,
  wire_format text,
  key_header text,
  key_scheme text,
  key_pattern text,
  key_example text,
  key_url text,
  capabilities text [],
  default_model text,
  task_models jsonb,
  model_pattern text,
  parameter_names jsonb,
  position integer,
  model_prefixes text []
);

comment on type llm_private.default_provider is 'A provider of a new project. See the columns of llm_providers.';

create function llm_private.default_providers()
returns setof llm_private.default_provider
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  values
  (
    'openai', 'OpenAI', 'https://api.openai.com/v1', 'openai', 'authorization', 'Bearer',
    '^sk-(?!ant-|or-)[A-Za-z0-9_-]{16,}$', 'sk-…', 'https://platform.openai.com/api-keys',
    '{chat,streaming,tools,json_schema,vision,embeddings,responses}'::text[], 'gpt-5-mini',
    '{"speed": "gpt-5-nano", "code": "gpt-5", "embedding": "text-embedding-3-small"}'::jsonb,
    '^(gpt-|chatgpt-|o[0-9]|text-embedding-)',
    '{"max_completion_tokens": "max_completion_tokens"}'::jsonb, 10, '{openai/}'::text[]
  ),
  (
    'groq', 'Groq', 'https://api.groq.com/openai/v1', 'openai', 'authorization', 'Bearer',
    '^gsk_[A-Za-z0-9]{16,}$', 'gsk_…', 'https://console.groq.com/keys',
    '{chat,streaming,tools,json_schema}', 'openai/gpt-oss-120b',
    '{"speed": "llama-3.1-8b-instant"}',
    '^(llama|meta-llama/|qwen)', '{"max_completion_tokens": "max_completion_tokens", "store": null}', 20, '{}'
  ),
  (
    'mistral', 'Mistral', 'https://api.mistral.ai/v1', 'openai', 'authorization', 'Bearer',
    '^[A-Za-z0-9]{32}$', '32 letters and digits', 'https://console.mistral.ai/api-keys',
    '{chat,streaming,tools,json_schema,vision,embeddings}', 'mistral-medium-latest',
    '{"speed": "mistral-small-latest", "code": "codestral-latest", "embedding": "mistral-embed"}',
    '^(mistral|ministral|magistral|codestral|devstral|pixtral|open-mi)',
    '{"seed": "random_seed", "stream_options": null, "store": null, "user": null,
      "service_tier": null, "safety_identifier": null, "prompt_cache_key": null, "verbosity": null}', 30, '{mistral/}'
  ),
  (
    'anthropic', 'Anthropic', 'https://api.anthropic.com', 'anthropic', 'x-api-key', '',
    '^sk-ant-[A-Za-z0-9_-]{16,}$', 'sk-ant-…', 'https://console.anthropic.com/settings/keys',
    '{chat,streaming,tools,json_schema,vision}', 'claude-sonnet-4-5',
    '{"speed": "claude-haiku-4-5"}', '^claude', '{}', 40, '{anthropic/}'
  ),
  (
    'google', 'Google', 'https://generativelanguage.googleapis.com', 'google', 'x-goog-api-key', '',
    '^(AIza|AQ\.)[A-Za-z0-9_-]{16,}$', 'AIza…', 'https://aistudio.google.com/apikey',
    '{chat,streaming,tools,json_schema,vision,embeddings}', 'gemini-2.5-flash',
    '{"speed": "gemini-2.5-flash-lite", "code": "gemini-2.5-pro", "embedding": "gemini-embedding-001"}',
    '^(gemini|gemma)', '{}', 50, '{models/,google/}'
  )
$$;

comment on function llm_private.default_providers is
'The providers of a new project. What an administrator changed is what differs from them.';

create function llm_private.add_default_providers()
returns void
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  insert into public.llm_providers (
    id, name, base_url, wire_format, key_header, key_scheme, key_pattern, key_example, key_url,
    capabilities, default_model, task_models, model_pattern, parameter_names, position, model_prefixes
  )
  select d.* from llm_private.default_providers() as d
  on conflict (id) do nothing;

  insert into public.llm_tasks (task, description, provider_order)
  values
  ('speed', 'Short answers, at once', '{groq,google,mistral,openai,anthropic}'),
  ('code', 'Writing and reading code', '{anthropic,openai,google,mistral,groq}'),
  ('embedding', 'Vectors for search', '{openai,mistral,google}')
  on conflict (task) do nothing;
$$;

comment on function llm_private.add_default_providers is
'Add the default providers and tasks to the catalog; existing rows stay unchanged.';

-- On the hot path, so plpgsql: see uuid_v7_time(). Frequent callers skip it for names without a slash.
create function llm_private.canonical_model(p_provider text, p_model text)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_prefixes constant text[] := (select p.model_prefixes from public.llm_providers as p where p.id = p_provider);
  v_model text := p_model;
  v_prefix text;
begin
  if v_prefixes <> '{}' then
    loop
      select u into v_prefix from unnest(v_prefixes) as u where starts_with(v_model, u) and v_model <> u limit 1;
      exit when not found;
      v_model := substr(v_model, length(v_prefix) + 1);
    end loop;
  end if;
  return v_model;
end
$$;

comment on function llm_private.canonical_model is
'The one name of a provider''s model, under which it is requested, priced, counted and recorded: without the provider''s
model_prefixes.';

create function llm_private.save_provider(p_provider jsonb)
returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_row public.llm_providers;
  v_columns constant jsonb := to_jsonb(jsonb_populate_record(null::public.llm_providers, '{}'));
  v_defaults constant jsonb := jsonb_build_object(
    'wire_format', 'openai', 'key_header', 'authorization',
    'key_scheme', 'Bearer', 'key_pattern', '^\S+$', 'key_example', '', 'key_url', '',
    'capabilities', '["chat", "streaming", "tools", "json_schema"]'::jsonb, 'task_models', '{}'::jsonb,
    'parameter_names', '{}'::jsonb, 'position', 100, 'enabled', true, 'created_at', now(),
    'model_prefixes', '[]'::jsonb
  );
  v_old jsonb;
  v_unknown text;
  v_constraint text;
  v_null text;
begin
  perform llm_private.check_size('p_provider', p_provider, 16);
  if jsonb_typeof(p_provider) is distinct from 'object' or p_provider ->> 'id' is null then
    perform llm_private.fail(
      400, 'invalid_argument', 'p_provider has an invalid value.', 'Allowed: a JSON object with an id.'
    );
  end if;
  select * into v_row from public.llm_providers where id = p_provider ->> 'id' for update;
  v_old := case when found then to_jsonb(v_row) - 'updated_at' end;
  select k into v_unknown from jsonb_object_keys(p_provider) as k
  where not v_columns ? k or k in ('created_at', 'updated_at') limit 1;
  if found then
    perform llm_private.fail(
      400, 'unknown_setting', format('%s is not a column of a provider.', left(v_unknown, 60)),
      'See the comments on the columns of public.llm_providers.'
    );
  end if;
  begin
    if v_row.id is null then
      v_row := jsonb_populate_record(
        v_row, v_defaults || jsonb_build_object('name', initcap(p_provider ->> 'id'))
      );
    end if;
    v_row := jsonb_populate_record(v_row, p_provider);
    v_row.updated_at := now();
    insert into public.llm_providers select v_row.*
    on conflict (id) do update set
      name = excluded.name, base_url = excluded.base_url, wire_format = excluded.wire_format,
      key_header = excluded.key_header, key_scheme = excluded.key_scheme, key_pattern = excluded.key_pattern,
      key_example = excluded.key_example, key_url = excluded.key_url, key_check_path = excluded.key_check_path,
      capabilities = excluded.capabilities,
      default_model = excluded.default_model, task_models = excluded.task_models,
      model_pattern = excluded.model_pattern, parameter_names = excluded.parameter_names,
      position = excluded.position, enabled = excluded.enabled, updated_at = excluded.updated_at,
      model_prefixes = excluded.model_prefixes;
  exception when data_exception or integrity_constraint_violation then
    get stacked diagnostics v_constraint = constraint_name, v_null = column_name;
    perform llm_private.fail(
      400, 'invalid_provider',
      case
        when v_null <> '' and v_old is null
          then format('The provider does not exist yet, and a new one needs %s.', v_null)
        when v_null <> '' then format('%s must not be null.', v_null)
        when v_constraint <> '' then format('The provider violates the constraint %s.', v_constraint)
        else format('The provider cannot be stored: %s.', left(sqlerrm, 300))
      end,
      'Required: id, base_url (https, or http on this machine, without a trailing slash) and default_model.'
    );
  end;
  perform llm_private.audit_operator('provider_set', v_old, to_jsonb(v_row) - 'updated_at', v_row.id);
  return to_jsonb(v_row);
end
$$;

comment on function llm_private.save_provider is 'Add or change a provider. Errors: see set_llm_provider().';

create function llm_private.set_provider(p_provider jsonb)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform llm_private.require_plain_call('set_llm_provider');
  return llm_private.save_provider(p_provider);
end
$$;

comment on function llm_private.set_provider is 'See set_llm_provider().';

create function llm_private.require_unused_provider(p_id text)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_keys constant bigint := (select count(*) from public.llm_keys as k where k.provider = p_id);
  v_used constant boolean := exists (select from public.llm_usage_totals as t where t.provider = p_id);
begin
  if v_keys > 0 or v_used then
    perform llm_private.fail(
      409, 'provider_in_use',
      format(
        'The provider %s cannot be removed: %s.', p_id,
        concat_ws(
          ' and ',
          case when v_keys > 0 then format('%s of its keys %s stored', v_keys, case v_keys when 1 then 'is' else 'are' end) end,
          case when v_used then 'usage of it is recorded' end
        )
      ),
      'Disable it instead: it then serves no requests.'
    );
  end if;
end
$$;

comment on function llm_private.require_unused_provider is
'Error provider_in_use if keys of the provider are stored, or usage of it is recorded.';

create function llm_private.remove_provider(p_provider text)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_row public.llm_providers;
begin
  perform llm_private.require_plain_call('remove_llm_provider');
  perform llm_private.check_provider(p_provider);
  perform llm_private.require_unused_provider(p_provider);
  -- Waits for keys that are being stored: their foreign key holds the row.
  select * into strict v_row from public.llm_providers where id = p_provider for update;
  perform llm_private.require_unused_provider(p_provider);
  delete from public.llm_prices where provider = p_provider;
  delete from llm_private.price_list where provider = p_provider;
  delete from llm_private.price_names where provider = p_provider;
  update public.llm_tasks set provider_order = array_remove(provider_order, p_provider) where p_provider = any(provider_order);
  delete from public.llm_providers where id = p_provider;
  perform llm_private.audit_operator('provider_removed', p_old => to_jsonb(v_row) - 'updated_at', p_provider => p_provider);
end
$$;

comment on function llm_private.remove_provider is 'See remove_llm_provider().';

-- Public RPCs ---------------------------------------------------------------------------------------------------------

create function public.list_llm_providers(p_disabled boolean default false)
returns setof public.llm_providers
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select * from public.llm_providers where enabled or p_disabled order by position, id
$$;

comment on function public.list_llm_providers is
'The enabled providers, in catalog order; with p_disabled, also the disabled ones.';

create function public.set_llm_provider(p_provider jsonb)
returns jsonb
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select llm_private.set_provider(p_provider)
$$;

comment on function public.set_llm_provider is
'For administrators: add a provider, or change the given columns of an existing one. A new OpenAI-compatible provider
needs id, base_url and default_model. Errors: invalid_argument, unknown_setting, invalid_provider.';

create function public.remove_llm_provider(p_provider text)
returns void
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select llm_private.remove_provider(p_provider)
$$;

comment on function public.remove_llm_provider is
'For administrators: remove a provider that has neither keys nor usage, with its prices and quotas. Users'' settings may
still name it, which has no effect. Errors: invalid_argument, unknown_provider, provider_in_use.';
