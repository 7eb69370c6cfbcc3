-- Requests and events: the usage behind the reports, by request and by attempt.

-- Private helpers -----------------------------------------------------------------------------------------------------

create type llm_private.recorded_request as (
  request_id uuid,
  requested_at timestamptz,
  task text,
  outcome text,
  cost numeric,
  unpriced bigint,
  unreported bigint,
  attempts jsonb
);

comment on type llm_private.recorded_request is 'A request as list_llm_requests() returns it.';

create function llm_private.list_requests(p_limit integer, p_before uuid)
returns setof llm_private.recorded_request
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_user constant uuid := llm_private.require_user();
begin
  return query
  with requests as (
    select distinct e.request_id from public.llm_usage_events as e
    where e.user_id = v_user and e.request_id < coalesce(p_before, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
    order by e.request_id desc
    limit least(greatest(coalesce(p_limit, 50), 1), 500)
  )
  select
    r.request_id,
    llm_private.uuid_v7_time(r.request_id),
    (array_agg(e.task order by e.attempt))[1],
    (array_agg(e.outcome order by e.attempt desc))[1],
    llm_private.known_cost(
      coalesce(sum(e.cost), 0), count(*), count(*) filter (where e.outcome = 'failed'),
      count(*) filter (where e.cost_status = 'unpriced'), count(*) filter (where e.cost_status = 'unreported')
    ),
    count(*) filter (where e.cost_status = 'unpriced'),
    count(*) filter (where e.cost_status = 'unreported'),
    jsonb_agg(
      to_jsonb(e) - '{user_id,request_id,requested_at,task,list_cost,price_id,recorded_at,cursor}'::text[]
      order by e.attempt, e.recorded_at
    )
  from requests as r
  inner join llm_private.adjusted_events as e on e.user_id = v_user and e.request_id = r.request_id
  group by r.request_id
  order by r.request_id desc;
end
$$;

comment on function llm_private.list_requests is 'The caller''s requests. Error not_signed_in.';

create function llm_private.list_events(
  p_since timestamptz, p_until timestamptz, p_after text, p_limit integer, p_user_id uuid, p_team_id uuid
)
returns setof llm_private.adjusted_events
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_owner constant uuid := llm_private.acting_owner();
  v_user constant uuid := llm_private.reported_user(v_owner, p_user_id, p_team_id);
  v_from constant uuid := llm_private.first_uuid_v7(greatest(coalesce(p_since, 'epoch'), 'epoch'));
  v_until constant uuid := llm_private.first_uuid_v7(least(coalesce(p_until, 'infinity'), '4000-01-01'));
  v_limit constant integer := least(greatest(coalesce(p_limit, 1000), 1), 1000);
  v_after text[];
begin
  perform llm_private.check_length('p_after', p_after, 120);
  perform llm_private.check_value(
    'invalid_argument',
    p_after is null or p_after ~ '^[0-9a-f-]{36}/[0-9a-f-]{36}/[0-9]{1,4}/[0-9a-f-]{36}$',
    'p_after', 'null, or the cursor of the last event of the previous page'
  );
  v_after := coalesce(string_to_array(p_after, '/'), '{00000000-0000-0000-0000-000000000000,00000000-0000-0000-0000-000000000000,0,'
    '00000000-0000-0000-0000-000000000000}');
  -- Separate queries, so that a user's or a team's query is never planned as one over all users.
  if p_team_id is not null then
    return query
    select e.* from llm_private.adjusted_events as e
    where
      e.team_id = p_team_id and (v_user is null or e.user_id = v_user)
      and e.request_id >= v_from and e.request_id < v_until
      and (e.user_id, e.request_id, e.attempt, e.recorder)
      > (v_after[1]::uuid, v_after[2]::uuid, v_after[3]::smallint, v_after[4]::uuid)
    order by e.user_id, e.request_id, e.attempt, e.recorder
    limit v_limit;
  elsif v_user is not null then
    return query
    select e.* from llm_private.adjusted_events as e
    where
      e.user_id = v_user and e.request_id >= v_from and e.request_id < v_until
      and (e.request_id, e.attempt, e.recorder) > (v_after[2]::uuid, v_after[3]::smallint, v_after[4]::uuid)
    order by e.request_id, e.attempt, e.recorder
    limit v_limit;
  else
    return query
    select e.* from llm_private.adjusted_events as e
    where
      e.request_id >= v_from and e.request_id < v_until
      and (e.user_id, e.request_id, e.attempt, e.recorder)
      > (v_after[1]::uuid, v_after[2]::uuid, v_after[3]::smallint, v_after[4]::uuid)
    order by e.user_id, e.request_id, e.attempt, e.recorder
    limit v_limit;
  end if;
end
$$;

comment on function llm_private.list_events is
'A page of the events of the caller or of a team''s members or, for an administrator, of one user or of all users.
Errors: see list_llm_usage_events().';

-- Public RPCs ---------------------------------------------------------------------------------------------------------

create function public.list_llm_requests(p_limit integer default 50, p_before uuid default null)
returns setof llm_private.recorded_request
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select * from llm_private.list_requests(p_limit, p_before)
$$;

comment on function public.list_llm_requests is
'The caller''s requests, newest first, at most 500, each with its attempts in order. p_before is the request_id of the
last request of the previous page. cost is the known cost in US dollars; null if no cost is known. The cost_status of an
attempt is priced, unpriced (no price) or unreported (no tokens reported). Error not_signed_in.';

create function public.list_llm_usage_events(
  p_since timestamptz default null,
  p_until timestamptz default null,
  p_after text default null,
  p_limit integer default 1000,
  p_user_id uuid default null,
  p_team_id uuid default null
)
returns setof llm_private.adjusted_events
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select * from llm_private.list_events(p_since, p_until, p_after, p_limit, p_user_id, p_team_id)
$$;

comment on function public.list_llm_usage_events is
'The caller''s usage events of requests that began from p_since to before p_until, with their current cost; oldest
first, at most 1000. p_after is the cursor of the last event of the previous page; the last page is empty. p_user_id is
for administrators: without it, they get the events of all users, by user and then oldest first. With p_team_id, a member
gets their own attempts with the team''s keys, owners and admins those of all members or of p_user_id, by user and then oldest
first. An event has no prompt and no answer.
Errors: not_signed_in, invalid_argument, team_not_found.';
