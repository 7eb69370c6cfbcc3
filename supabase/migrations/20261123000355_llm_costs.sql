-- Costs: which price an attempt has, and what comes of it. On the hot path, so plpgsql, which keeps its plans.

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
'What attempts of a model cost, remembered: from when until when, and for inputs of which size. Finding the price and
its tier costs as much as the rest of recording does. Emptied when a price or the price list changes.';
comment on column llm_private.charges.price_id is 'Null where there is no price.';

revoke all on table llm_private.charges from public, anon, authenticated, service_role;
alter table llm_private.charges enable row level security;

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

create function llm_private.forget_charges()
returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_price public.llm_prices := coalesce(new, old);
begin
  -- Whoever is working out a charge to remember holds this lock shared: it is forgotten, or has seen the change.
  if v_price.source <> 'user' then
    perform pg_advisory_xact_lock(hashtext('llm_private.price_list'), hashtext(v_price.provider));
    delete from llm_private.charges where provider = v_price.provider;
  end if;
  return v_price;
end
$$;

comment on function llm_private.forget_charges() is
'Before a price changes, what is remembered of its provider is forgotten.';

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
  v_tier llm_private.price_tiers;
  v_bounds record;
begin
  -- Between two of these moments no price begins or ends.
  select
    coalesce(max(b.at) filter (where b.at <= p_at), '-infinity') as holds_from,
    coalesce(min(b.at) filter (where b.at > p_at), 'infinity') as holds_until,
    bool_or(p.daily_from is not null) as daily
  into v_bounds
  from public.llm_prices as p
  cross join lateral (values (p.valid_from), (p.valid_until)) as b (at)
  where
    p.provider = p_provider and (p.source = 'operator' or p.source = 'catalogue' and p.model = v_name);
  select t.* into v_tier from llm_private.price_tiers as t
  where t.price_id = p_price and t.above < p_input
  order by t.above desc limit 1;
  if v_bounds.daily then
    return;
  end if;
  -- Only what is over makes room: inputs of different sizes would take turns, and wait for one another.
  delete from llm_private.charges as c
  where
    c.provider = p_provider and c.model = p_model and c.key_source = p_key_source
    and c.holds_until <= v_bounds.holds_from;
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

comment on function llm_private.remember_charge(text, text, text, timestamptz, integer, bigint) is
'Remember the price that find_price() found, for attempts of the same model, time and size.';

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
  p_other_tokens jsonb,
  out price_id bigint,
  out cost numeric,
  out cache_savings numeric
)
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_plain constant boolean := p_service_tier is null and p_other_tokens is null;
begin
  if v_plain then
    select
      c.price_id,
      case when c.price_id is not null then trim_scale(greatest(
        c.per_request + coalesce(p_input, 0) * c.per_input + coalesce(p_output, 0) * c.per_output
        + coalesce(p_reasoning, 0) * c.per_reasoning + coalesce(p_cached_input, 0) * c.per_cached_input
        + coalesce(p_cache_write, 0) * c.per_cache_write, 0
      )) end,
      trim_scale(-(coalesce(p_cached_input, 0) * c.per_cached_input + coalesce(p_cache_write, 0) * c.per_cache_write))
    into price_id, cost, cache_savings
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
      return;
    end if;
    perform pg_advisory_xact_lock_shared(hashtext('llm_private.price_list'), hashtext(p_provider));
  end if;
  price_id := llm_private.find_price(p_user, p_provider, p_model, p_key_source, p_service_tier, p_at);
  if price_id is not null then
    select k.cost, k.cache_savings into cost, cache_savings
    from llm_private.cost_of(
      price_id, p_input, p_cached_input, p_cache_write, p_output, p_reasoning, p_other_tokens
    ) as k;
  end if;
  if v_plain and not exists (
    select from public.llm_prices as p where p.id = charge.price_id and p.source = 'user'
  ) then
    perform llm_private.remember_charge(
      p_provider, lower(p_model), p_key_source, p_at, coalesce(p_input, 0), price_id
    );
  end if;
end
$$;

comment on function llm_private.charge(
  uuid, text, text, text, text, timestamptz, integer, integer, integer, integer, integer, jsonb
) is
'The price that holds for an attempt, what it costs and what caching saved: what find_price() and cost_of() say, and on
the hot path what they said of the same model before.';

revoke execute on function llm_private.forget_charges() from public, anon, authenticated, service_role;
revoke execute on function llm_private.remember_charge(text, text, text, timestamptz, integer, bigint)
from public, anon, authenticated, service_role;
revoke execute on function llm_private.charge(
  uuid, text, text, text, text, timestamptz, integer, integer, integer, integer, integer, jsonb
) from public, anon, authenticated, service_role;
revoke execute on function llm_private.price_name(text, text) from public, anon, authenticated, service_role;
revoke execute on function llm_private.find_price(uuid, text, text, text, text, timestamptz)
from public, anon, authenticated, service_role;
revoke execute on function llm_private.cost_of(bigint, integer, integer, integer, integer, integer, jsonb)
from public, anon, authenticated, service_role;
