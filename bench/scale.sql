-- The data of a benchmarked project.

create schema bench;

create table bench.filled (
  users bigint not null,
  events bigint not null,
  migrations text not null
);

comment on table bench.filled is 'How much was put in, once all of it is in; one row.';

create table bench.users (
  n bigint primary key,
  id uuid not null,
  key_id uuid not null,
  key_provider text not null
);

create table bench.models (
  n bigint primary key,
  provider text not null,
  model text not null
);

-- The last one has no price.
insert into bench.models (n, provider, model)
values
(0, 'openai', 'gpt-5-nano'),
(1, 'openai', 'gpt-5-mini'),
(2, 'openai', 'gpt-5'),
(3, 'groq', 'llama-3.1-8b-instant'),
(4, 'groq', 'openai/gpt-oss-120b'),
(5, 'anthropic', 'claude-haiku-4-5'),
(6, 'anthropic', 'claude-sonnet-4-5'),
(7, 'mistral', 'mistral-small-latest'),
(8, 'google', 'gemini-2.5-flash'),
(9, 'openai', 'in-house-1');

create function bench.add_users(p_count bigint)
returns void
language plpgsql
as $$
begin
  insert into bench.users (n, id, key_id, key_provider)
  select
    row_number() over (order by u.id) - 1, u.id, md5('key of ' || u.id)::uuid,
    (array['openai', 'groq', 'anthropic'])[1 + u.n % 3]
  from (select n, md5('user ' || n)::uuid as id from generate_series(1, p_count) as n) as u;
  insert into auth.users (id, aud, role, email)
  select id, 'authenticated', 'authenticated', n || '@example.com' from bench.users order by n;
  insert into public.user_llm_settings (user_id) select id from bench.users order by n;
  insert into llm_private.key_owners (id, user_id, master_key_id, wrapped_key)
  select u.id, u.id, m.id, extensions.gen_random_bytes(160)
  from bench.users as u cross join llm_private.master_keys as m
  order by u.n;
  insert into public.llm_keys (owner_id, id, provider, hint)
  select id, key_id, key_provider, '…' from bench.users order by n;
  insert into llm_private.key_secrets (owner_id, key_id, ciphertext)
  select u.id, u.key_id, extensions.gen_random_bytes(160)
  from bench.users as u
  order by u.n;
end
$$;

comment on function bench.add_users(bigint) is 'Users with a settings row and a key each, in the order of their ids.';

-- Ordered by time, as recorded events are, so a user's events are not adjacent.
-- A session is four attempts of one user within an hour, of the same model and task; in some of them the second attempt
-- is a fallback. A few users are in many sessions, most are in one or two.
create function bench.add_events(p_from timestamptz, p_until timestamptz, p_sessions bigint)
returns void
language plpgsql
set timezone = 'UTC'
set work_mem = '512MB'
as $$
declare
  v_users constant bigint := (select count(*) from bench.users);
  v_runtime constant uuid := (select id from llm_private.runtimes limit 1);
