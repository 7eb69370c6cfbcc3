-- Prices for people: what holds, an own one, and its end.

-- Private helpers -----------------------------------------------------------------------------------------------------

create function llm_private.check_provider(p_provider text)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if not exists (select from public.llm_providers where id = p_provider) then
    perform llm_private.fail(
      404, 'unknown_provider', 'There is no such provider.',
      'Known providers: ' || (select string_agg(id, ', ' order by position, id) from public.llm_providers) || '.'
    );
  end if;
end
$$;

comment on function llm_private.check_provider(text) is 'Error unknown_provider unless there is such a provider.';

create function llm_private.price_json(p_price public.llm_prices, p_in_force boolean default null)
returns jsonb
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select to_jsonb(p_price) - 'user_id' || jsonb_build_object('in_force', p_in_force)
$$;

comment on function llm_private.price_json(public.llm_prices, boolean) is 'A price as the RPCs return it.';

create function llm_private.list_prices(p_provider text, p_model text)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  -- Null for an administrator.
  v_user constant uuid := nullif(llm_private.acting_owner(), llm_private.operator_id());
  v_model constant text := lower(p_model);
  v_name text;
  v_in_force bigint;
begin
  if p_model is not null and p_provider is null then
    perform llm_private.fail(400, 'invalid_argument', 'p_model needs p_provider.');
  end if;
  if p_model is not null then
    v_name := llm_private.price_name(p_provider, v_model);
    v_in_force := llm_private.find_price(
      v_user, p_provider, p_model, case when v_user is null then 'operator' else 'user' end, null, now()
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
            when p.source = 'catalogue' then p.model = v_name
            else p.model = v_model or (right(p.model, 1) = '*' and starts_with(v_model, left(p.model, -1)))
          end
        )
    ), '[]'
  );
end
$$;

comment on function llm_private.list_prices(text, text) is
'The prices that hold now or later and that the caller may see: see list_llm_prices().';

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
declare
  -- Null for an administrator.
  v_user constant uuid := nullif(llm_private.acting_owner(), llm_private.operator_id());
  v_price public.llm_prices;
begin
  perform llm_private.check_provider(p_provider);
  if (p_model ~ '^[!-~]{1,200}$' and strpos(p_model, '*') in (0, length(p_model))) is not true then
    perform llm_private.fail(
      400, 'invalid_price', 'p_model is no name of a model.',
      'Allowed: 1 to 200 characters without spaces; * only at its end, where it stands for any ending.'
    );
  end if;
  if p_valid_until <= coalesce(p_valid_from, now()) then
    perform llm_private.fail(
      400, 'invalid_price', 'The price would end before it begins.', 'Let p_valid_until be later than p_valid_from.'
    );
  end if;
  if p_key_source not in ('user', 'team', 'operator') or (v_user is not null and p_key_source <> 'user') then
    perform llm_private.fail(
      400, 'invalid_price', 'p_key_source has a value that is not allowed.',
      case
        when v_user is null then 'Allowed: user, team, operator, or null for any.'
        else 'A price of your own is for what your own keys pay: leave it out.'
      end
    );
  end if;
  if p_service_tier !~ '^[a-z0-9_-]{1,32}$' then
    perform llm_private.fail(
      400, 'invalid_price', 'p_service_tier has a value that is not allowed.',
      'Allowed: what the provider calls it, such as flex or priority, or null for any.'
    );
  end if;
  v_price.source := case when v_user is null then 'operator' else 'user' end;
  v_price.user_id := v_user;
  v_price.provider := p_provider;
  v_price.model := lower(p_model);
  v_price.rates := p_rates;
  v_price.valid_from := p_valid_from;
  v_price.valid_until := p_valid_until;
  v_price.key_source := case when v_user is null then p_key_source else 'user' end;
  v_price.service_tier := p_service_tier;
  v_price := llm_private.add_price(v_price);
  if v_user is not null then
    perform llm_private.audit(
      v_user, 'price_set', p_provider, p_runtime => llm_private.current_runtime(),
      p_detail => jsonb_build_object('price_id', v_price.id, 'model', v_price.model, 'rates', v_price.rates)
    );
  end if;
  return llm_private.price_json(v_price);
