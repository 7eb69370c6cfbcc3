-- Costs: what an attempt costs at its price.
-- On the hot path, so plpgsql: see uuid_v7_time().

create table llm_private.charges (
  provider text not null,
  model text not null,
  key_source text not null,
  price_id bigint references public.llm_prices (id) on delete cascade,
  holds_from timestamptz not null,
  holds_until timestamptz not null,
  input_above integer not null,
  input_up_to integer not null,
  per_request numeric,
  per_input numeric,
  per_cached_input numeric,
  per_cache_write numeric,
  per_output numeric,
  per_reasoning numeric,
  primary key (provider, model, key_source)
);

create index charges_price on llm_private.charges (price_id);

comment on table llm_private.charges is
'A cache of what attempts of a model cost, within a time span and for inputs of some size, because finding the price
and its tier takes as long as the rest of recording. Emptied when a price or the price list changes, and when a provider
has 5000 rows, because users can invent names.';
comment on column llm_private.charges.price_id is 'Null if the model is unpriced.';

alter table llm_private.charges enable row level security;

create type llm_private.attempt_cost as (price_id bigint, cost numeric, cache_savings numeric, list_cost numeric);

comment on type llm_private.attempt_cost is
'What an attempt costs, and what caching saved of it, in US dollars; null if the model is unpriced. list_cost is the
cost at the price of the operator or the catalog, which the operator''s quotas count.';

-- Private helpers -----------------------------------------------------------------------------------------------------

create function llm_private.cost_of(
  p_price bigint,
  p_input integer,
  p_cached_input integer,
  p_cache_write integer,
  p_output integer,
  p_reasoning integer,
  p_other_tokens jsonb
)
returns llm_private.attempt_cost
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_tier llm_private.price_tiers;
  v_other numeric := 0;
  v_other_cached numeric := 0;
  v_cost llm_private.attempt_cost;
begin
  select * into v_tier from llm_private.price_tiers
  where price_id = p_price and above < coalesce(p_input, 0)
  order by above desc limit 1;
  if not found then
    return v_cost;
  end if;
  v_cost.price_id := p_price;
  if v_tier.per_other is not null and p_other_tokens is not null then
    select
      coalesce(sum(value::numeric * (p_other_tokens ->> key)::numeric), 0),
      coalesce(sum(value::numeric * (p_other_tokens ->> key)::numeric) filter (where starts_with(key, 'cache')), 0)
    into v_other, v_other_cached
    from jsonb_each_text(v_tier.per_other);
  end if;
  v_cost.cache_savings := trim_scale(-(
    coalesce(p_cached_input, 0) * v_tier.per_cached_input + coalesce(p_cache_write, 0) * v_tier.per_cache_write
    + v_other_cached
  ));
  -- Inconsistent counts could make the cost negative, which would offset other usage.
  v_cost.cost := trim_scale(greatest(
    v_tier.per_request + coalesce(p_input, 0) * v_tier.per_input + coalesce(p_output, 0) * v_tier.per_output
    + coalesce(p_reasoning, 0) * v_tier.per_reasoning + v_other
    + coalesce(p_cached_input, 0) * v_tier.per_cached_input + coalesce(p_cache_write, 0) * v_tier.per_cache_write, 0
  ));
  return v_cost;
end
$$;

comment on function llm_private.cost_of is
'What an attempt costs at a price, in US dollars, and what the provider''s cache saved: the savings of reading minus the
cost of writing, which may be negative. A null count is 0. All fields are null without a price; list_cost always is.';

create function llm_private.list_price(
  p_price bigint, p_provider text, p_model text, p_key_source text, p_service_tier text, p_at timestamptz
)
returns bigint
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_key_source = 'user' and exists (
    select from public.llm_prices as p where p.id = p_price and p.source = 'user'
  ) then
    return llm_private.find_price(null, p_provider, p_model, p_key_source, p_service_tier, p_at);
  end if;
  return p_price;
end
$$;

comment on function llm_private.list_price is
'The price that an attempt has without the user''s own prices. p_price is what find_price() found with them.';

create function llm_private.forget_charges()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_price public.llm_prices := coalesce(new, old);
begin
  -- charge() holds this lock shared, so it either sees the change or finishes before the cache is emptied.
  if v_price.source <> 'user' then
    perform pg_advisory_xact_lock(hashtext('llm_private.price_list'), hashtext(v_price.provider));
    delete from llm_private.charges where provider = v_price.provider;
  end if;
  return v_price;
end
$$;

comment on function llm_private.forget_charges is
'Empty the cache of a provider''s charges before one of its prices changes.';

create trigger forget_charges before insert or update or delete on public.llm_prices
for each row execute function llm_private.forget_charges();

