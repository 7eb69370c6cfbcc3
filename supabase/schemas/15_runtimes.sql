-- Runtimes: the operator's processes that run requests for users. A runtime sends its secret in the header
-- x-llm-runtime together with the user's own credential; the secret alone gives no access.

create table llm_private.runtimes (
  id uuid primary key default llm_private.uuid_v7(),
  name text not null,
  -- A plain hash is enough, because the secret is 32 random bytes and cannot be guessed.
  secret_hash bytea not null unique,
  created_at timestamptz not null default now(),
  revoked_at timestamptz,
  last_seen_at timestamptz,
  previous_hash bytea unique,
  previous_until timestamptz
);

create unique index runtimes_name on llm_private.runtimes (name) where revoked_at is null;

comment on table llm_private.runtimes is 'Registered runtimes, with the SHA-256 of their secrets.';
comment on column llm_private.runtimes.previous_hash is
'The secret before the last rotation, which the runtime may also use until previous_until.';

alter table llm_private.runtimes enable row level security;

create type public.llm_runtime as (
  id uuid,
  name text,
  created_at timestamptz,
  revoked_at timestamptz,
  last_seen_at timestamptz,
  previous_until timestamptz
);

comment on type public.llm_runtime is 'A runtime as administrators see it, without its secret.';

-- Private helpers -----------------------------------------------------------------------------------------------------

create function llm_private.current_runtime(p_revoked boolean default false, p_note boolean default true)
returns uuid
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_secret text := nullif(current_setting('request.headers', true), '')::json ->> 'x-llm-runtime';
  v_runtime llm_private.runtimes;
begin
  if v_secret is null then
    return null;
  end if;
  -- A secret has 48 characters; longer headers are not hashed.
  if length(v_secret) <= 100 then
    select * into v_runtime from llm_private.runtimes
    where secret_hash = sha256(convert_to(v_secret, 'UTF8')) and (p_revoked or revoked_at is null);
    -- In a query of its own, because most runtimes send the newest secret.
    if not found then
      select * into v_runtime from llm_private.runtimes
      where
        previous_hash = sha256(convert_to(v_secret, 'UTF8'))
        and (p_revoked or revoked_at is null and previous_until > now());
    end if;
  end if;
  -- A wrong secret is an error rather than ignored, so that the operator notices a misconfigured process.
  if v_runtime.id is null then
    perform llm_private.fail(
      403, 'runtime_unknown', 'The runtime secret in x-llm-runtime is not registered or was revoked.',
      'Register the runtime again and configure the new secret.'
    );
  end if;
  -- Written at most once a minute, so that requests do not all write the same row.
  if p_note and (v_runtime.last_seen_at is null or v_runtime.last_seen_at < now() - interval '1 minute') then
    update llm_private.runtimes set last_seen_at = now()
    where id = (select id from llm_private.runtimes where id = v_runtime.id for update skip locked);
  end if;
  return v_runtime.id;
end
$$;

comment on function llm_private.current_runtime is
'The id of the runtime whose secret came with this request; null without a secret. With p_revoked, also a revoked one,
and one whose secret was replaced.
Notes that it was seen, unless p_note is false: then it only reads. Error runtime_unknown.';

create function llm_private.new_runtime_secret()
returns text
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select 'slr_' || translate(encode(extensions.gen_random_bytes(32), 'base64'), '+/=', '-_')
$$;

comment on function llm_private.new_runtime_secret is 'A new runtime secret of 32 random bytes.';

create function llm_private.register_runtime(p_name text)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_secret constant text := llm_private.new_runtime_secret();
  v_runtime llm_private.runtimes;
begin
  perform llm_private.require_plain_call('register_llm_runtime');
  if p_name is null or length(p_name) not between 1 and 100 then
    perform llm_private.fail(
      400, 'invalid_argument', 'p_name has an invalid value.', 'Allowed: 1 to 100 characters.'
    );
  end if;
  perform llm_private.add_month_partitions();
  insert into llm_private.runtimes (name, secret_hash)
  values (p_name, sha256(convert_to(v_secret, 'UTF8')))
  on conflict (name) where revoked_at is null do nothing
  returning * into v_runtime;
  if v_runtime.id is null then
    perform llm_private.fail(
      409, 'runtime_exists', 'A runtime of this name is registered.',
      'Choose another name, or rotate the secret of the runtime: rotate_llm_runtime().'
    );
  end if;
  perform llm_private.audit_operator(
    'runtime_registered', p_new => jsonb_build_object('name', p_name), p_runtime => v_runtime.id
  );
  return jsonb_build_object(
    'id', v_runtime.id, 'name', v_runtime.name, 'secret', v_secret, 'created_at', v_runtime.created_at
  );
