-- Refusals: how often a user's requests were refused before they reached a provider, and why.
--
-- The function that refuses a request cannot record that, because its transaction rolls back with the error. The client
-- reports refusals afterwards, in the background, under the user's own access token. A report is a count for each error
-- code of a closed list. So it holds no text, a user has at most one row per code and day, and users can only change
-- what is shown about themselves. What a client has not reported when it ends is lost.

create table llm_private.refusals (
  user_id uuid not null references auth.users (id) on delete cascade,
  day date not null,
  code text not null,
  refusals integer not null,
  last_at timestamptz not null,
  primary key (user_id, day, code)
);

create index refusals_day on llm_private.refusals (day);

comment on table llm_private.refusals is
'How many requests of a user were refused on a day (UTC) before they reached a provider, by error code, as the clients
report it. Maintenance keeps 30 days.';

alter table llm_private.refusals enable row level security;

create type public.llm_refusal as (
  code text,
  refusals bigint,
  users bigint,
  last_at timestamptz
);

comment on type public.llm_refusal is
'How many requests of how many users were refused with an error code, and when one was reported last.';

-- Private helpers -----------------------------------------------------------------------------------------------------

create function llm_private.refusal_codes()
returns text[]
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return '{
    account_banned,account_suspended,context_too_long,invalid_argument,key_unreadable,keys_rate_limited,
    master_key_missing,model_unpriced,no_candidate,no_usable_key,quota_exceeded,request_too_large,runtime_required,
    runtime_unknown,session_ended,total_timeout,unknown_model,unknown_provider,unsupported_request
  }'::text[];
end
$$;

comment on function llm_private.refusal_codes is 'The error codes that a client can report.';

create function llm_private.check_counts(p_name text, p_counts jsonb, p_allowed text[])
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  perform llm_private.check_size(p_name, p_counts, 4);
  perform llm_private.check_value(
    'invalid_argument', jsonb_typeof(p_counts) = 'object', p_name, 'an object with a count for each name'
  );
  perform llm_private.check_value(
    'invalid_argument',
    not exists (
      select from jsonb_each(p_counts) as c
      where
        c.key <> all(p_allowed) or jsonb_typeof(c.value) <> 'number'
        or c.value::text !~ '^[1-9][0-9]{0,5}$'
    ),
    p_name, 'counts from 1 to 999999 for ' || array_to_string(p_allowed, ', ')
  );
end
$$;

comment on function llm_private.check_counts is
'Error invalid_argument unless p_counts is an object with a count for some of the allowed names.';

create function llm_private.record_refusals(p_refusals jsonb)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  -- Not require_session(), because it refuses the suspended accounts whose refusals this counts.
  v_user constant uuid := llm_private.require_user();
begin
  perform llm_private.require_plain_call('record_llm_refusals');
  perform llm_private.check_counts('p_refusals', p_refusals, llm_private.refusal_codes());
  insert into llm_private.refusals as r (user_id, day, code, refusals, last_at)
  select v_user, (now() at time zone 'UTC')::date, c.key, c.value::integer, now()
  from jsonb_each(p_refusals) as c
  -- The order in which rows are locked.
  order by c.key
  on conflict (user_id, day, code) do update set
    refusals = least(r.refusals + excluded.refusals, 999999), last_at = excluded.last_at;
end
$$;

comment on function llm_private.record_refusals is 'See record_llm_refusals().';

create function llm_private.list_refusals(p_since date, p_until date, p_user_id uuid)
returns setof public.llm_refusal
language plpgsql
stable
security definer
rows 20
set search_path = pg_catalog, pg_temp
as $$
declare
  v_owner constant uuid := llm_private.acting_owner();
begin
  return query
  select r.code, sum(r.refusals), count(distinct r.user_id), max(r.last_at)
  from llm_private.refusals as r
  where
    (v_owner = llm_private.operator_id() and p_user_id is null
      or r.user_id = case when v_owner = llm_private.operator_id() then p_user_id else v_owner end)
    and (p_since is null or r.day >= p_since)
    and (p_until is null or r.day <= p_until)
  group by r.code
  order by max(r.last_at) desc, r.code;
end
$$;

comment on function llm_private.list_refusals is 'See list_llm_refusals().';

-- Public RPCs ---------------------------------------------------------------------------------------------------------

create function public.record_llm_refusals(p_refusals jsonb)
returns void
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select llm_private.record_refusals(p_refusals)
$$;

comment on function public.record_llm_refusals is
'Count requests of the caller that were refused before they reached a provider: {"no_usable_key": 2}, with error codes
that resolve_llm_route() and the client raise. Errors: not_signed_in, invalid_argument.';

create function public.list_llm_refusals(
  p_since date default null, p_until date default null, p_user_id uuid default null
)
returns setof public.llm_refusal
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select * from llm_private.list_refusals(p_since, p_until, p_user_id)
$$;

comment on function public.list_llm_refusals is
'How many of the caller''s requests were refused before they reached a provider, by error code, as clients report it, on
the days (UTC) from p_since to p_until; the last reported first. 30 days are kept. For administrators: those of p_user_id
or, without it, of all users. Error not_signed_in.';