create function llm_private.remember_charge(
  p_provider text, p_model text, p_key_source text, p_at timestamptz, p_input integer, p_price bigint
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_name constant text := llm_private.price_name(p_provider, p_model);
  v_models constant text[] := llm_private.price_patterns(p_model) || p_model;
  v_tier llm_private.price_tiers;
  v_bounds record;
begin
  -- Prices do not begin or end between two of these times.
  select
    coalesce(max(b.at) filter (where b.at <= p_at), '-infinity') as holds_from,
    coalesce(min(b.at) filter (where b.at > p_at), 'infinity') as holds_until,
    bool_or(p.daily_from is not null) as daily
  into v_bounds
  from public.llm_prices as p
  cross join lateral (values (p.valid_from), (p.valid_until)) as b (at)
  where
    p.user_id is null and p.provider = p_provider and p.model = any(v_models || v_name)
    and (p.source = 'operator' or p.model = v_name);
  select t.* into v_tier from llm_private.price_tiers as t
  where t.price_id = p_price and t.above < p_input
  order by t.above desc limit 1;
  if v_bounds.daily then
    return;
  end if;
  -- Replaces only expired rows: inputs of different sizes would replace, and wait for, each other's rows.
  delete from llm_private.charges as c
  where
    c.provider = p_provider and c.model = p_model and c.key_source = p_key_source
    and c.holds_until <= v_bounds.holds_from;
  if (select count(*) from llm_private.charges as c where c.provider = p_provider) >= 5000 then
    delete from llm_private.charges
    where (provider, model, key_source) in (
      select c.provider, c.model, c.key_source from llm_private.charges as c
      where c.provider = p_provider
      for update skip locked
    );
  end if;
  insert into llm_private.charges (
    provider, model, key_source, price_id, holds_from, holds_until, input_above, input_up_to,
    per_request, per_input, per_cached_input, per_cache_write, per_output, per_reasoning
  )
  values (
    p_provider, p_model, p_key_source, p_price, v_bounds.holds_from, v_bounds.holds_until, coalesce(v_tier.above, -1),
    coalesce(
      (select min(t.above) from llm_private.price_tiers as t where t.price_id = p_price and t.above >= p_input),
      2147483647
    ),
    v_tier.per_request, v_tier.per_input, v_tier.per_cached_input, v_tier.per_cache_write, v_tier.per_output,
    v_tier.per_reasoning
  )
  on conflict (provider, model, key_source) do nothing;
end
$$;

comment on function llm_private.remember_charge is
'Cache the price that find_price() found, for attempts of the same model, time and size.';

create function llm_private.charge(
  p_user uuid,
  p_provider text,
  p_model text,
  p_key_source text,
  p_service_tier text,
  p_at timestamptz,
  p_input integer,
  p_cached_input integer,
  p_cache_write integer,
  p_output integer,
  p_reasoning integer,
  p_other_tokens jsonb
)
returns llm_private.attempt_cost
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_plain constant boolean := p_service_tier is null and p_other_tokens is null;
  v_known llm_private.charges;
  v_saved numeric;
  v_price bigint;
  v_list_price bigint;
  -- Not null as a whole, because callers read its fields.
  v_cost llm_private.attempt_cost := row(null, null, null, null);
begin
  if v_plain then
    select c.* into v_known
    from llm_private.charges as c
    where
      c.provider = p_provider and c.model = lower(p_model) and c.key_source = p_key_source
      and c.holds_from <= p_at and p_at < c.holds_until
      and coalesce(p_input, 0) > c.input_above and coalesce(p_input, 0) <= c.input_up_to
      and not exists (
        select from public.llm_prices as p
        where p.source = 'user' and p.user_id = p_user and p.provider = p_provider and p_key_source = 'user'
      );
    if found then
      -- Computed here, because the query would prepare this in each call: 15 instead of 21 microseconds in a batch.
      if v_known.price_id is not null then
        v_saved := coalesce(p_cached_input, 0) * v_known.per_cached_input
          + coalesce(p_cache_write, 0) * v_known.per_cache_write;
        v_cost.price_id := v_known.price_id;
        v_cost.cost := trim_scale(greatest(
          v_known.per_request + coalesce(p_input, 0) * v_known.per_input + coalesce(p_output, 0) * v_known.per_output
          + coalesce(p_reasoning, 0) * v_known.per_reasoning + v_saved, 0
        ));
        v_cost.cache_savings := trim_scale(-v_saved);
        v_cost.list_cost := v_cost.cost;
      end if;
      return v_cost;
    end if;
    perform pg_advisory_xact_lock_shared(hashtext('llm_private.price_list'), hashtext(p_provider));
  end if;
  perform llm_private.remember_price_names(p_provider, array[lower(p_model)]);
  v_price := llm_private.find_price(p_user, p_provider, p_model, p_key_source, p_service_tier, p_at);
  v_list_price := llm_private.list_price(v_price, p_provider, p_model, p_key_source, p_service_tier, p_at);
  if v_price is not null then
    v_cost := llm_private.cost_of(
      v_price, p_input, p_cached_input, p_cache_write, p_output, p_reasoning, p_other_tokens
    );
    v_cost.list_cost := v_cost.cost;
  end if;
  if v_list_price is distinct from v_price then
    v_cost.list_cost := (
      llm_private.cost_of(
        v_list_price, p_input, p_cached_input, p_cache_write, p_output, p_reasoning, p_other_tokens
      )
    ).cost;
  elsif v_plain then
    perform llm_private.remember_charge(
      p_provider, lower(p_model), p_key_source, p_at, coalesce(p_input, 0), v_price
    );
  end if;
  return v_cost;
end
$$;

comment on function llm_private.charge is
'The price of an attempt, its cost and what caching saved: as find_price() and cost_of() return them, or from the cache
of their results.';
