-- Foundation: the private schema, coded errors, time-ordered ids and month partitions.
--
-- Everything that an app may read lives in `public` under row level security. Its name contains `llm`, so that it does
-- not clash with the app's own names. Ciphertext and the functions that run with the owner's rights live in
-- `llm_private`, which PostgREST does not expose. A function in `public` runs with the caller's rights and calls
-- a function in `llm_private` where it needs more.
--
-- The project's default privileges stay as they are: 90_api.sql revokes every privilege on supa-llm's objects, and
-- grants by name what the API offers.

do $$
begin
  if to_regclass('vault.decrypted_secrets') is null then
    raise exception 'supa-llm needs Supabase Vault for its master key.'
      using hint = 'Enable the extension: create extension supabase_vault with schema vault;';
  end if;
end
$$;

do $$
begin
  -- Fails if this role cannot read them, or if a column is missing.
  perform u.id, u.email_confirmed_at, u.banned_until, u.deleted_at, u.is_anonymous, u.raw_user_meta_data
  from auth.users as u limit 1;
  perform s.id, s.user_id, s.not_after from auth.sessions as s limit 1;
exception when undefined_table or undefined_column or insufficient_privilege then
  raise exception 'supa-llm needs Supabase Auth of 2024 or later.'
    using hint = 'Upgrade Supabase Auth, and let postgres read auth.users and auth.sessions.', detail = sqlerrm;
end
$$;

create extension if not exists pgcrypto with schema extensions;

create schema llm_private;

comment on schema llm_private is
'supa-llm: ciphertext, and the functions that run with the owner''s rights. Not exposed through the API.';

-- Private helpers -----------------------------------------------------------------------------------------------------

create function llm_private.fail(
  p_status integer, p_code text, p_message text, p_hint text default null
)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  raise exception using
    errcode = 'PT' || p_status, message = p_message, detail = p_code, hint = coalesce(p_hint, '');
end
$$;

comment on function llm_private.fail is
'Raise a coded error: PostgREST turns SQLSTATE PTxyz into HTTP xyz, and detail is a stable code from docs/errors.md.';

-- Volatile, because the planner would run an immutable check with constant arguments before the checks above it.
create function llm_private.check_value(p_code text, p_ok boolean, p_name text, p_allowed text)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  -- The message omits the value, because a key pasted into the wrong field would end up in a log.
  if p_ok is not true then
    perform llm_private.fail(
      400, p_code, format('%s has an invalid value.', p_name), 'Allowed: ' || p_allowed || '.'
    );
  end if;
end
$$;

comment on function llm_private.check_value is
'Unless p_ok, raise an error with this code that names the value and the allowed values.';

-- A function's locks last until its transaction ends, and PostgREST computes the rest of a request in that transaction:
-- filters, casts and orders on the result, counts, other formats. A slow filter would hold up everyone who needs the
-- same rows. So functions that lock or write accept only the statement that PostgREST sends for a plain call. It is
-- compared as a whole, because words to forbid would never be complete. This is safe: names and literals from a request
-- are quoted, with quotes in them doubled, so they cannot spell the quoted names and literals below.
--
-- PostgREST 12.0 to 16.2 (callPlanToQuery, readPlanToQuery and prepareCall, since 14 mainCall) send the same text for a
-- function with one result, except for spaces before LIMIT. LIMIT and OFFSET are always there in a project with a
-- maximum of rows, so a request's own cannot be told apart; they compute nothing. Another function that calls this one,
-- such as pg_graphql's, which runs all mutations of a request in one transaction, has another name and is refused.
create function llm_private.require_plain_call(p_function text)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_query text collate "C";
  v_end text collate "C";
