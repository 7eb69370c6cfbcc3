-- Prices: what a model's tokens cost, from when, and for whom.
--
-- A price is a dated row that is never rewritten: a change adds a newer row, and an end sets a date. Its rates are
-- compiled when it is added, so that the cost of an attempt is one sum of products.

create table llm_private.price_units (
  unit text primary key,
  -- A unit comes after the units that it is part of.
  position smallint not null unique,
  dimensions jsonb not null unique
);

comment on table llm_private.price_units is
'What a rate can price. A unit is part of each unit whose dimensions its own contain: cached_input_audio is part of
cached_input, input_audio and input. A token costs the rate of the most specific unit that has one.';

create table public.llm_prices (
  id bigint generated always as identity primary key,
  source text not null,
  user_id uuid references auth.users (id) on delete cascade,
  provider text not null references public.llm_providers (id),
  model text not null,
  key_source text,
  service_tier text,
  valid_from timestamptz not null default now(),
  valid_until timestamptz not null default 'infinity',
  daily_from time,
  daily_until time,
  rates jsonb not null,
  created_at timestamptz not null default now(),
  constraint source_is_known check (source in ('catalog', 'operator', 'user')),
  constraint user_prices_have_a_user check ((source = 'user') = (user_id is not null)),
  constraint model_is_a_name check (model ~ '^[!-~]{1,200}$'),
  constraint key_source_is_known check (key_source in ('user', 'team', 'operator')),
  constraint service_tier_is_a_name check (service_tier ~ '^[a-z0-9_-]{1,32}$'),
  constraint ends_after_it_begins check (valid_until >= valid_from),
  constraint daily_window_is_whole check ((daily_from is null) = (daily_until is null)),
  constraint daily_window_is_not_empty check (daily_from <> daily_until)
);

-- Led by the user, so that nobody reads the prices of others; null is the operator's and the catalog's.
create index llm_prices_model on public.llm_prices (user_id, provider, model);
create index llm_prices_provider on public.llm_prices (provider);
create index llm_prices_pattern on public.llm_prices (user_id, provider) where right(model, 1) = '*';

comment on table public.llm_prices is
'What models cost. Of the prices valid at a time, a user''s own applies before the operator''s and the catalog''s, then
the most specific, then the newest. Users read the catalog''s and the operator''s prices, and their own.';
comment on column public.llm_prices.source is
'catalog: from the synced price list; operator: set by an administrator; user: set by a user for themselves.';
comment on column public.llm_prices.model is
'For the catalog, the name of the price list''s entry; else a model name in lower case, where a trailing * matches any
ending.';
comment on column public.llm_prices.key_source is 'Applies only to attempts paid by such a key; null: any key.';
comment on column public.llm_prices.service_tier is
'Applies only to attempts in this service tier (flex, priority, …); null: any tier without a price of its own.';
comment on column public.llm_prices.valid_from is 'Start of validity; may be -infinity.';
comment on column public.llm_prices.valid_until is 'End of validity, exclusive; may be infinity.';
comment on column public.llm_prices.daily_from is
'Applies only from this time of day (UTC) until daily_until, across midnight if that is earlier; null: all day.';
comment on column public.llm_prices.rates is
'Unit → US dollars per million tokens; request → US dollars per request. A rate is a number or depends on the size of
the input: with {"base": 1.25, "above": {"200000": 2.5}}, all tokens cost 2.5 beyond 200000 input tokens.';

create table llm_private.price_tiers (
  price_id bigint not null references public.llm_prices (id) on delete cascade,
  above integer not null,
  per_request numeric not null,
  per_input numeric not null,
  per_cached_input numeric not null,
  per_cache_write numeric not null,
  per_output numeric not null,
  per_reasoning numeric not null,
  per_other jsonb,
  primary key (price_id, above)
);

comment on table llm_private.price_tiers is
'Compiled rates. For an attempt with more than `above` input tokens: US dollars that one token of each kind adds to
what the kinds that contain it already charge, so that the cost is one sum over the counts of an event.';

create table llm_private.price_list (
  provider text not null references public.llm_providers (id),
  name text not null,
  pattern text not null,
  position integer not null,
  prices jsonb not null,
  context_tokens integer,
  primary key (provider, name)
);

