-- Hints about a user's usage: what the month will cost, and where it could cost less. They are computed from recorded
-- usage; supa-llm does not guess what the user's prompts need.

create type llm_private.cheaper_model as (
  task text,
  provider text,
  model text,
  other_model text,
  cost_30d numeric,
  would_have_cost numeric,
  ratio numeric,
  compared_attempts bigint
);

comment on type llm_private.cheaper_model is
'What a task cost on a model in the last 30 days, and what it would have cost on another model of the same provider.';

-- Private helpers -----------------------------------------------------------------------------------------------------

create function llm_private.forecast()
returns jsonb
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_user constant uuid := llm_private.require_user();
  v_zone constant text := llm_private.report_zone(v_user, null);
  v_today constant date := (now() at time zone v_zone)::date;
  v_month constant date := date_trunc('month', v_today::timestamp);
  v_month_ends constant timestamptz := llm_private.day_begins((v_month + interval '1 month')::date, v_zone);
  v_first_day constant date := (
    select (min(t.hour) at time zone v_zone)::date from public.llm_usage_totals as t where t.user_id = v_user
  );
  -- A user who started three days ago has a three-day average, not a week with empty days.
  v_days constant integer := case when v_first_day < v_today then least(7, v_today - v_first_day) else 0 end;
  v_so_far numeric;
  v_unpriced bigint;
  v_unreported bigint;
  v_average numeric;
begin
  select m.cost, m.unpriced, m.unreported into v_so_far, v_unpriced, v_unreported
  from llm_private.sum_usage(
    'user', v_user, llm_private.day_begins(v_month, v_zone), v_month_ends, null, v_zone, '{}'
  ) as s
  cross join lateral llm_private.known_measures(s.measures) as m;
  if not found then
    v_so_far := 0;
    v_unpriced := 0;
    v_unreported := 0;
  end if;
  if v_days > 0 then
    select m.cost / v_days into v_average
    from llm_private.sum_usage(
      'user', v_user, llm_private.day_begins(v_today - v_days, v_zone), llm_private.day_begins(v_today, v_zone), null,
      v_zone, '{}'
    ) as s
    cross join lateral llm_private.known_measures(s.measures) as m;
    if not found then
      v_average := 0;
    end if;
  end if;
  return jsonb_build_object(
    'currency', 'USD',
    'month', v_month,
    'time_zone', v_zone,
    'cost_so_far', v_so_far,
    'unpriced', v_unpriced,
    'unreported', v_unreported,
    'days_averaged', v_days,
    'daily_average', round(v_average, 6),
    'forecast', round(
      v_so_far + v_average * (extract(epoch from v_month_ends - now()) / 86400)::numeric, 6
    )
  );
end
$$;

comment on function llm_private.forecast is 'See get_llm_forecast().';

create function llm_private.cheaper_models(p_user uuid)
returns setof llm_private.cheaper_model
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  with used as (
    select t.task, t.provider, t.model, sum(t.cost) as cost, array_agg(distinct t.key_source) as key_sources
    from public.llm_usage_totals as t
    where t.user_id = p_user and t.hour >= now() - interval '30 days' and t.model <> '(other)'
    group by 1, 2, 3
    having sum(t.cost) > 0 and sum(t.output_tokens) > 0
    order by 4 desc
    limit 10
  ),
  -- Models of the same provider that return text: models that the user has used, and models of the catalog.
  others as (
    select u.provider, u.model from used as u
    union
    select p.id, p.default_model from public.llm_providers as p where p.enabled
    union
    select p.id, m.value from public.llm_providers as p cross join lateral jsonb_each_text(p.task_models) as m
    where p.enabled and m.key <> 'embedding'
  ),
  prices as materialized (
    select
      o.provider, o.model, k.key_source,
      llm_private.find_price(p_user, o.provider, o.model, k.key_source, null, now()) as price
    from others as o
    cross join (values ('user'), ('team'), ('operator')) as k (key_source)
    where exists (select from used as u where u.provider = o.provider and k.key_source = any(u.key_sources))
  ),
  compared as (
    select
      u.task, u.provider, u.model, u.cost, o.model as other_model, s.compared, s.other_cost / s.own_cost as ratio,
      row_number() over (partition by u.task, u.provider, u.model order by s.other_cost, o.model) as place
    from used as u
    inner join others as o on o.provider = u.provider and o.model <> u.model
    cross join lateral (
      select count(*) as compared, count(c.cost) as priced, sum(e.cost) as own_cost, sum(c.cost) as other_cost
      from (
        select * from llm_private.adjusted_events as a
        where
          a.user_id = p_user and a.request_id >= llm_private.first_uuid_v7(now() - interval '30 days')
          and a.provider = u.provider and a.model = u.model and a.task is not distinct from u.task and a.cost > 0
        order by a.request_id desc
        limit 200
      ) as e
      inner join prices as p on p.provider = o.provider and p.model = o.model and p.key_source = e.key_source
      cross join lateral llm_private.cost_of(
        p.price, e.input_tokens, e.cached_input_tokens, e.cache_write_tokens, e.output_tokens, e.reasoning_tokens,
        e.other_tokens
      ) as c
    ) as s
    where s.compared > 0 and s.priced = s.compared and s.other_cost <= s.own_cost / 2
  )
  select
    c.task, c.provider, c.model, c.other_model, c.cost, round(c.cost * c.ratio, 9), round(c.ratio, 4), c.compared
  from compared as c
  where c.place = 1 and c.cost * (1 - c.ratio) >= 0.01
  order by c.cost * (1 - c.ratio) desc;
