-- Runtimes: the operator's processes that run requests for users. A runtime sends its secret in the header
-- x-llm-runtime together with the user's own credential; the secret alone gives no access.

create table llm_private.runtimes (
  id uuid primary key default llm_private.uuid_v7(),
  name text not null,
  -- A plain hash is enough, because the secret is 32 random bytes and cannot be guessed.
  secret_hash bytea not null unique,
  created_at timestamptz not null default now(),
  revoked_at timestamptz,
  last_seen_at timestamptz
);

comment on table llm_private.runtimes is 'Registered runtimes, with the SHA-256 of their secrets.';

alter table llm_private.runtimes enable row level security;

create type public.llm_runtime as (
  id uuid,
  name text,
  created_at timestamptz,
  revoked_at timestamptz,
  last_seen_at timestamptz
);

comment on type public.llm_runtime is 'A runtime as administrators see it, without its secret.';

-- Private helpers -----------------------------------------------------------------------------------------------------

create function llm_private.current_runtime(p_revoked boolean default false)
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
  select * into v_runtime from llm_private.runtimes
  where secret_hash = sha256(convert_to(v_secret, 'UTF8')) and (p_revoked or revoked_at is null);
  -- A wrong secret is an error rather than ignored, so that the operator notices a misconfigured process.
  if not found then
    perform llm_private.fail(
      403, 'runtime_unknown', 'The runtime secret in x-llm-runtime is not registered or was revoked.',
      'Register the runtime again and configure the new secret.'
    );
  end if;
  -- Written at most once a minute, so that requests do not all write the same row.
  if v_runtime.last_seen_at is null or v_runtime.last_seen_at < now() - interval '1 minute' then
    update llm_private.runtimes set last_seen_at = now()
    where id = (select id from llm_private.runtimes where id = v_runtime.id for update skip locked);
  end if;
  return v_runtime.id;
end
$$;

comment on function llm_private.current_runtime is
'The id of the runtime whose secret came with this request; null without a secret. With p_revoked, also a revoked one.
Error runtime_unknown.';

create function llm_private.register_runtime(p_name text)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_secret text := 'slr_' || translate(encode(extensions.gen_random_bytes(32), 'base64'), '+/=', '-_');
  v_runtime llm_private.runtimes;
begin
  if p_name is null or length(p_name) not between 1 and 100 then
    perform llm_private.fail(
      400, 'invalid_argument', 'p_name has an invalid value.', 'Allowed: 1 to 100 characters.'
    );
  end if;
  perform llm_private.add_month_partitions();
  insert into llm_private.runtimes (name, secret_hash)
  values (p_name, sha256(convert_to(v_secret, 'UTF8')))
  returning * into v_runtime;
  return jsonb_build_object(
    'id', v_runtime.id, 'name', v_runtime.name, 'secret', v_secret, 'created_at', v_runtime.created_at
  );
end
$$;

comment on function llm_private.register_runtime is
'Register a runtime. Only this result contains its secret. Error invalid_argument.';

create function llm_private.revoke_runtime(p_id uuid)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  update llm_private.runtimes set revoked_at = coalesce(revoked_at, now()) where id = p_id;
  if not found then
    perform llm_private.fail(404, 'not_found', 'Runtime not found.', 'list_llm_runtimes() returns all runtimes.');
  end if;
end
$$;

comment on function llm_private.revoke_runtime is 'Revoke a runtime''s secret. Error not_found.';

create function llm_private.list_runtimes()
returns setof public.llm_runtime
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
  select r.id, r.name, r.created_at, r.revoked_at, r.last_seen_at from llm_private.runtimes as r order by r.id
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
'For administrators: register a runtime. Its secret is returned only once. Error invalid_argument.';

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
'For administrators: all runtimes, with when each was registered, revoked and last seen (to the minute).';
