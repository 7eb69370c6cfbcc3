-- The configuration: everything that administrators set for the whole project, as one document without secrets, so that
-- it can be reviewed, kept in version control and applied to another project.
--
--   settings    the operator's settings
--   providers   what differs from the default providers; a provider of the project's own in full
--   prices      the operator's prices, current and future, older ones first
--   quotas      the operator's quotas for everyone and for groups
--
-- Quotas and groups of single users are not part of it, because another project has other users. Applying a
-- configuration adds and changes; it removes nothing that the document does not name.

create type llm_private.configuration_item as (kind text, name text, value jsonb);

comment on type llm_private.configuration_item is
'A setting, provider, price or quota with its name, to compare configurations.';

-- Private helpers -----------------------------------------------------------------------------------------------------

create function llm_private.shared_prices()
returns setof public.llm_prices
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  select p.* from public.llm_prices as p
  where
    p.user_id is null and p.source = 'operator' and p.valid_until > greatest(now(), p.valid_from)
    -- A newer price that applies for at least as long replaces it.
    and not exists (
      select from public.llm_prices as n
      where
        n.user_id is null and n.source = 'operator' and n.id > p.id and n.provider = p.provider and n.model = p.model
        and n.key_source is not distinct from p.key_source and n.service_tier is not distinct from p.service_tier
        and greatest(n.valid_from, now()) <= greatest(p.valid_from, now()) and n.valid_until >= p.valid_until
    )
  order by p.id;
end
$$;

comment on function llm_private.shared_prices is
'The operator''s prices that apply now or will apply, older ones first.';

create function llm_private.price_entry(
  p_provider text,
  p_model text,
  p_key_source text,
  p_service_tier text,
  p_valid_from timestamptz,
  p_valid_until timestamptz,
  p_rates jsonb
)
returns jsonb
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_strip_nulls(
    jsonb_build_object(
      'provider', p_provider,
      'model', llm_private.canonical_model(p_provider, lower(p_model)),
      'key_source', p_key_source,
      'service_tier', p_service_tier,
      'valid_from', case when p_valid_from > now() then p_valid_from end,
      'valid_until', nullif(p_valid_until, 'infinity')
    )
  ) || jsonb_build_object('rates', p_rates)
$$;

comment on function llm_private.price_entry is
'A price of the configuration. A price that applies already has no valid_from.';

create function llm_private.shared_quotas()
returns setof jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  select jsonb_strip_nulls(llm_private.quota_json(q) - '{id,set_by,user_id,team_id,created_at}'::text[])
  from llm_private.quotas as q
  -- The ids of teams differ between projects.
  where q.set_by = 'operator' and q.user_id is null and q.team_id is null
  order by q.id;
end
$$;

comment on function llm_private.shared_quotas is 'The operator''s quotas for everyone and for groups.';

create function llm_private.changed_providers()
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return coalesce(
    (
      select jsonb_object_agg(c.id, c.columns)
      from (
        select
          p.id,
          (
            select jsonb_object_agg(f.key, f.value)
            from jsonb_each(to_jsonb(p) - '{id,created_at,updated_at}'::text[]) as f
            where
              d.id is null
              or f.value is distinct from (
                to_jsonb(d) || '{"enabled": true, "key_check_path": null}'::jsonb
              ) -> f.key
          ) as columns
        from public.llm_providers as p
        left join llm_private.default_providers() as d on p.id = d.id
      ) as c
      where c.columns is not null
    ), '{}'
  );
end
$$;

comment on function llm_private.changed_providers is
'The providers that are not as in a new project: id → the columns that differ, or all of a provider that is not a
default one.';

create function llm_private.configuration()
returns jsonb
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  return jsonb_build_object(
    'format', 1,
    'settings', llm_private.operator_settings_json() - 'updated_at',
    'providers', llm_private.changed_providers(),
    'prices', (
      select coalesce(
        jsonb_agg(
          llm_private.price_entry(
            p.provider, p.model, p.key_source, p.service_tier, p.valid_from, p.valid_until, p.rates
          ) order by p.id
        ), '[]'
      )
      from llm_private.shared_prices() as p
    ),
    'quotas', (select coalesce(jsonb_agg(q), '[]') from llm_private.shared_quotas() as q)
  );