end
$$;

comment on function llm_private.register_runtime is 'See register_llm_runtime().';

create function llm_private.lock_runtime(p_id uuid)
returns llm_private.runtimes
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_runtime llm_private.runtimes;
begin
  select * into v_runtime from llm_private.runtimes where id = p_id for update;
  if not found then
    perform llm_private.fail(404, 'not_found', 'Runtime not found.', 'list_llm_runtimes() returns all runtimes.');
  end if;
  return v_runtime;
end
$$;

comment on function llm_private.lock_runtime is 'A runtime, locked. Error not_found.';

create function llm_private.rotate_runtime(p_id uuid, p_overlap_seconds integer)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_secret constant text := llm_private.new_runtime_secret();
  v_runtime llm_private.runtimes;
begin
  perform llm_private.require_plain_call('rotate_llm_runtime');
  perform llm_private.check_value(
    'invalid_argument', p_overlap_seconds between 0 and 2592000, 'p_overlap_seconds', '0 to 2592000, which is 30 days'
  );
  v_runtime := llm_private.lock_runtime(p_id);
  if v_runtime.revoked_at is not null then
    perform llm_private.fail(404, 'not_found', 'This runtime was revoked.', 'Register a new runtime.');
  end if;
  update llm_private.runtimes
  set
    secret_hash = sha256(convert_to(v_secret, 'UTF8')),
    previous_hash = secret_hash,
    previous_until = now() + make_interval(secs => p_overlap_seconds)
  where id = p_id
  returning * into v_runtime;
  perform llm_private.audit_operator(
    'runtime_rotated', p_runtime => p_id,
    p_detail => jsonb_build_object('name', v_runtime.name, 'previous_until', v_runtime.previous_until)
  );
  return jsonb_build_object(
    'id', v_runtime.id, 'name', v_runtime.name, 'secret', v_secret, 'created_at', v_runtime.created_at,
    'previous_until', v_runtime.previous_until
  );
end
$$;

comment on function llm_private.rotate_runtime is 'See rotate_llm_runtime().';

create function llm_private.revoke_runtime(p_id uuid)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_runtime llm_private.runtimes;
begin
  perform llm_private.require_plain_call('revoke_llm_runtime');
  v_runtime := llm_private.lock_runtime(p_id);
  if v_runtime.revoked_at is null then
    update llm_private.runtimes set revoked_at = now() where id = p_id;
    perform llm_private.audit_operator(
      'runtime_revoked', p_old => jsonb_build_object('name', v_runtime.name), p_runtime => p_id
    );
  end if;
end
$$;

comment on function llm_private.revoke_runtime is 'See revoke_llm_runtime().';

create function llm_private.list_runtimes()
returns setof public.llm_runtime
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
  select
    r.id, r.name, r.created_at, r.revoked_at, r.last_seen_at,
    case when r.revoked_at is null and r.previous_until > now() then r.previous_until end
  from llm_private.runtimes as r
  order by r.id
$$;

comment on function llm_private.list_runtimes is 'All runtimes, without their secrets.';

-- Public RPCs ---------------------------------------------------------------------------------------------------------

create function public.register_llm_runtime(p_name text)
returns jsonb
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select llm_private.register_runtime(p_name)
$$;

comment on function public.register_llm_runtime is
'For administrators: register a runtime. Only this result contains its secret.
Errors: invalid_argument, runtime_exists.';

create function public.rotate_llm_runtime(p_id uuid, p_overlap_seconds integer default 86400)
returns jsonb
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select llm_private.rotate_runtime(p_id, p_overlap_seconds)
$$;

comment on function public.rotate_llm_runtime is
'For administrators: give a runtime a new secret, which only this result contains. Its processes may use the previous
secret for another p_overlap_seconds, by default for a day. Errors: invalid_argument, not_found.';

create function public.revoke_llm_runtime(p_id uuid)
returns void
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select llm_private.revoke_runtime(p_id)
$$;

comment on function public.revoke_llm_runtime is
'For administrators: revoke a runtime. It may use the keys that it holds until their lease ends. Error not_found.';

create function public.list_llm_runtimes()
returns setof public.llm_runtime
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select * from llm_private.list_runtimes()
$$;

comment on function public.list_llm_runtimes is
'For administrators: all runtimes, with when each was registered, revoked and last seen (to the minute), and until
when the secret before the last rotation is valid.';