begin
  -- A direct connection may compute what it likes. An API with another login role still says which request it serves.
  if session_user <> 'authenticator' and coalesce(current_setting('request.method', true), '') = '' then
    return;
  end if;
  v_query := current_query();
  v_end := ltrim(split_part(
    v_query,
    ') pgrst_scalar) pgrst_call) SELECT null::bigint AS total_result_set, 1 AS page_total, '
    'coalesce(json_agg(_postgrest_t.pgrst_scalar)->0, ''null'') AS body, '
    'nullif(current_setting(''response.headers'', true), '''') AS response_headers, '
    'nullif(current_setting(''response.status'', true), '''') AS response_status, '''' AS response_inserted '
    'FROM (SELECT "' || p_function || '".* FROM "pgrst_source" AS "' || p_function || '"',
    2
  ));
  if v_query like 'WITH pgrst\_source AS (SELECT pgrst\_call.pgrst\_scalar FROM %'
    and (v_end like 'LIMIT $% OFFSET $%) \_postgrest\_t' or v_end = ') _postgrest_t') then
    return;
  end if;
  perform llm_private.fail(
    400, 'plain_call_required', format('%s() accepts only a plain call.', p_function),
    format('Send POST /rpc/%s without select, filters, order or count, and ask for JSON.', p_function)
  );
end
$$;

comment on function llm_private.require_plain_call is
'Error plain_call_required if a request through the API does more than call this public function. Call it first in every
function that locks or writes.';
-- Every RPC checks the size of its arguments first, because regular expressions, casts and indexes take long with
-- megabytes. docs/limits.md lists the limits.
create function llm_private.check_length(
  p_name text, p_value text, p_most integer, p_code text default 'invalid_argument'
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  if length(p_value) > p_most then
    perform llm_private.fail(
      400, p_code, format('%s is too long.', p_name), format('Allowed: at most %s characters.', p_most)
    );
  end if;
end
$$;

comment on function llm_private.check_length is
'If p_value has more than p_most characters, raise an error with p_code that names the argument and the limit.';

create function llm_private.check_size(
  p_name text, p_value jsonb, p_most_kb integer, p_code text default 'invalid_argument'
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  -- The size in memory, because a short number such as 1e100000 is long as text.
  if pg_column_size(p_value) > p_most_kb * 1024 then
    perform llm_private.fail(
      400, p_code, format('%s is too large.', p_name), format('Allowed: at most %s kB.', p_most_kb)
    );
  end if;
end
$$;

comment on function llm_private.check_size is
'If p_value has more than p_most_kb kilobytes, raise an error with p_code that names the argument and the limit.';

-- Counters, alerts and reservations name the owner of each row. Rows of the operator, and rows that all users share,
-- carry an id that no user has.
create function llm_private.operator_id()
returns uuid
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return '00000000-0000-0000-0000-000000000000'::uuid;
end
$$;

comment on function llm_private.operator_id is 'The id that stands for the operator as the owner of a row.';

-- Policies call this instead of auth.uid(), which accepts any UUID and raises an error for any other text. It raises
-- nothing, because Realtime evaluates policies for all subscribers in one transaction. It looks up the account, because
-- a JWT outlives it; this takes 5 microseconds.
create function llm_private.user_id()
returns uuid
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_user uuid;
begin
  begin
    v_user := (auth.jwt() ->> 'sub')::uuid;
  exception when invalid_text_representation then
    return null;
  end;
  perform from auth.users as u
  where u.id = v_user and u.id <> llm_private.operator_id() and u.deleted_at is null;
  return case when found then v_user end;
end
$$;

comment on function llm_private.user_id is
'The id of the signed-in user; null without a user''s token, or if Supabase Auth has no account for it.';

-- For `Prefer: count=planned` and `count=estimated`, PostgREST returns the planner's estimate, which is based on the
-- rows of all users: with a filter on user_id, it shows how many rows another user has. Declared immutable, so that the
-- planner evaluates the function while it plans the EXPLAIN, and so that queries do not evaluate it for each row.
create function llm_private.is_not_estimate()
returns boolean
language plpgsql
immutable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  -- request.path: an administrator may run EXPLAIN as another role in psql.
  if current_query() ~* '^\s*explain' and current_setting('request.path', true) <> '' then
    perform llm_private.fail(
      400, 'invalid_argument', 'Estimates of this table''s rows are not available.', 'Use Prefer: count=exact.'
    );
  end if;
  return true;
end
$$;

comment on function llm_private.is_not_estimate is
'Always true. Error invalid_argument if PostgREST asks for the planner''s estimate of a user''s rows.';

create function llm_private.refuse_user()
returns void
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_sub constant text := auth.jwt() ->> 'sub';
begin
  if v_sub is null then
    perform llm_private.fail(401, 'not_signed_in', 'You are not signed in.', 'Sign in and try again.');
  elsif v_sub !~* '^\{?([0-9a-f]{4}-?){8}\}?$' then
    -- Signing in again would not help, so this is another code.
    perform llm_private.fail(
      403, 'third_party_account', 'This access token is not of an account of Supabase Auth.',
      'supa-llm does not support third-party auth: its users must be accounts of this project''s Supabase Auth.'
    );
  end if;
  perform llm_private.fail(
    401, 'not_signed_in', 'The account of this access token does not exist or was deleted.',
    'Sign in again, with an account of this project''s Supabase Auth.'
  );
end
$$;

comment on function llm_private.refuse_user is
'Raise not_signed_in or third_party_account for a caller for whom user_id() is null.';

create function llm_private.require_user()
returns uuid
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_user constant uuid := llm_private.user_id();
begin
  if v_user is null then
    perform llm_private.refuse_user();
  end if;
  return v_user;
end
$$;

comment on function llm_private.require_user is
'The id of the signed-in user. Error not_signed_in without one, or if the account was deleted.';

-- In this file, because require_session() reads it for every route.
create table llm_private.suspended_users (
  user_id uuid primary key references auth.users (id) on delete cascade,
  suspended_at timestamptz not null default now(),
  reason text
);

comment on table llm_private.suspended_users is
'Users who get no routes and reveal no keys; written by set_llm_user_suspended() only.';
comment on column llm_private.suspended_users.reason is 'The operator''s note; users do not see it.';

alter table llm_private.suspended_users enable row level security;

create function llm_private.refuse_account(p_banned_until timestamptz, p_suspended boolean)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_banned_until > now() then
    perform llm_private.fail(403, 'account_banned', 'This account is banned.', 'Contact the app''s support.');
  elsif p_suspended then
    perform llm_private.fail(
      403, 'account_suspended', 'This account is suspended from using models.', 'Contact the app''s support.'
    );
  end if;
end
$$;

comment on function llm_private.refuse_account is
'Error account_banned or account_suspended for an account that is.';

create function llm_private.check_account(p_user uuid)
returns void
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform llm_private.refuse_account(
    (select u.banned_until from auth.users as u where u.id = p_user),
    exists (select from llm_private.suspended_users as s where s.user_id = p_user)
  );
end
$$;

comment on function llm_private.check_account is
'Error account_banned or account_suspended for a user whose account is.';

create function llm_private.is_anonymous(p_user uuid)
returns boolean
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  return (select u.is_anonymous from auth.users as u where u.id = p_user);
end
$$;

comment on function llm_private.is_anonymous is 'Whether a user signed in anonymously.';

-- A JWT also outlives a ban and a sign-out. Whatever gives out keys or the operator's budget calls this instead of
-- require_user(). Recording does not, so that the usage of requests that already ran is counted.
--
-- Every route calls it, so it reads the claims once instead of calling require_user(), which saves 7 microseconds. For
-- a token without a session, the planner would prefer a plan for that value, and make it in each call. It would also
-- read small tables whole.
create function llm_private.require_session()
returns uuid
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
  v_claims constant jsonb := auth.jwt();
  v_user uuid;
  v_session uuid;
  v_banned_until timestamptz;
  v_lasts boolean;
  v_suspended boolean;
begin
  begin
    v_user := (v_claims ->> 'sub')::uuid;
    v_session := (v_claims ->> 'session_id')::uuid;
  exception when invalid_text_representation then
    -- Tokens that Supabase Auth did not issue may name a session of another kind, or none.
    null;
  end;
  -- One query, because each takes some microseconds to start.
  select
    u.banned_until,
    v_session is null or exists (
      select from auth.sessions as s
      where s.id = v_session and s.user_id = v_user and (s.not_after is null or s.not_after > now())
    ),
    exists (select from llm_private.suspended_users as x where x.user_id = v_user)
  into v_banned_until, v_lasts, v_suspended
  from auth.users as u
  where u.id = v_user and u.id <> llm_private.operator_id() and u.deleted_at is null;
  if not found then
    perform llm_private.refuse_user();
  elsif v_banned_until > now() or v_suspended then
    perform llm_private.refuse_account(v_banned_until, v_suspended);
  elsif not v_lasts then
    perform llm_private.fail(401, 'session_ended', 'This session has ended.', 'Sign in again.');
  end if;
  return v_user;
end
$$;

comment on function llm_private.require_session is
'The id of the signed-in user, whose account is neither banned nor suspended and whose session has not ended.
Errors: not_signed_in, account_banned, account_suspended, session_ended.';

-- PostgREST switches to the role of the caller's API key. This setting still names it inside a definer function.
create function llm_private.acting_owner()
returns uuid
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  if current_setting('role') = 'service_role' then
    return llm_private.operator_id();
  end if;
  return llm_private.require_user();
end
$$;

comment on function llm_private.acting_owner is
'Whose rows an RPC for both users and administrators is about: the signed-in user''s or, with a secret key, the
operator''s. Error not_signed_in.';

-- PostgreSQL 17 has no uuidv7(). This one is the time in milliseconds, the version 7, the rest of the time in 1/4096 of
-- a millisecond, and the second half of a random UUID.
create function llm_private.uuid_v7()
returns uuid
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_microseconds constant bigint := extract(epoch from clock_timestamp()) * 1000000;
begin
  return (
    lpad(to_hex(v_microseconds / 1000), 12, '0')
    || to_hex(x'7000'::integer + v_microseconds % 1000 * 4096 / 1000)
    || right(gen_random_uuid()::text, 17)
  )::uuid;
end
$$;

comment on function llm_private.uuid_v7 is
'A new UUIDv7: ids sort by time, so an id alone determines its month partition.';

-- plpgsql, because functions on the hot path must keep their plans: an SQL function with a search_path is planned in
-- every call, which makes a call of this one take 33 instead of 11 microseconds.
create function llm_private.uuid_v7_time(p_id uuid)
returns timestamptz
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return to_timestamp(('x' || translate(left(p_id::text, 13), '-', ''))::bit(48)::bigint / 1000.0);
end
$$;

comment on function llm_private.uuid_v7_time is 'The time in a UUIDv7, to the millisecond.';

create function llm_private.first_uuid_v7(p_at timestamptz)
returns uuid
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select (lpad(to_hex((extract(epoch from p_at) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
$$;

comment on function llm_private.first_uuid_v7 is
'The smallest UUIDv7 of a moment: the bound of a partition or of a search by time.';

-- Append-only tables are partitioned by month on a UUIDv7. Partitions live in llm_private, so that the API cannot read
-- them past the row level security of their parent. A default partition takes rows whose month has no partition yet, so
-- that recording never fails; creating the month later moves those rows. Recording into the default partition at that
-- very moment fails, so only the database's owner should create a month that is being recorded.
create function llm_private.add_month_partition(p_table text, p_column text, p_month date)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_partition text := p_table || '_' || to_char(p_month, 'YYYY_MM');
  -- Cast to a plain timestamp, because date_trunc() of a date uses the session's time zone.
  v_month timestamp := date_trunc('month', p_month::timestamp);
  v_from uuid := llm_private.first_uuid_v7(v_month at time zone 'UTC');
  v_to uuid := llm_private.first_uuid_v7((v_month + interval '1 month') at time zone 'UTC');
begin
  if to_regclass(format('llm_private.%I', v_partition)) is not null then
    return;
  end if;
  execute format('create table llm_private.%I (like public.%I including all)', v_partition, p_table);
  execute format(
    'revoke all on table llm_private.%I from public, anon, authenticated, service_role', v_partition
  );
  execute format('alter table llm_private.%I enable row level security', v_partition);
  -- A row that is added to the default partition after the move would prevent the attachment.
  execute format('lock table llm_private.%I in access exclusive mode', p_table || '_default');
  execute format(
    'with moved as (delete from llm_private.%I where %I >= %L and %I < %L returning *) '
    'insert into llm_private.%I select * from moved',
    p_table || '_default', p_column, v_from, p_column, v_to, v_partition
  );
  execute format(
    'alter table public.%I attach partition llm_private.%I for values from (%L) to (%L)',
    p_table, v_partition, v_from, v_to
  );
end
$$;

comment on function llm_private.add_month_partition is
'Create the partition of an append-only table for one month, unless it exists.';

create function llm_private.add_month_partitions()
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '250ms'
as $$
declare
  v_months constant integer := 3;
  v_month date;
begin
  if to_regclass('llm_private.llm_usage_events_' || to_char(
    (now() at time zone 'UTC') + make_interval(months => v_months), 'YYYY_MM'
  )) is not null then
    return;
  end if;
  -- One at a time: the other call creates the same partitions, so there is nothing to wait for.
  if not pg_try_advisory_xact_lock(hashtext('llm_private.add_month_partitions')) then
    return;
  end if;
  for i in 1..v_months loop
    v_month := ((now() at time zone 'UTC') + make_interval(months => i))::date;
    perform llm_private.add_month_partition('llm_usage_events', 'request_id', v_month);
    perform llm_private.add_month_partition('llm_audit_log', 'id', v_month);
  end loop;
exception when lock_not_available then
  -- A sign-in must not wait for a long report. A later call creates the months, and the default partition covers for them.
  null;
end
$$;

comment on function llm_private.add_month_partitions is
'Create the partitions of the next three months, unless another transaction holds the tables. Called off the hot path:
when a user calls for the first time and when a runtime is registered. A project with pg_cron may call it daily.';