end
$$;

comment on function llm_private.configuration is 'See get_llm_configuration().';

create function llm_private.configuration_items()
returns setof llm_private.configuration_item
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  select 'setting', s.key, s.value from jsonb_each(llm_private.operator_settings_json() - 'updated_at') as s
  union all
  select 'provider', p.id, to_jsonb(p) - '{id,created_at,updated_at}'::text[] from public.llm_providers as p
  union all
  select
    'price',
    concat_ws(
      ', ', p.provider || '/' || p.model, p.key_source || ' keys', 'tier ' || p.service_tier,
      case when p.valid_from > now() then 'from ' || to_char(p.valid_from at time zone 'UTC', 'YYYY-MM-DD HH24:MI') end,
      case
        when p.valid_until < 'infinity'
          then 'until ' || to_char(p.valid_until at time zone 'UTC', 'YYYY-MM-DD HH24:MI')
      end
    ),
    p.rates
  from llm_private.shared_prices() as p
  union all
  select
    'quota',
    concat_ws(
      ', ', (q ->> 'unit') || ' per ' || (q ->> 'period'), 'group ' || (q ->> 'group'),
      case when q -> 'shared' = 'true' then 'shared' end, (q ->> 'key_source') || ' keys', q ->> 'provider',
      'task ' || (q ->> 'task')
    ),
    q - '{unit,period,group,shared,key_source,provider,task}'::text[]
  from llm_private.shared_quotas() as q;
end
$$;

comment on function llm_private.configuration_items is 'Each part of the configuration, with its name.';

create function llm_private.check_configuration(p_configuration jsonb)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_unknown text;
begin
  perform
    llm_private.check_size('p_configuration', p_configuration, 1024, 'invalid_configuration'),
    llm_private.check_value(
      'invalid_configuration', jsonb_typeof(p_configuration) = 'object', 'p_configuration', 'a JSON object'
    ),
    llm_private.check_value(
      'invalid_configuration', p_configuration ->> 'format' ~ '^[1-9][0-9]{0,3}$', 'format', 'a number, now 1'
    );
  if (p_configuration ->> 'format')::integer > 1 then
    perform llm_private.fail(
      400, 'configuration_too_new',
      format('The configuration has format %s. This database knows format 1.', p_configuration ->> 'format'),
      'Upgrade supa-llm in this project, or export the configuration with the version of this project.'
    );
  end if;
  select k into v_unknown from jsonb_object_keys(p_configuration) as k
  where k not in ('format', 'settings', 'providers', 'prices', 'quotas') limit 1;
  if found then
    perform llm_private.fail(
      400, 'invalid_configuration', format('%s is not a field of the configuration.', left(v_unknown, 60)),
      'Allowed: format, settings, providers, prices and quotas.'
    );
  end if;
  perform
    llm_private.check_value(
      'invalid_configuration', coalesce(jsonb_typeof(p_configuration -> 'settings'), 'object') = 'object', 'settings',
      'an object'
    ),
    llm_private.check_value(
      'invalid_configuration', coalesce(jsonb_typeof(p_configuration -> 'providers'), 'object') = 'object',
      'providers', 'an object with the columns of each provider'
    ),
    llm_private.check_value(
      'invalid_configuration', coalesce(jsonb_typeof(p_configuration -> 'prices'), 'array') = 'array', 'prices',
      'an array'
    ),
    llm_private.check_value(
      'invalid_configuration', coalesce(jsonb_typeof(p_configuration -> 'quotas'), 'array') = 'array', 'quotas',
      'an array'
    );
end
$$;

comment on function llm_private.check_configuration is
'Errors invalid_configuration and configuration_too_new unless this is a configuration whose parts can be applied.';

