-- Reports: usage and its cost. Users get their own usage, and owners and admins of a team what its members used the
-- team's keys for; administrators get the usage of one user, of a team or of the project.
--
-- A report is one JSON array instead of rows, because a project's API limits the number of rows (1000 on a hosted
-- project) and a report without its last rows would be silently wrong.

-- Private helpers -----------------------------------------------------------------------------------------------------

create function llm_private.known_cost(
  p_cost numeric, p_attempts bigint, p_failures bigint, p_unpriced bigint, p_unreported bigint
)
returns numeric
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_unpriced + p_unreported > 0 and p_cost = 0 and p_attempts - p_unpriced - p_unreported <= p_failures then
    return null;
  end if;
  return p_cost;
end
$$;

comment on function llm_private.known_cost is
'A sum of costs for display: null if only failures have a known cost, so that a model without a price never looks
free.';

create function llm_private.known_measures(p_measures llm_private.usage_measures)
returns llm_private.usage_measures
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  p_measures.cost := llm_private.known_cost(
    p_measures.cost, p_measures.attempts, p_measures.failures, p_measures.unpriced, p_measures.unreported
  );
  -- Without a price of the operator or the catalog, the cost at such prices is unknown.
  if p_measures.list_cost = 0 and p_measures.cost is distinct from 0 then
    p_measures.list_cost := null;
  end if;
  return p_measures;
end
$$;

comment on function llm_private.known_measures is 'Sums for display: see known_cost().';

create function llm_private.latency_percentile(p_counts bigint[], p_fraction double precision)
returns integer
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_count bigint;
  v_rank double precision := 0;
begin
  foreach v_count in array p_counts loop
    v_rank := v_rank + v_count;
  end loop;
  v_rank := v_rank * p_fraction;
  for i in 1..40 loop
    if v_rank > 0 and v_rank <= p_counts[i] then
      return round(power(2, (i - 1) / 2.0) + (power(2, i / 2.0) - power(2, (i - 1) / 2.0)) * v_rank / p_counts[i]);
    end if;
    v_rank := v_rank - p_counts[i];
  end loop;
  return null;
end
$$;

comment on function llm_private.latency_percentile is
'Milliseconds below which this fraction of a histogram lies, if latencies are evenly spread within a bucket. The error
is at most the width of a bucket, 42 %, and usually a few percent. Null for an empty histogram.';

create function llm_private.day_begins(p_day date, p_zone text)
returns timestamptz
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_at constant timestamptz := p_day::timestamp at time zone p_zone;
begin
  -- If clocks go back at midnight, midnight occurs twice, and the day begins with the first one.
  if ((v_at - interval '1 hour') at time zone p_zone)::date = p_day then
    return v_at - interval '1 hour';
  end if;
  return v_at;
end
$$;

comment on function llm_private.day_begins is 'The time at which a day begins in a time zone.';

create function llm_private.report_zone(p_owner uuid, p_zone text)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_zone constant text := coalesce(
    p_zone, (select s.time_zone from public.user_llm_settings as s where s.user_id = p_owner), 'UTC'
  );
begin
  perform llm_private.check_length('p_time_zone', p_zone, 64);
  begin
    perform now() at time zone v_zone;
  exception when invalid_parameter_value then
    perform llm_private.check_value(
      'invalid_argument', false, 'p_time_zone', 'the name of a time zone, such as Europe/Berlin or UTC'
    );
  end;
  return v_zone;
end
$$;

comment on function llm_private.report_zone is
'The time zone of a report: the requested one, else that of the user''s settings, else UTC. Error invalid_argument.';

create function llm_private.reported_user(p_owner uuid, p_user_id uuid, p_team_id uuid)
returns uuid
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_owner = llm_private.operator_id() then
    -- Also a removed team, whose usage remains.
    if p_team_id is not null and not exists (select from llm_private.teams as t where t.id = p_team_id) then
      perform llm_private.fail(404, 'team_not_found', 'Team not found.', 'list_llm_teams() returns the teams.');
    end if;
    return p_user_id;
  elsif p_team_id is null then
    return p_owner;
  elsif llm_private.require_team_role(p_team_id, p_owner, '{owner,admin,member}') = 'member' then
    return p_owner;
  end if;
  return p_user_id;
end
$$;

comment on function llm_private.reported_user is
'Whose usage a caller''s report covers; null: that of all users. Users get their own; owners and admins of p_team_id get
the usage of its keys by p_user_id or all members. Error team_not_found.';

-- Volatile, because a report over the project must see the rollup that precedes it.
create function llm_private.usage_report(
  p_since date,
  p_until date,
  p_bucket text,
  p_by text[],
  p_time_zone text,
  p_order text,
  p_limit integer,
  p_user_id uuid,
  p_recorded_by text,
  p_team_id uuid
)
returns json
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
declare
  v_owner constant uuid := llm_private.acting_owner();
  v_operator constant boolean := v_owner = llm_private.operator_id();
  v_user constant uuid := llm_private.reported_user(v_owner, p_user_id, p_team_id);
  v_by constant text[] := coalesce(p_by, '{}');
  v_zone constant text := llm_private.report_zone(coalesce(v_user, v_owner), p_time_zone);
  v_today constant date := (now() at time zone v_zone)::date;
  v_from timestamptz;
  v_until timestamptz;
  v_lines json;