end
$$;

comment on function llm_private.cheaper_models is
'Models that would have cost at most half for the same tokens at today''s prices, and would have saved at least a cent;
the largest saving first. Compares the latest 200 attempts of each task and model.';

create function llm_private.cheaper_model_hints(p_user uuid)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select coalesce(
      jsonb_agg(
        to_jsonb(c) - 'ordinality' || jsonb_build_object(
          'kind', 'cheaper_model',
          'message', format(
            '%s runs on %s: for the same tokens, %s of the same provider would have cost about %s%% less in the last 30 '
            'days.',
            coalesce('The task ' || c.task, 'Usage without a task'), c.model, c.other_model, round(100 * (1 - c.ratio))
          )
        ) order by c.ordinality
      ), '[]'
    )
    from llm_private.cheaper_models(p_user) with ordinality as c
  );
end
$$;

comment on function llm_private.cheaper_model_hints is 'A hint for each of the cheaper_models().';

create function llm_private.cache_loss_hints(p_user uuid)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select coalesce(
      jsonb_agg(
        jsonb_build_object(
          'kind', 'cache_loss', 'provider', l.provider, 'model', l.model, 'cost_30d', l.cost, 'lost', l.lost,
          'message', format(
            'Writing to the cache of %s/%s cost $%s more than reading from it saved in the last 30 days.',
            l.provider, l.model, l.lost
          )
        ) order by l.lost desc
      ), '[]'
    )
    from (
      select t.provider, t.model, sum(t.cost) as cost, trim_scale(-sum(t.cache_savings)) as lost
      from public.llm_usage_totals as t
      where t.user_id = p_user and t.hour >= now() - interval '30 days'
      group by t.provider, t.model
      having sum(t.cache_savings) <= -0.01
    ) as l
  );
end
$$;

comment on function llm_private.cache_loss_hints is
'A hint for each model whose cache cost at least a cent more to write than reading it saved in the last 30 days.';

create function llm_private.failure_hints(p_user uuid)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select coalesce(
      jsonb_agg(
        jsonb_build_object(
          'kind', 'failing', 'provider', f.provider, 'model', f.model, 'attempts', f.attempts, 'failures', f.failures,
          'message', format(
            '%s/%s failed %s of %s attempts in the last 7 days.', f.provider, f.model, f.failures, f.attempts
          )
        ) order by f.failures desc
      ), '[]'
    )
    from (
      select t.provider, t.model, sum(t.attempts) as attempts, sum(t.failures) as failures
      from public.llm_usage_totals as t
      where t.user_id = p_user and t.hour >= now() - interval '7 days'
      group by t.provider, t.model
      having sum(t.attempts) >= 20 and sum(t.failures) * 5 >= sum(t.attempts)
    ) as f
  );
end
$$;

comment on function llm_private.failure_hints is
'A hint for each model that failed at least a fifth of 20 or more attempts in the last 7 days.';

create function llm_private.hints()
returns jsonb
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_user constant uuid := llm_private.require_user();
begin
  return llm_private.cheaper_model_hints(v_user)
    || llm_private.cache_loss_hints(v_user)
    || llm_private.failure_hints(v_user);
end
$$;

comment on function llm_private.hints is 'See list_llm_hints().';

-- Public RPCs ---------------------------------------------------------------------------------------------------------

create function public.get_llm_forecast()
returns jsonb
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select llm_private.forecast()
$$;

comment on function public.get_llm_forecast is
'What the caller''s month (in their time zone) has cost and will cost: cost_so_far, daily_average (of the last 7 full
days, or of all full days of a newer user) and forecast (cost so far plus the average until the end of the month), in US
dollars; null if all usage is unpriced. They do not include unpriced and unreported attempts. Error not_signed_in.';

create function public.list_llm_hints()
returns jsonb
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select llm_private.hints()
$$;

comment on function public.list_llm_hints is
'Where the caller could save, a JSON array; each hint has a message. kind: cheaper_model (another model of the same
provider would have cost at most half for the tokens of the last 30 days), cache_loss (writing to a provider''s cache
cost more than reading from it saved) or failing (a fifth of the attempts of the last 7 days failed). A hint that would
save less than a cent is skipped. Error not_signed_in.';