create function llm_private.apply_provider(p_id text, p_columns jsonb)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_old constant jsonb := (select to_jsonb(p) from public.llm_providers as p where p.id = p_id);
begin
  perform llm_private.check_value(
    'invalid_configuration', jsonb_typeof(p_columns) = 'object' and not p_columns ? 'id', 'The provider',
    'an object with columns'
  );
  if v_old is null or v_old || p_columns <> v_old then
    perform llm_private.save_provider(p_columns || jsonb_build_object('id', p_id));
  end if;
end
$$;

comment on function llm_private.apply_provider is
'Add or change a provider of a configuration. Errors: invalid_configuration, and those of set_llm_provider().';

create function llm_private.checked_price(p_price jsonb)
returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  perform
    llm_private.check_value('invalid_configuration', jsonb_typeof(p_price) = 'object', 'The price', 'an object'),
    llm_private.check_value(
      'invalid_configuration',
      p_price ?& '{provider,model,rates}' and not exists (
        select from jsonb_object_keys(p_price) as k
        where k not in ('provider', 'model', 'rates', 'key_source', 'service_tier', 'valid_from', 'valid_until')
      ),
      'A field of the price', 'provider, model, rates, key_source, service_tier, valid_from and valid_until'
    );
  return llm_private.price_entry(
    p_price ->> 'provider', p_price ->> 'model', p_price ->> 'key_source', p_price ->> 'service_tier',
    (p_price ->> 'valid_from')::timestamptz, (p_price ->> 'valid_until')::timestamptz, p_price -> 'rates'
  );
end
$$;

comment on function llm_private.checked_price is
'A price of a configuration as price_entry() writes it. Error invalid_configuration.';

-- The newest of overlapping prices applies, so all prices of a scope are set again unless they are the newest already.
create function llm_private.apply_prices(p_prices jsonb)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_scope constant text[] := '{rates,valid_from,valid_until}'::text[];
  v_entries constant jsonb[] := array(select e from jsonb_array_elements(p_prices) as e);
  v_wanted jsonb;
  v_price jsonb;
  v_known jsonb[];
begin
  for v_wanted in
    select jsonb_agg(e order by o)
    from unnest(v_entries) with ordinality as w (e, o)
    where coalesce((e ->> 'valid_until')::timestamptz, 'infinity') > now()
    group by e - v_scope
    order by min(o)
  loop
    v_known := array(
      select k.value from jsonb_array_elements(llm_private.configuration() -> 'prices') with ordinality as k
      where k.value - v_scope = (v_wanted -> 0) - v_scope
      order by k.ordinality
    );
    continue when to_jsonb(v_known[cardinality(v_known) - jsonb_array_length(v_wanted) + 1:]) = v_wanted;
    for v_price in select e from jsonb_array_elements(v_wanted) as e loop
      perform llm_private.save_price(
        v_price ->> 'provider', v_price ->> 'model', v_price -> 'rates',
        (v_price ->> 'valid_from')::timestamptz, (v_price ->> 'valid_until')::timestamptz,
        v_price ->> 'key_source', v_price ->> 'service_tier'
      );
    end loop;
  end loop;
end
$$;

comment on function llm_private.apply_prices is
'Set those of these prices, each as checked_price() returns it, that are not in force. Errors: see set_llm_price().';

create function llm_private.apply_quota(p_quota jsonb)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_old jsonb;
begin
  perform
    llm_private.check_quota(
      p_quota, '{limit,unit,period,key_source,provider,task,clock,enforced,unpriced,group,shared}'::text[]
    ),
    llm_private.check_quota_scope(p_quota);
  v_old := llm_private.operator_quota(p_quota);
  if v_old is null or v_old || p_quota <> v_old then
    perform llm_private.set_operator_quota(p_quota);
  end if;
end
$$;

comment on function llm_private.apply_quota is 'Set a quota of a configuration. Error invalid_quota.';

create function llm_private.apply_configuration(p_configuration jsonb)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_place text := 'settings';
  v_settings constant jsonb := coalesce(p_configuration -> 'settings', '{}');
  v_line record;
  v_prices jsonb := '[]'::jsonb;
  v_state text;
  v_message text;
  v_code text;
  v_hint text;