begin
  perform llm_private.require_plain_call('get_llm_usage');
  perform
    llm_private.check_value(
      'invalid_argument', coalesce(p_bucket, 'day') in ('hour', 'day', 'month'), 'p_bucket',
      'hour, day, month, or null for one sum over the whole time'
    ),
    llm_private.check_value(
      'invalid_argument',
      coalesce(array_ndims(v_by), 1) = 1 and cardinality(v_by) <= 10 and array_position(v_by, null) is null
      and v_by <@ (
        '{provider,model,task,key_source,key_id,recorded_by,team}'::text[]
        || case when v_operator or p_team_id is not null then 'user' end
      ),
      'p_by',
      'any of provider, model, task, key_source, key_id, recorded_by, team'
      || case when v_operator or p_team_id is not null then ' and user' else '' end
    ),
    llm_private.check_value(
      'invalid_argument', coalesce(p_order, 'time') in ('time', 'cost', 'requests', 'tokens'), 'p_order',
      'time (newest first), cost, requests or tokens (highest first)'
    ),
    llm_private.check_value(
      'invalid_argument', coalesce(p_recorded_by, 'user') in ('runtime', 'user'), 'p_recorded_by',
      'runtime, user, or null for both'
    ),
    llm_private.check_value(
      'invalid_argument', coalesce(p_limit, 1) between 1 and 10000, 'p_limit', 'null (1000), or 1 to 10000'
    );
  v_from := llm_private.day_begins(coalesce(p_since, v_today - 30), v_zone);
  v_until := case when p_until < 'infinity' then llm_private.day_begins(p_until + 1, v_zone) else 'infinity' end;
  if v_user is null and p_team_id is null then
    perform llm_private.roll_up_usage(interval '500 milliseconds');
  end if;

  -- Times in the report are in its time zone; the setting ends with this function.
  perform set_config('timezone', v_zone, true);
  select json_agg(row_to_json(l)) into v_lines
  from (
    select
      coalesce(s.hour, llm_private.day_begins(s.day, v_zone)) as starts_at,
      s.user_id, s.provider, s.model, s.task, s.key_source, s.key_id, s.recorded_by,
      s.team_id, case when s.team_id is not null then llm_private.team_name(s.team_id) end as team,
      m.*,
      llm_private.latency_percentile(s.latency_counts, 0.5) as latency_p50_ms,
      llm_private.latency_percentile(s.latency_counts, 0.95) as latency_p95_ms,
      s.last_used_at, count(*) over () as report_lines
    from llm_private.sum_usage(
      case
        when p_team_id is not null then 'team'
        when v_user is not null then 'user'
        when v_by && '{user,key_id,team}' then 'users'
        else 'project'
      end,
      v_user, v_from, v_until, p_bucket, v_zone, v_by, p_recorded_by, p_team_id
    ) as s
    cross join lateral llm_private.known_measures(s.measures) as m
    order by
      case p_order
        when 'cost' then (s.measures).cost
        when 'requests' then m.requests
        when 'tokens' then m.input_tokens + m.output_tokens
      end desc,
      1 desc, s.provider, s.model, s.task, s.key_source, s.key_id, s.user_id, s.recorded_by,
      s.team_id
    limit coalesce(p_limit, 1000)
  ) as l;
  return coalesce(v_lines, '[]');
end
$$;

comment on function llm_private.usage_report is
'The usage of the caller or of a team''s members or, for an administrator, of one user or of all users.
Errors: see get_llm_usage().';

-- Public RPCs ---------------------------------------------------------------------------------------------------------

create function public.get_llm_usage(
  p_since date default null,
  p_until date default null,
  p_bucket text default 'day',
  p_by text[] default '{provider,model,task,key_source}',
  p_time_zone text default null,
  p_order text default null,
  p_limit integer default null,
  p_user_id uuid default null,
  p_recorded_by text default null,
  p_team_id uuid default null
)
returns json
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select llm_private.usage_report(
    p_since, p_until, p_bucket, p_by, p_time_zone, p_order, p_limit, p_user_id, p_recorded_by, p_team_id
  )
$$;

comment on function public.get_llm_usage is
'The caller''s usage as a JSON array with one object per line: starts_at, user_id, provider, model, task, key_source,
key_id, recorded_by, team_id and team, its name (null if the report is not grouped by it), the sums from requests to unreported in llm_usage_totals,
latency_p50_ms, latency_p95_ms, last_used_at and report_lines, the number of lines of the whole report.
The report covers the days from p_since (default: 30 days ago) to p_until, both included. It is grouped by p_bucket
(hour, day, month; null is the whole time) and by the columns in p_by (provider, model, task, key_source, key_id, recorded_by, team).
recorded_by is runtime, or user for usage that a user reported without a runtime; p_recorded_by selects one. Days
are those of p_time_zone, else of the user''s settings, else UTC; each UTC hour counts to the day in which it begins.
The newest lines come first; with p_order (cost, requests, tokens), the highest. p_limit is the most lines to return,
1000 by default and at most 10000: the report has more if report_lines is higher than the number of returned lines.
list_cost is the cost at the prices of the operator and the catalog.
cost is the known cost in US dollars, without unpriced and unreported attempts; null if no cost is known.
With p_team_id, a member gets their own usage of the team''s keys, owners and admins that of all members or of p_user_id;
p_by may contain user. Administrators get the usage of all users or of p_user_id, also of removed teams, and their p_by may
contain user. Grouping the project''s usage by user, team or key_id, or hours of a time zone other than UTC, reads more rows
and takes longer.
Errors: not_signed_in, invalid_argument, team_not_found.';