create index price_list_order on llm_private.price_list (provider, position);

comment on table llm_private.price_list is
'The price list as last synced: which model names belong to which entry. The first matching entry applies.';
comment on column llm_private.price_list.pattern is 'Regular expression for model names in lower case.';
comment on column llm_private.price_list.prices is 'As last synced, to find changes; [] once the entry is gone.';
comment on column llm_private.price_list.context_tokens is
'The context window of its models: the most tokens of input and output; null if unknown.';

create table llm_private.price_names (
  provider text not null,
  model text not null,
  name text,
  context_tokens integer,
  primary key (provider, model)
);

comment on table llm_private.price_names is
'A cache of which entry of the price list a model name belongs to, null for none, and of its context window, because
matching hundreds of patterns takes milliseconds. Emptied when the list changes, and when a provider has 5000 names,
because anybody can invent some.';

alter table llm_private.price_units enable row level security;
alter table public.llm_prices enable row level security;
alter table llm_private.price_tiers enable row level security;
alter table llm_private.price_list enable row level security;
alter table llm_private.price_names enable row level security;

create policy "users read the catalog's, the operator's and their own prices" on public.llm_prices
for select to authenticated using (
  llm_private.is_not_estimate() and (user_id is null or user_id = (select llm_private.user_id()))
);

-- Adding a price ------------------------------------------------------------------------------------------------------