begin
  if llm_private.operator_settings_json() || v_settings <> llm_private.operator_settings_json() then
    perform llm_private.save_operator_settings(v_settings);
  end if;
  for v_line in select p.key, p.value from jsonb_each(p_configuration -> 'providers') as p loop
    v_place := 'providers.' || left(v_line.key, 32);
    perform llm_private.apply_provider(v_line.key, v_line.value);
  end loop;
  for v_line in select p.value, p.ordinality from jsonb_array_elements(p_configuration -> 'prices') with ordinality as p
  loop
    v_place := format('prices[%s]', v_line.ordinality - 1);
    v_prices := v_prices || jsonb_build_array(llm_private.checked_price(v_line.value));
    perform llm_private.check_provider(v_line.value ->> 'provider');
  end loop;
  v_place := 'prices';
  perform llm_private.apply_prices(v_prices);
  for v_line in select q.value, q.ordinality from jsonb_array_elements(p_configuration -> 'quotas') with ordinality as q
  loop
    v_place := format('quotas[%s]', v_line.ordinality - 1);
    perform llm_private.apply_quota(v_line.value);
  end loop;
exception when others then
  get stacked diagnostics
    v_state = returned_sqlstate, v_message = message_text, v_code = pg_exception_detail, v_hint = pg_exception_hint;
  -- PostgreSQL's own messages about a value quote it.
  if v_state ~ '^22' then
    v_state := 'PT400';
    v_message := 'A field has a value of an invalid type.';
    v_code := 'invalid_configuration';
    v_hint := 'Compare it with an export: supa-llm settings export';
  elsif v_state !~ '^PT' then
    raise;
  end if;
  raise exception using errcode = v_state, message = v_place || ': ' || v_message, detail = v_code, hint = v_hint;
end
$$;

comment on function llm_private.apply_configuration is
'Apply a checked configuration. An error says which part of the document it is about. Errors: invalid_configuration, and
those of the functions that set each part.';

create function llm_private.set_configuration(p_configuration jsonb, p_apply boolean)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_before llm_private.configuration_item[];
  v_changes jsonb;
begin
  perform llm_private.require_plain_call('set_llm_configuration');
  perform llm_private.check_configuration(p_configuration);
  v_before := array(select i from llm_private.configuration_items() as i);
  -- Applies the changes, and undoes them unless they are to stay, so that the preview is exactly what happens.
  begin
    perform llm_private.apply_configuration(p_configuration);
    select
      coalesce(
        jsonb_agg(
          jsonb_build_object('kind', n.kind, 'name', n.name, 'before', o.value, 'after', n.value)
          order by array_position('{setting,provider,price,quota}'::text[], n.kind), n.name
        ), '[]'
      )
    into v_changes
    from llm_private.configuration_items() as n
    left join unnest(v_before) as o on n.kind = o.kind and n.name = o.name
    where n.value is distinct from o.value;
    if not coalesce(p_apply, false) then
      raise exception using errcode = 'LLMUN';
    end if;
  exception when sqlstate 'LLMUN' then
    null;
  end;
  return v_changes;
end
$$;

comment on function llm_private.set_configuration is 'See set_llm_configuration().';

-- Public RPCs ---------------------------------------------------------------------------------------------------------

create function public.get_llm_configuration()
returns jsonb
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select llm_private.configuration()
$$;

comment on function public.get_llm_configuration is
'For administrators: the operator''s settings, providers that differ from the default ones, the operator''s prices and
the operator''s quotas for everyone and for groups, as set_llm_configuration() takes them. It contains no secret.';

create function public.set_llm_configuration(p_configuration jsonb, p_apply boolean default false)
returns jsonb
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select llm_private.set_configuration(p_configuration, p_apply)
$$;

comment on function public.set_llm_configuration is
'For administrators: add and change what a result of get_llm_configuration() names, all or nothing. Returns the changes,
each with kind (setting, provider, price or quota), name, before and after; without p_apply, nothing is changed. Errors:
invalid_configuration, configuration_too_new, invalid_argument, unknown_setting, invalid_setting, invalid_provider,
unknown_provider, invalid_price, invalid_quota.';
