-- The known models of a provider, for users to choose from. Requests may name any other model.

-- Private helpers -----------------------------------------------------------------------------------------------------

create function llm_private.list_models(p_provider text)
returns json
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_user constant uuid := llm_private.acting_owner();
  v_key_source constant text := case v_user when llm_private.operator_id() then 'operator' else 'user' end;
  v_models text[];
begin
  perform llm_private.check_provider(p_provider);
  v_models := array(
    select m from llm_private.catalog_models(p_provider) as m
    union
    select t.model from public.llm_usage_totals as t
    where t.user_id = v_user and t.provider = p_provider and t.model <> '(other)'
    union
    -- Skips patterns, which contain a star. Two queries, because the planner would read all users' rows for one with "or".
    select r.model
    from (
      select * from public.llm_prices as o where o.user_id is null and o.provider = p_provider
      union all
      select * from public.llm_prices as o where o.user_id = v_user and o.provider = p_provider
    ) as r
    where strpos(r.model, '*') = 0 and now() >= r.valid_from and now() < r.valid_until
  );
  return (
    select
      coalesce(
        json_agg(
          json_build_object(
            'model', f.model,
            'input_price', case when jsonb_typeof(r.rates -> 'input') = 'number' then r.rates -> 'input' end,
            'output_price', case when jsonb_typeof(r.rates -> 'output') = 'number' then r.rates -> 'output' end,
            'context_tokens', f.context_tokens
          ) order by f.model
        ), '[]'
      )
    from llm_private.find_prices(v_user, p_provider, v_models, v_key_source, null, now()) as f
    -- The limit makes the planner look up each price, instead of reading the prices of all users for a join.
    left join lateral (select p.rates from public.llm_prices as p where p.id = f.price_id limit 1) as r on true
  );
end
$$;

comment on function llm_private.list_models is 'See list_llm_models().';

-- Public RPCs ---------------------------------------------------------------------------------------------------------

create function public.list_llm_models(p_provider text)
returns json
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select llm_private.list_models(p_provider)
$$;

comment on function public.list_llm_models is
'The known models of a provider, a JSON array: from the catalog, from the prices, and models that the caller has used.
Each has input_price and output_price with the caller''s own key, in US dollars per million tokens; null without a single
price; and context_tokens, the most tokens of its input and output; null if unknown. For administrators: the models of the
catalog and the operator''s prices, with prices of the operator''s key.
Errors: not_signed_in, invalid_argument, unknown_provider.';
