-- Costs: which price an attempt has, and what comes of it. On the hot path, so plpgsql, which keeps its plans.

create function llm_private.price_name(p_provider text, p_model text)
returns text
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_name text;
  v_model text := p_model;
begin
  select n.name into v_name from llm_private.price_names as n where n.provider = p_provider and n.model = p_model;
  if found then
    return v_name;
  end if;
  -- Syncing waits for this, and this for syncing: no name of the old list is remembered for the new one.
  perform pg_advisory_xact_lock_shared(hashtext('llm_private.price_list'), hashtext(p_provider));
  loop
    select l.name into v_name from llm_private.price_list as l
    where l.provider = p_provider and v_model ~ l.pattern
    order by l.position limit 1;
    exit when found or v_model <> p_model;
    -- Some write the date in a model's name without its dashes: gpt-5-20250807.
    v_model := regexp_replace(
      p_model, '-(20[0-9]{2})(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])(?=-|:|$)', '-\1-\2-\3', 'g'
    );
    exit when v_model = p_model;
  end loop;
  insert into llm_private.price_names (provider, model, name)
  select p_provider, p_model, v_name
  where exists (select from llm_private.price_list as l where l.provider = p_provider)
  on conflict do nothing;
  return v_name;
end
$$;

comment on function llm_private.price_name(text, text) is
'The price list''s entry for a model name in lower case, null when there is none.';

create function llm_private.find_price(
  p_user uuid, p_provider text, p_model text, p_key_source text, p_service_tier text, p_at timestamptz
)
returns bigint
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_model constant text := lower(p_model);
  v_name constant text := llm_private.price_name(p_provider, v_model);
  v_time constant time := (p_at at time zone 'UTC')::time;
  v_id bigint;
begin
  select p.id into v_id
  from (
    -- Only where their own key pays: they cannot make the operator's keys free.
    select 1 as rank, o.* from public.llm_prices as o
    where o.source = 'user' and o.user_id = p_user and o.provider = p_provider and p_key_source = 'user'
    union all
    select 2 as rank, o.* from public.llm_prices as o
    where o.source = 'operator' and o.provider = p_provider and (o.key_source is null or o.key_source = p_key_source)
    union all
    select 3 as rank, c.* from public.llm_prices as c
    where c.source = 'catalogue' and c.provider = p_provider and c.model = v_name
  ) as p
  where
    (
      p.rank = 3 or p.model = v_model
      or (right(p.model, 1) = '*' and starts_with(v_model, left(p.model, -1)))
    )
    and p.valid_from <= p_at and p_at < p.valid_until
    and (p.service_tier is null or p.service_tier = p_service_tier)
    and (
      p.daily_from is null
      or case
        when p.daily_from < p.daily_until then v_time >= p.daily_from and v_time < p.daily_until
        else v_time >= p.daily_from or v_time < p.daily_until
      end
    )
  order by
    p.rank, right(p.model, 1) = '*', length(p.model) desc,
    p.service_tier is null, p.daily_from is null, p.id desc
  limit 1;
  return v_id;
end
$$;

comment on function llm_private.find_price(uuid, text, text, text, text, timestamptz) is
'The price of an attempt at a time, null when none is known. The user''s own (where their key pays) before the
operator''s before the catalogue''s; then an exact name before the longest that ends with *; then a row for this service
tier before one for any; then one for this time of day before one for the whole; then the newest.';

create function llm_private.cost_of(
  p_price bigint,
  p_input integer,
  p_cached_input integer,
  p_cache_write integer,
  p_output integer,
  p_reasoning integer,
  p_other_tokens jsonb,
  out cost numeric,
  out cache_savings numeric
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_tier llm_private.price_tiers;
  v_other numeric := 0;
  v_other_cached numeric := 0;
begin
  select * into v_tier from llm_private.price_tiers
  where price_id = p_price and above < coalesce(p_input, 0)
  order by above desc limit 1;
  if not found then
    return;
  end if;
  if v_tier.per_other is not null and p_other_tokens is not null then
    select
      coalesce(sum(value::numeric * (p_other_tokens ->> key)::numeric), 0),
      coalesce(sum(value::numeric * (p_other_tokens ->> key)::numeric) filter (where starts_with(key, 'cache')), 0)
    into v_other, v_other_cached
    from jsonb_each_text(v_tier.per_other);
  end if;
  cache_savings := trim_scale(-(
    coalesce(p_cached_input, 0) * v_tier.per_cached_input + coalesce(p_cache_write, 0) * v_tier.per_cache_write
    + v_other_cached
  ));
  -- Counts that contradict one another could make it negative, which would pay for something else.
  cost := trim_scale(greatest(
    v_tier.per_request + coalesce(p_input, 0) * v_tier.per_input + coalesce(p_output, 0) * v_tier.per_output
    + coalesce(p_reasoning, 0) * v_tier.per_reasoning + v_other
    + coalesce(p_cached_input, 0) * v_tier.per_cached_input + coalesce(p_cache_write, 0) * v_tier.per_cache_write, 0
  ));
end
$$;

comment on function llm_private.cost_of(bigint, integer, integer, integer, integer, integer, jsonb) is
'What an attempt costs at a price, in US dollars, and what reading from the cache saved, less what writing to it cost
(negative where it cost more). A count that is null counts as 0; both are null without a price.';

revoke execute on function llm_private.price_name(text, text) from public, anon, authenticated, service_role;
revoke execute on function llm_private.find_price(uuid, text, text, text, text, timestamptz)
from public, anon, authenticated, service_role;
revoke execute on function llm_private.cost_of(bigint, integer, integer, integer, integer, integer, jsonb)
from public, anon, authenticated, service_role;
