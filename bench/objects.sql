-- Objects that the benchmarks compare with; they exist only in the benchmarks' own database.

-- The cheapest possible RPC: PostgREST inlines it.
create function public.bench_select_1()
returns integer
language sql
stable
as $$
  select 1
$$;

-- The columns of a usage event, in the same partitions, without a key or an index.
create table bench.rows (like public.llm_usage_events including defaults) partition by range (request_id);

do $$
declare
  v_partition record;
begin
  for v_partition in
    select c.relname, pg_get_expr(c.relpartbound, c.oid) as bounds
    from pg_inherits as i
    inner join pg_class as c on i.inhrelid = c.oid
    where i.inhparent = 'public.llm_usage_events'::regclass
  loop
    execute format('create table bench.%I partition of bench.rows %s', v_partition.relname, v_partition.bounds);
  end loop;
end
$$;

grant usage on schema bench to authenticated;
grant insert on bench.rows to authenticated;

-- Takes the arguments of record_llm_usage() and only inserts a row, with a constant cost. plpgsql keeps the plan.
create function public.bench_insert_row(
  p_request_id uuid,
  p_attempt integer,
  p_provider text,
  p_model text,
  p_key_source text,
  p_outcome text,
  p_task text default null,
  p_key_id uuid default null,
  p_error_class text default null,
  p_streamed boolean default false,
  p_latency_ms integer default null,
  p_input_tokens integer default null,
  p_cached_input_tokens integer default null,
  p_output_tokens integer default null,
  p_reasoning_tokens integer default null,
  p_retry_after double precision default null,
  p_cache_write_tokens integer default null,
  p_other_tokens jsonb default null,
  p_service_tier text default null
)
returns boolean
language plpgsql
volatile
as $$
begin
  insert into bench.rows (
    user_id, request_id, attempt, recorder, task, provider, model, key_source, key_id, outcome, error_class, streamed,
    latency_ms, input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens, other_tokens,
    service_tier, cost, cache_savings, list_cost, price_id
  )
  values (
    auth.uid(), p_request_id, p_attempt, auth.uid(), p_task, p_provider, p_model, p_key_source, p_key_id,
    p_outcome, p_error_class, p_streamed,
    p_latency_ms, p_input_tokens, p_cached_input_tokens, p_cache_write_tokens, p_output_tokens, p_reasoning_tokens,
    p_other_tokens, p_service_tier, 0.0000546, 0.0000025, 0.0000546, 1
  );
  return true;
end
$$;

grant execute on function public.bench_select_1, public.bench_insert_row to authenticated;

notify pgrst, 'reload schema';