begin
  insert into public.llm_usage_events (
    user_id, request_id, attempt, recorder, task, provider, model, key_source, key_id, outcome, error_class, streamed,
    latency_ms, input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens,
    cost, cache_savings, list_cost, price_id, recorded_at
  )
  with sessions as materialized (
    select
      floor(power(random(), 2) * v_users)::bigint * 7919 % v_users as user_n,
      date_trunc('hour', p_from + random() * (p_until - p_from - interval '1 hour')) + random() * interval '55 minutes'
        as at,
      random() < 0.7 as with_own_key, (random() * 1000)::bigint as model_n, random() < 0.04 as fell_back,
      (array['speed', 'code', 'summary', null])[1 + floor(random() * 4)] as task, md5(random()::text) as seed
    from generate_series(1, p_sessions)
  ),
  -- A user's own key serves the models of its provider.
  with_models as (
    select s.*, u.id as user_id, m.provider, m.model, case when s.with_own_key then u.key_id end as key_id
    from sessions as s
    inner join bench.users as u on s.user_n = u.n
    cross join lateral (
      select o.provider, o.model from bench.models as o
      where not s.with_own_key or o.provider = u.key_provider
      order by (o.n * 389 + s.model_n) % 1000, o.n limit 1
    ) as m
  ),
  -- A separate step, because the join would look up a price for each tier.
  found_prices as materialized (
    select
      d.day, m.provider, m.model,
      llm_private.find_price(llm_private.operator_id(), m.provider, m.model, 'operator', null, d.day) as price_id
    from generate_series(date_trunc('day', p_from), p_until, interval '1 day') as d (day)
    cross join bench.models as m
  ),
  -- No input is large enough for a higher price tier.
  prices as (
    select f.day, f.provider, f.model, t.*
    from found_prices as f
    inner join llm_private.price_tiers as t on f.price_id = t.price_id and t.above = -1
  ),
  attempts as (
    select
      w.*, p.price_id, p.per_request, p.per_input, p.per_cached_input, p.per_output, p.per_reasoning,
      i, case when w.fell_back and i = 2 then 1 else i end as request,
      case when w.fell_back and i = 1 then 'failed' when random() < 0.01 then 'cancelled' else 'succeeded' end
        as outcome,
      (200 + 3000 * random())::integer as input, (20 + 800 * random())::integer as output, random() as spread,
      (300 + 9000 * power(random(), 3))::integer as latency
    from with_models as w
    left join prices as p
      on p.day = date_trunc('day', w.at) and p.provider = w.provider and p.model = w.model
    cross join generate_series(1, 4) as i
  ),
  measured as (
    select
      a.*, a.at + (a.request - 1) * interval '60 seconds' as began_at, md5(a.seed || a.request) as tail,
      case when a.outcome = 'succeeded' then a.input end as input_tokens,
      case when a.outcome = 'succeeded' then (a.input * a.spread / 2)::integer end as cached_input_tokens,
      case when a.outcome = 'succeeded' then a.output end as output_tokens,
      case when a.outcome = 'succeeded' then (a.output * a.spread / 3)::integer end as reasoning_tokens
    from attempts as a
  )
  select
    m.user_id,
    (
      lpad(to_hex((extract(epoch from m.began_at) * 1000)::bigint), 12, '0') || '7' || substr(m.tail, 1, 3) || 'b'
      || substr(m.tail, 4, 15)
    )::uuid,
    case when m.fell_back and m.i = 2 then 2 else 1 end, case when m.with_own_key then m.user_id else v_runtime end,
    m.task, m.provider, m.model, case when m.with_own_key then 'user' else 'operator' end, m.key_id,
    m.outcome, case when m.outcome = 'failed' then 'server_error' end, m.i % 2 = 0, m.latency,
    m.input_tokens, m.cached_input_tokens, case when m.outcome = 'succeeded' then 0 end, m.output_tokens,
    m.reasoning_tokens,
    m.cost,
    case when m.outcome = 'succeeded' then nullif(trim_scale(-m.cached_input_tokens * m.per_cached_input), 0) end,
    m.cost,
    case when m.outcome <> 'failed' then m.price_id end,
    m.began_at + m.latency * interval '1 millisecond'
  from (
    select
      t.*,
      case
        when t.outcome = 'failed' then 0
        when t.outcome = 'succeeded'
          then trim_scale(
            t.per_request + t.input_tokens * t.per_input + t.cached_input_tokens * t.per_cached_input
            + t.output_tokens * t.per_output + t.reasoning_tokens * t.per_reasoning
          )
      end as cost
    from measured as t
  ) as m
  order by m.began_at;
end
$$;

comment on function bench.add_events(timestamptz, timestamptz, bigint) is
'Four usage events a session, whose hours are from p_from to before p_until.';

create function bench.histogram(p_latencies integer[])
returns integer[]
language plpgsql
as $$
declare
  v_latency integer;
  v_bucket integer;
  v_counts integer[] := array_fill(0, '{40}');
begin
  foreach v_latency in array p_latencies loop
    v_bucket := llm_private.latency_bucket(v_latency);
    v_counts[v_bucket] := v_counts[v_bucket] + 1;
  end loop;
  return v_counts;
end
$$;

create function bench.add_totals(p_from timestamptz, p_until timestamptz)
returns void
language plpgsql
set timezone = 'UTC'
set work_mem = '512MB'
as $$
begin
  insert into public.llm_usage_totals (
    user_id, hour, provider, model, task, key_source, key_id, recorder, requests, attempts, fallbacks, failures,
    cancelled, input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens, cost,
    cache_savings, list_cost, unpriced, unreported, latency_counts, last_used_at
  )
  select
    e.user_id, date_trunc('hour', e.at) as hour, e.provider, e.model, e.task, e.key_source, e.key_id, e.recorder,
    count(*) filter (where e.attempt = 1), count(*), count(*) filter (where e.attempt = 2),
    count(*) filter (where e.outcome = 'failed'), count(*) filter (where e.outcome = 'cancelled'),
    coalesce(sum(e.input_tokens), 0), coalesce(sum(e.cached_input_tokens), 0), coalesce(sum(e.cache_write_tokens), 0),
    coalesce(sum(e.output_tokens), 0), coalesce(sum(e.reasoning_tokens), 0), coalesce(sum(e.cost), 0),
    coalesce(sum(e.cache_savings), 0), coalesce(sum(e.list_cost), 0), count(*) filter (where e.cost is null and e.price_id is null),
    count(*) filter (where e.cost is null and e.price_id is not null), bench.histogram(array_agg(e.latency_ms)),
    max(e.at)
  from (
    select *, llm_private.uuid_v7_time(request_id) as at from public.llm_usage_events
    where request_id >= llm_private.first_uuid_v7(p_from) and request_id < llm_private.first_uuid_v7(p_until)
  ) as e
  group by e.user_id, 2, e.provider, e.model, e.task, e.key_source, e.key_id, e.recorder
  order by 2;
end
$$;

comment on function bench.add_totals(timestamptz, timestamptz) is 'What recording these events would have added up to.';