create function llm_private.is_amount(p_value jsonb)
returns boolean
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return jsonb_typeof(p_value) = 'number' and length(p_value #>> '{}') <= 40
    and (p_value #>> '{}')::numeric between 0 and 1000000 and scale(trim_scale((p_value #>> '{}')::numeric)) <= 12;
end
$$;

comment on function llm_private.is_amount is 'Whether this is a number from 0 to 1000000 with up to 12 decimal places.';

create function llm_private.is_rate(p_rate jsonb)
returns boolean
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  if jsonb_typeof(p_rate) is distinct from 'object' then
    return llm_private.is_amount(p_rate) is true;
  end if;
  return p_rate - '{base,above}'::text[] = '{}'
    and llm_private.is_amount(p_rate -> 'base') is true
    and jsonb_typeof(p_rate -> 'above') is not distinct from 'object'
    and (
      select count(*) between 1 and 16
        and bool_and(key ~ '^(0|[1-9][0-9]{0,8})$' and llm_private.is_amount(value))
      from jsonb_each(p_rate -> 'above')
    );
end
$$;

comment on function llm_private.is_rate is 'Whether this is an amount, or amounts by the size of the input.';

create function llm_private.check_rates(p_rates jsonb)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_unit text;
  v_other text;
  v_join text;
begin
  if jsonb_typeof(p_rates) is distinct from 'object' or p_rates = '{}' then
    perform llm_private.fail(
      400, 'invalid_price', 'The rates must be a JSON object with at least one rate.',
      'For example {"input": 2.5, "output": 10}, in US dollars per million tokens; for a free model '
      '{"input": 0, "output": 0}.'
    );
  end if;
  select k into v_unit from jsonb_object_keys(p_rates) as k
  where k not in (select u.unit from llm_private.price_units as u) limit 1;
  if found then
    perform llm_private.fail(
      400, 'invalid_price', format('%s is not a unit of prices.', left(v_unit, 60)),
      'Allowed: ' || (select string_agg(u.unit, ', ' order by u.position) from llm_private.price_units as u) || '.'
    );
  end if;
  select key into v_unit from jsonb_each(p_rates) where not llm_private.is_rate(value) limit 1;
  if found then
    perform llm_private.fail(
      400, 'invalid_price', format('The rate of %s has an invalid value.', v_unit),
      'Allowed: a number from 0 to 1000000 with at most 12 decimal places or, by the size of the input, '
      '{"base": 1.25, "above": {"200000": 2.5}}.'
    );
  end if;
  select u.unit, a.unit into v_unit, v_other
  from llm_private.price_units as u
  inner join llm_private.price_units as a on u.dimensions @> a.dimensions
  where p_rates ? u.unit and not p_rates ? a.unit
  order by u.position, a.position limit 1;
  if found then
    perform llm_private.fail(
      400, 'invalid_price', format('%s has a rate, but %s has none.', v_unit, v_other),
      format('Give both a rate, because %s is part of %s.', v_unit, v_other)
    );
  end if;
  -- Tokens that belong to two units would be charged twice, unless both units together have a rate.
  select a.unit, b.unit, j.unit into v_unit, v_other, v_join
  from llm_private.price_units as a
  inner join llm_private.price_units as b
    on a.position < b.position and a.dimensions || b.dimensions = b.dimensions || a.dimensions
  left join llm_private.price_units as j on j.dimensions = a.dimensions || b.dimensions
  where p_rates ? a.unit and p_rates ? b.unit and (p_rates ? j.unit) is not true
    -- Tokens are not part of a request.
    and a.dimensions ->> 'of' = b.dimensions ->> 'of'
  order by a.position, b.position limit 1;
  if found then
    perform llm_private.fail(
      400, 'invalid_price',
      format('%s and %s have a rate, but tokens that are both have none.', v_unit, v_other),
      case
        when v_join is null then 'Remove one of them: tokens that are both are not counted.'
        else format('Give %s a rate.', v_join)
      end
    );
  end if;
end
$$;

comment on function llm_private.check_rates is
'Error invalid_price, with the allowed values, unless the rates are valid.';

create function llm_private.rate_above(p_rate jsonb, p_above integer)
returns numeric
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  if jsonb_typeof(p_rate) = 'number' then
    return p_rate::numeric;
  end if;
  return coalesce(
    (
      select value::numeric from jsonb_each_text(p_rate -> 'above')
      where key::integer <= p_above
      order by key::integer desc limit 1
    ),
    (p_rate ->> 'base')::numeric
  );
end
$$;

comment on function llm_private.rate_above is 'The amount of a rate above this step of input tokens.';

create function llm_private.compile_price(p_price bigint, p_rates jsonb)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_above integer;
  v_unit llm_private.price_units;
  v_on_top jsonb;
begin
  for v_above in
    select -1
    union
    select step::integer from jsonb_each(p_rates) as r, jsonb_object_keys(r.value -> 'above') as step
    where jsonb_typeof(r.value) = 'object'
  loop
    v_on_top := '{}';
    for v_unit in select * from llm_private.price_units where p_rates ? unit order by position loop
      v_on_top := v_on_top || jsonb_build_object(
        v_unit.unit,
        llm_private.rate_above(p_rates -> v_unit.unit, v_above)
        * case when v_unit.unit = 'request' then 1 else 0.000001 end
        - coalesce(
          (
            select sum((v_on_top ->> a.unit)::numeric) from llm_private.price_units as a
            where v_on_top ? a.unit and v_unit.dimensions @> a.dimensions
          ), 0
        )
      );
    end loop;
    insert into llm_private.price_tiers (
      price_id, above, per_request, per_input, per_cached_input, per_cache_write, per_output, per_reasoning, per_other
    )
    values (
      p_price, v_above,
      coalesce((v_on_top ->> 'request')::numeric, 0), coalesce((v_on_top ->> 'input')::numeric, 0),
      coalesce((v_on_top ->> 'cached_input')::numeric, 0), coalesce((v_on_top ->> 'cache_write')::numeric, 0),
      coalesce((v_on_top ->> 'output')::numeric, 0), coalesce((v_on_top ->> 'reasoning')::numeric, 0),
      nullif(v_on_top - '{request,input,cached_input,cache_write,output,reasoning}'::text[], '{}')
    );
  end loop;
end
$$;

comment on function llm_private.compile_price is 'Insert the tiers of a new price.';

create function llm_private.add_price(p_price public.llm_prices)
returns public.llm_prices
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_price public.llm_prices;
begin
  perform llm_private.check_rates(p_price.rates);
  insert into public.llm_prices (
    source, user_id, provider, model, key_source, service_tier, valid_from, valid_until, daily_from, daily_until, rates
  )
  values (
    p_price.source, p_price.user_id, p_price.provider, p_price.model, p_price.key_source, p_price.service_tier,
    coalesce(p_price.valid_from, now()), coalesce(p_price.valid_until, 'infinity'),
    p_price.daily_from, p_price.daily_until, p_price.rates
  )
  returning * into v_price;
  perform llm_private.compile_price(v_price.id, v_price.rates);
  return v_price;
end
$$;

comment on function llm_private.add_price is
'Add a price and compile it. Without dates it is valid from now on. Error invalid_price.';

-- Finding a price -----------------------------------------------------------------------------------------------------
-- On the hot path, so plpgsql: see uuid_v7_time().

create type llm_private.list_entry as (model text, name text, context_tokens integer);

comment on type llm_private.list_entry is
'A model name in lower case, and the entry of the price list that it belongs to.';

create function llm_private.list_entries(p_provider text, p_models text[])
returns setof llm_private.list_entry
language plpgsql
stable
rows 10
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  with spellings as (
    select m.model, m.model as spelling, 1 as place from unnest(p_models) as m (model)
    union
    -- Some providers write the date in a model name without dashes: gpt-5-20250807.
    select
      m.model,
      regexp_replace(m.model, '-(20[0-9]{2})(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])(?=-|:|$)', '-\1-\2-\3', 'g'), 2
    from unnest(p_models) as m (model)
  )

  select distinct on (s.model) s.model, l.name, l.context_tokens
  from llm_private.price_list as l
  -- offset 0 makes the planner match all names with one pattern after the other, so that each is compiled once.
  cross join lateral (select * from spellings as n where n.spelling ~ l.pattern offset 0) as s
  where l.provider = p_provider
  order by s.model, s.place, l.position;
end
$$;

comment on function llm_private.list_entries is
'The price list''s entries for these model names in lower case; no row if none matches.';

create function llm_private.price_name(p_provider text, p_model text)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_name text;
begin
  select n.name into v_name from llm_private.price_names as n where n.provider = p_provider and n.model = p_model;
  if not found then
    select e.name into v_name from llm_private.list_entries(p_provider, array[p_model]) as e;
  end if;
  return v_name;
end
$$;

comment on function llm_private.price_name is
'The price list''s entry for a model name in lower case; null if no entry matches. From the cache, if it is there.';

create function llm_private.remember_price_names(p_provider text, p_models text[])
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  if not exists (
    select from unnest(p_models) as m (model)
    where not exists (
      select from llm_private.price_names as n where n.provider = p_provider and n.model = m.model
    )
  ) then
    return;
  end if;
  -- Excludes a sync meanwhile, so that no name of the old list is cached for the new one.
  perform pg_advisory_xact_lock_shared(hashtext('llm_private.price_list'), hashtext(p_provider));
  if (select count(*) from llm_private.price_names as n where n.provider = p_provider) >= 5000 then
    delete from llm_private.price_names
    where provider = p_provider and model in (
      select n.model from llm_private.price_names as n where n.provider = p_provider for update skip locked
    );
  end if;
  insert into llm_private.price_names (provider, model, name, context_tokens)
  select p_provider, m.model, e.name, e.context_tokens
  from (select distinct u from unnest(p_models) as u) as m (model)
  left join llm_private.list_entries(p_provider, p_models) as e on m.model = e.model
  where exists (select from llm_private.price_list as l where l.provider = p_provider)
  on conflict do nothing;
end
$$;

comment on function llm_private.remember_price_names is
'Cache price_name() of these model names in lower case. Only for functions that record or change prices: the lock delays
changes of prices.';

create function llm_private.price_patterns(p_model text)
returns text[]
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return array(select left(p_model, n) || '*' from generate_series(0, length(p_model)) as n);
end
$$;

comment on function llm_private.price_patterns is 'The patterns of prices that match a model name in lower case.';

create function llm_private.has_price_patterns(p_user uuid, p_provider text)
returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  -- Two queries, because the planner would read the patterns of all users for one with "or".
  return exists (
    select from public.llm_prices as p
    where p.user_id is null and p.provider = p_provider and right(p.model, 1) = '*'
  )
  or exists (
    select from public.llm_prices as p
    where p.user_id = p_user and p.provider = p_provider and right(p.model, 1) = '*'
  );
end
$$;

comment on function llm_private.has_price_patterns is
'Whether the operator or this user has prices of a provider that end with *, so that others save the patterns.';

-- find_prices() has the same query for many models. This one is faster for one.
create function llm_private.find_price(
  p_user uuid, p_provider text, p_model text, p_key_source text, p_service_tier text, p_at timestamptz
)
returns bigint
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_model constant text := lower(p_model);
  v_name constant text := llm_private.price_name(p_provider, v_model);
  v_models text[] := array[v_model];
  v_time constant time := (p_at at time zone 'UTC')::time;
  v_id bigint;
begin
  if llm_private.has_price_patterns(p_user, p_provider) then
    v_models := v_models || llm_private.price_patterns(v_model);
  end if;
  select p.id into v_id
  from (
    -- A user's price applies to their own keys only, so that they cannot make the operator's keys free.
    select o.id, o.source, o.model, o.service_tier, o.daily_from, o.daily_until, o.valid_from, o.valid_until
    from public.llm_prices as o
    where o.user_id = p_user and o.provider = p_provider and o.model = any(v_models) and p_key_source = 'user'
    union all
    select o.id, o.source, o.model, o.service_tier, o.daily_from, o.daily_until, o.valid_from, o.valid_until
    from public.llm_prices as o
    where
      o.user_id is null and o.provider = p_provider and o.model = any(v_models || v_name)
      and case o.source
        when 'operator' then o.model = any(v_models) and (o.key_source is null or o.key_source = p_key_source)
        else o.model = v_name
      end
  ) as p
  where
    p.valid_from <= p_at and p_at < p.valid_until
    and (p.service_tier is null or p.service_tier = p_service_tier)
    and (
      p.daily_from is null
      or case
        when p.daily_from < p.daily_until then v_time >= p.daily_from and v_time < p.daily_until
        else v_time >= p.daily_from or v_time < p.daily_until
      end
    )
  -- user, operator, catalog is also the reverse order of the alphabet.
  order by
    p.source desc, right(p.model, 1) = '*', length(p.model) desc,
    p.service_tier is null, p.daily_from is null, p.id desc
  limit 1;
  return v_id;
end
$$;

comment on function llm_private.find_price is
'The price of an attempt at a time; null if none is known. In this order: the user''s own (if their key pays), the
operator''s, the catalog''s; an exact name, the longest name with a trailing *; this service tier, any tier; this time of
day, all day; the newest.';

create type llm_private.model_price as (model text, price_id bigint, context_tokens integer);

comment on type llm_private.model_price is 'A model, its price and its context window; null if unknown.';

create function llm_private.find_prices(
  p_user uuid, p_provider text, p_models text[], p_key_source text, p_service_tier text, p_at timestamptz
)
returns setof llm_private.model_price
language plpgsql
stable
rows 100
set search_path = pg_catalog, pg_temp
as $$
declare
  v_patterns constant boolean := llm_private.has_price_patterns(p_user, p_provider);
  v_unnamed constant text[] := array(
    select distinct lower(m.model) from unnest(p_models) as m (model)
    where not exists (
      select from llm_private.price_names as n where n.provider = p_provider and n.model = lower(m.model)
    )
  );
  v_time constant time := (p_at at time zone 'UTC')::time;
begin
  return query
  with known as materialized (
    select
      m.model, n.name, n.context_tokens,
      array[lower(m.model)] || case when v_patterns then llm_private.price_patterns(lower(m.model)) end as models
    from unnest(p_models) as m (model)
    left join (
      select o.model, o.name, o.context_tokens from llm_private.price_names as o where o.provider = p_provider
      union all
      select e.model, e.name, e.context_tokens from llm_private.list_entries(p_provider, v_unnamed) as e
    ) as n on lower(m.model) = n.model
  )

  select k.model, f.id, k.context_tokens
  from known as k
  left join lateral (
    select p.id
    from (
      select o.id, o.source, o.model, o.service_tier, o.daily_from, o.daily_until, o.valid_from, o.valid_until
      from public.llm_prices as o
      where o.user_id = p_user and o.provider = p_provider and o.model = any(k.models) and p_key_source = 'user'
      union all
      select o.id, o.source, o.model, o.service_tier, o.daily_from, o.daily_until, o.valid_from, o.valid_until
      from public.llm_prices as o
      where
        o.user_id is null and o.provider = p_provider and o.model = any(k.models || k.name)
        and case o.source
          when 'operator' then o.model = any(k.models) and (o.key_source is null or o.key_source = p_key_source)
          else o.model = k.name
        end
    ) as p
    where
      p.valid_from <= p_at and p_at < p.valid_until
      and (p.service_tier is null or p.service_tier = p_service_tier)
      and (
        p.daily_from is null
        or case
          when p.daily_from < p.daily_until then v_time >= p.daily_from and v_time < p.daily_until
          else v_time >= p.daily_from or v_time < p.daily_until
        end
      )
    order by
      p.source desc, right(p.model, 1) = '*', length(p.model) desc,
      p.service_tier is null, p.daily_from is null, p.id desc
    limit 1
  ) as f on true;
end
$$;

comment on function llm_private.find_prices is
'What find_price() returns for each of these models of a provider, and its context window.';

-- Listing and changing prices -----------------------------------------------------------------------------------------

create function llm_private.check_provider(p_provider text)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  perform llm_private.check_length('p_provider', p_provider, 32);
  if not exists (select from public.llm_providers where id = p_provider) then
    perform llm_private.fail(
      404, 'unknown_provider', 'Provider not found.',
      'Known providers: ' || (select string_agg(id, ', ' order by position, id) from public.llm_providers) || '.'
    );
  end if;
end
$$;

comment on function llm_private.check_provider is 'Error unknown_provider unless the provider exists.';

create function llm_private.catalog_models(p_provider text)
returns setof text
language plpgsql
stable
rows 10
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  select p.default_model from public.llm_providers as p where p.id = p_provider
  union
  select m.value from public.llm_providers as p cross join lateral jsonb_each_text(p.task_models) as m
  where p.id = p_provider;
end
$$;

comment on function llm_private.catalog_models is 'The models that a provider''s catalog row names.';

create function llm_private.price_json(p_price public.llm_prices, p_in_force boolean default null)
returns jsonb
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select to_jsonb(p_price) - 'user_id' || jsonb_build_object('in_force', p_in_force)
$$;

comment on function llm_private.price_json is 'A price as JSON.';

create function llm_private.list_prices(p_provider text, p_model text)
returns jsonb
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  -- Null for an administrator.
  v_user constant uuid := nullif(llm_private.acting_owner(), llm_private.operator_id());
  v_model text;
  v_name text;
  v_in_force bigint;
begin
  perform
    llm_private.check_length('p_provider', p_provider, 32),
    llm_private.check_length('p_model', p_model, 200);
  v_model := llm_private.canonical_model(p_provider, lower(p_model));
  if p_model is not null and p_provider is null then
    perform llm_private.fail(400, 'invalid_argument', 'p_model is given without p_provider.', 'Add p_provider.');
  end if;
  if p_model is not null then
    v_name := llm_private.price_name(p_provider, v_model);
    v_in_force := llm_private.find_price(
      v_user, p_provider, v_model, case when v_user is null then 'operator' else 'user' end, null, now()
    );
  end if;
  return coalesce(
    (
      select jsonb_agg(
        llm_private.price_json(p, case when p_model is not null then p.id is not distinct from v_in_force end)
        order by
          p.id is not distinct from v_in_force desc, p.provider, p.model, p.source desc,
          p.service_tier nulls first, p.daily_from nulls first, p.valid_from, p.id desc
      )
      from public.llm_prices as p
      where
        (p.user_id is null or p.user_id = v_user)
        and p.valid_until > greatest(now(), p.valid_from)
        and (p_provider is null or p.provider = p_provider)
        and (
          p_model is null
          or case
            when p.source = 'catalog' then p.model = v_name
            else p.model = v_model or (right(p.model, 1) = '*' and starts_with(v_model, left(p.model, -1)))
          end
        )
    ), '[]'
  );
end
$$;

comment on function llm_private.list_prices is 'See list_llm_prices().';

create function llm_private.operator_rates(p_price public.llm_prices)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select o.rates from public.llm_prices as o
    where
      o.source = 'operator' and o.provider = p_price.provider and o.model = p_price.model
      and o.key_source is not distinct from p_price.key_source
      and o.service_tier is not distinct from p_price.service_tier
      and o.valid_from <= now() and now() < o.valid_until
    order by o.id desc limit 1
  );
end
$$;

comment on function llm_private.operator_rates is
'The rates of the operator''s current price with the same scope; null without one.';

create function llm_private.audit_own_price(p_price public.llm_prices)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_most constant integer := (select o.own_prices_per_user from llm_private.operator_settings as o);
begin
  perform
    llm_private.audit_change(
      p_price.user_id, 'price_set', p_price.provider, p_runtime => llm_private.current_runtime(),
      p_detail => jsonb_build_object('price_id', p_price.id, 'model', p_price.model, 'rates', p_price.rates)
    ),
    llm_private.check_value(
      'invalid_price',
      (
        select count(*) <= v_most from public.llm_prices as o
        where o.source = 'user' and o.user_id = p_price.user_id and o.valid_until > greatest(now(), o.valid_from)
      ),
      'The number of prices', format('at most %s of your own; end_llm_price() ends one', v_most)
    );
end
$$;

comment on function llm_private.audit_own_price is
'Append a price that a user set to their audit log. Errors: too_many_changes, and invalid_price if they have too many
prices.';

create function llm_private.save_price(
  p_provider text,
  p_model text,
  p_rates jsonb,
  p_valid_from timestamptz,
  p_valid_until timestamptz,
  p_key_source text,
  p_service_tier text
)
returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  -- Null for an administrator.
  v_user constant uuid := nullif(llm_private.acting_owner(), llm_private.operator_id());
  v_before jsonb;
  v_price public.llm_prices;
begin
  perform
    llm_private.check_provider(p_provider),
    llm_private.check_length('p_model', p_model, 200, 'invalid_price'),
    llm_private.check_size('p_rates', p_rates, 16, 'invalid_price'),
    llm_private.check_length('p_service_tier', p_service_tier, 32, 'invalid_price');
  if (p_model ~ '^[!-~]{1,200}$' and strpos(p_model, '*') in (0, length(p_model))) is not true then
    perform llm_private.fail(
      400, 'invalid_price', 'p_model has an invalid value.',
      'Allowed: 1 to 200 characters without spaces, and * only at the end, where it matches any ending.'
    );
  end if;
  if p_valid_until <= coalesce(p_valid_from, now()) then
    perform llm_private.fail(
      400, 'invalid_price', 'The price would end before it begins.', 'Set p_valid_until to a time after p_valid_from.'
    );
  end if;
  if p_key_source not in ('user', 'team', 'operator') or (v_user is not null and p_key_source <> 'user') then
    perform llm_private.fail(
      400, 'invalid_price', 'p_key_source has an invalid value.',
      case
        when v_user is null then 'Allowed: user, team, operator, or null for any.'
        else 'Omit it: your own prices apply to your own keys only.'
      end
    );
  end if;
  if p_service_tier !~ '^[a-z0-9_-]{1,32}$' then
    perform llm_private.fail(
      400, 'invalid_price', 'p_service_tier has an invalid value.',
      'Allowed: the provider''s name of a tier, such as flex or priority, or null for any.'
    );
  end if;
  v_price.source := case when v_user is null then 'operator' else 'user' end;
  v_price.user_id := v_user;
  v_price.provider := p_provider;
  v_price.model := llm_private.canonical_model(p_provider, lower(p_model));
  v_price.rates := p_rates;
  v_price.valid_from := p_valid_from;
  v_price.valid_until := p_valid_until;
  v_price.key_source := case when v_user is null then p_key_source else 'user' end;
  v_price.service_tier := p_service_tier;
  if v_user is null then
    v_before := llm_private.operator_rates(v_price);
    v_price := llm_private.add_price(v_price);
    perform llm_private.audit_operator(
      'price_set', null, llm_private.price_json(v_price) - 'in_force', p_provider,
      p_detail => jsonb_build_object('rates_before', v_before)
    );
  else
    v_price := llm_private.add_price(v_price);
    perform llm_private.audit_own_price(v_price);
  end if;
  return llm_private.price_json(v_price);
end
$$;

comment on function llm_private.save_price is 'Set a price of the caller''s. Errors: see set_llm_price().';

create function llm_private.set_price(
  p_provider text,
  p_model text,
  p_rates jsonb,
  p_valid_from timestamptz,
  p_valid_until timestamptz,
  p_key_source text,
  p_service_tier text
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform llm_private.require_plain_call('set_llm_price');
  return llm_private.save_price(
    p_provider, p_model, p_rates, p_valid_from, p_valid_until, p_key_source, p_service_tier
  );
end
$$;

comment on function llm_private.set_price is 'See set_llm_price().';

create function llm_private.end_price(p_id bigint)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  -- Null for an administrator.
  v_user constant uuid := nullif(llm_private.acting_owner(), llm_private.operator_id());
  v_before public.llm_prices;
  v_price public.llm_prices;
begin
  perform llm_private.require_plain_call('end_llm_price');
  select * into v_price from public.llm_prices
  where
    id = p_id
    and case when v_user is null then source = 'operator' else user_id = v_user end
  for update;
  if not found then
    perform llm_private.fail(
      404, 'price_not_found', 'Price not found among your prices.',
      'list_llm_prices() returns prices with their source. To replace a price of the catalog, set your own.'
    );
  end if;
  v_before := v_price;
  if v_price.valid_until > greatest(now(), v_price.valid_from) then
    update public.llm_prices set valid_until = greatest(now(), valid_from) where id = p_id returning * into v_price;
    if v_user is null then
      perform llm_private.audit_operator(
        'price_ended', llm_private.price_json(v_before) - 'in_force', llm_private.price_json(v_price) - 'in_force',
        v_price.provider, p_detail => jsonb_build_object('price_id', p_id, 'model', v_price.model)
      );
    else
      perform llm_private.audit(
        v_user, 'price_ended', v_price.provider, p_runtime => llm_private.current_runtime(),
        p_detail => jsonb_build_object('price_id', v_price.id, 'model', v_price.model)
      );
    end if;
  end if;
  return llm_private.price_json(v_price);
end
$$;

comment on function llm_private.end_price is 'See end_llm_price().';

-- Public RPCs ---------------------------------------------------------------------------------------------------------

-- Returns an array, because PostgREST cuts a set of rows off at its limit and a catalog is longer.
create function public.list_llm_prices(p_provider text default null, p_model text default null)
returns jsonb
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select llm_private.list_prices(p_provider, p_model)
$$;

comment on function public.list_llm_prices is
'Current and future prices: the catalog''s, the operator''s and, for users, their own. With p_model, only the prices of
that model, where in_force marks the price that a request with the user''s own key (for administrators: the operator''s
key) pays now; it comes first. Errors: not_signed_in, invalid_argument.';

create function public.set_llm_price(
  p_provider text,
  p_model text,
  p_rates jsonb,
  p_valid_from timestamptz default null,
  p_valid_until timestamptz default null,
  p_key_source text default null,
  p_service_tier text default null
)
returns jsonb
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select llm_private.set_price(
    p_provider, p_model, p_rates, p_valid_from, p_valid_until, p_key_source, p_service_tier
  )
$$;

comment on function public.set_llm_price is
'Set the price of a model: a user for their own keys, an administrator for all users or for keys of one source. p_model
may end with *, which matches any ending. p_rates: {"input": 2.5, "output": 10} in US dollars per million tokens; see
the table llm_prices. Valid from now on unless dates are given, and applies before older prices with the same scope.
Errors: not_signed_in, unknown_provider, invalid_argument, invalid_price, too_many_changes.';

create function public.end_llm_price(p_id bigint)
returns jsonb
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select llm_private.end_price(p_id)
$$;

comment on function public.end_llm_price is
'End a price now: users their own, administrators the operator''s. Recorded costs do not change.
Errors: not_signed_in, price_not_found.';