end
$$;

comment on function llm_private.set_price(text, text, jsonb, timestamptz, timestamptz, text, text) is
'Add a price of the caller''s: see set_llm_price().';

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
  v_price public.llm_prices;
begin
  select * into v_price from public.llm_prices
  where
    id = p_id
    and case when v_user is null then source = 'operator' else user_id = v_user end
  for update;
  if not found then
    perform llm_private.fail(
      404, 'price_not_found', 'You have no such price.',
      'list_llm_prices() shows those with their source. One of the catalogue ends when the price list says so; set your '
      'own before it.'
    );
  end if;
  if v_price.valid_until > greatest(now(), v_price.valid_from) then
    update public.llm_prices set valid_until = greatest(now(), valid_from) where id = p_id returning * into v_price;
    if v_user is not null then
      perform llm_private.audit(
        v_user, 'price_ended', v_price.provider, p_runtime => llm_private.current_runtime(),
        p_detail => jsonb_build_object('price_id', v_price.id, 'model', v_price.model)
      );
    end if;
  end if;
  return llm_private.price_json(v_price);
end
$$;

comment on function llm_private.end_price(bigint) is 'End a price of the caller''s now. Error price_not_found.';

revoke execute on function llm_private.check_provider(text) from public, anon, authenticated, service_role;
revoke execute on function llm_private.price_json(public.llm_prices, boolean)
from public, anon, authenticated, service_role;
revoke execute on function llm_private.list_prices(text, text) from public, anon, authenticated, service_role;
revoke execute on function llm_private.set_price(text, text, jsonb, timestamptz, timestamptz, text, text)
from public, anon, authenticated, service_role;
revoke execute on function llm_private.end_price(bigint) from public, anon, authenticated, service_role;
grant execute on function llm_private.list_prices(text, text) to authenticated, service_role;
grant execute on function llm_private.set_price(text, text, jsonb, timestamptz, timestamptz, text, text)
to authenticated, service_role;
grant execute on function llm_private.end_price(bigint) to authenticated, service_role;

-- Public RPCs ---------------------------------------------------------------------------------------------------------

-- An array and not a set of rows: PostgREST would cut that off at its limit, and a catalogue is longer.
-- Volatile, since it remembers which entry of the price list a name belongs to.
create function public.list_llm_prices(p_provider text default null, p_model text default null)
returns jsonb
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select llm_private.list_prices(p_provider, p_model)
$$;

comment on function public.list_llm_prices(text, text) is
'What models cost now or later: the catalogue''s prices, the operator''s and, for users, their own. With p_model only
what is for that model: in_force marks, and puts first, what a request by the user''s own key (for administrators: the
operator''s) pays now. Errors: not_signed_in, invalid_argument.';

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

comment on function public.set_llm_price(text, text, jsonb, timestamptz, timestamptz, text, text) is
'Say what a model costs: a user for what their own keys pay, an administrator for everybody, or where keys of one source
pay. p_model may end with *, for any ending; p_rates: {"input": 2.5, "output": 10} in US dollars per million tokens, see
the table llm_prices. It holds from now on unless dates say else, and goes before every older one for the same.
Errors: not_signed_in, unknown_provider, invalid_price.';

create function public.end_llm_price(p_id bigint)
returns jsonb
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select llm_private.end_price(p_id)
$$;

comment on function public.end_llm_price(bigint) is
'End a price now: a user their own, an administrator one of the operator''s. What was used until now keeps its cost.
Errors: not_signed_in, price_not_found.';

revoke execute on function public.list_llm_prices(text, text) from public, anon, authenticated, service_role;
revoke execute on function public.set_llm_price(text, text, jsonb, timestamptz, timestamptz, text, text)
from public, anon, authenticated, service_role;
revoke execute on function public.end_llm_price(bigint) from public, anon, authenticated, service_role;
grant execute on function public.list_llm_prices(text, text) to authenticated, service_role;
grant execute on function public.set_llm_price(text, text, jsonb, timestamptz, timestamptz, text, text)
to authenticated, service_role;
grant execute on function public.end_llm_price(bigint) to authenticated, service_role;
