-- Key checks: a runtime sends a request to the provider to find out whether a key works, and records the result. The
-- browser never calls the provider. Checks are limited, so that stolen keys cannot be tried out through an app.

create table llm_private.key_checks (
  user_id uuid not null references auth.users (id) on delete cascade,
  id uuid not null default llm_private.uuid_v7(),
  provider text not null,
  owner_id uuid,
  key_id uuid,
  runtime_id uuid,
  holder text not null,
  granted_in xid8 not null default pg_current_xact_id(),
  begun_at timestamptz not null default clock_timestamp(),
  settled_at timestamptz,
  primary key (user_id, id)
);

comment on table llm_private.key_checks is
'Key checks of the last hour. Without key_id, the check was of a key that is not stored; nothing of it is kept.';
comment on column llm_private.key_checks.owner_id is 'The owner of the stored key: the user, or a team of theirs.';

comment on column llm_private.key_checks.holder is 'See key_holder().';
comment on column llm_private.key_checks.granted_in is
'The transaction that wrote the row. Only a later transaction returns the key.';

alter table llm_private.key_checks enable row level security;

-- Private helpers -----------------------------------------------------------------------------------------------------

create function llm_private.add_key_check(
  p_user uuid, p_runtime uuid, p_holder text, p_provider text, p_stored public.llm_keys
)
returns uuid
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_most constant integer := 10;
  v_window constant interval := interval '10 minutes';
  v_check uuid;
  v_free_at timestamptz;
begin
  perform llm_private.ensure_settings(p_user);
  -- Serializes concurrent calls, so that together they cannot pass the limit.
  perform 1 from public.user_llm_settings where user_id = p_user for update;
  delete from llm_private.key_checks where user_id = p_user and begun_at < clock_timestamp() - interval '1 hour';
  select c.begun_at + v_window into v_free_at
  from llm_private.key_checks as c
  where c.user_id = p_user and c.begun_at > clock_timestamp() - v_window
  order by c.begun_at desc
  offset v_most - 1 limit 1;
  if found then
    perform llm_private.fail(
      429, 'too_many_key_checks', format('You have checked %s keys within 10 minutes.', v_most),
      format('Try again in %s seconds.', ceil(extract(epoch from v_free_at - clock_timestamp()))::integer)
    );
  end if;
  insert into llm_private.key_checks (user_id, provider, owner_id, key_id, runtime_id, holder)
  values (p_user, p_provider, p_stored.owner_id, p_stored.id, p_runtime, p_holder)
  returning id into v_check;
  perform llm_private.audit(
    coalesce(p_stored.owner_id, p_user), 'key_checked', p_provider, p_stored.id, p_runtime,
    jsonb_strip_nulls(
      jsonb_build_object(
        'by', case when p_stored.owner_id <> p_user then p_user end, 'hint', p_stored.hint, 'check', v_check
      )
    )
  );
  return v_check;
end
$$;

comment on function llm_private.add_key_check is
'Count and record a check of a stored key or, if p_stored is null, of a typed one. Error too_many_key_checks.';

create function llm_private.added_key_check(p_user uuid, p_holder text, p_body json)
returns llm_private.key_checks
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_check llm_private.key_checks;
begin
  if exists (select from json_object_keys(p_body) as k where k <> 'check_id') then
    perform llm_private.fail(
      400, 'invalid_argument', 'The body has an unknown field.', 'Allowed with check_id: no other field.'
    );
  end if;
  select * into v_check from llm_private.key_checks as c
  where
    c.user_id = p_user and c.id::text = p_body ->> 'check_id' and c.holder = p_holder and c.settled_at is null
    and c.begun_at > clock_timestamp() - interval '1 minute';
  if not found then
    perform llm_private.fail(
      404, 'not_found', 'Key check not found, or it began more than a minute ago.', 'Begin another check.'
    );
  end if;
  return v_check;
end
$$;

comment on function llm_private.added_key_check is
'The check {"check_id": "…"} that this holder began within the last minute. Errors: invalid_argument, not_found.';

create function llm_private.begin_key_check(p_body json)
returns json
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_user constant uuid := llm_private.require_session();
  v_runtime constant uuid := llm_private.current_runtime();
  v_holder constant text := llm_private.key_holder(v_user, v_runtime);
  v_owner uuid := v_user;
  v_operator llm_private.operator_settings;
  v_provider public.llm_providers;
  v_check llm_private.key_checks;
  v_stored public.llm_keys;
begin
  perform llm_private.require_plain_call('begin_llm_key_check');
  if llm_private.is_readable_body(p_body) and p_body -> 'check_id' is not null then
    v_check := llm_private.added_key_check(v_user, v_holder, p_body);
    select * into strict v_provider from public.llm_providers where id = v_check.provider;
    v_owner := coalesce(v_check.owner_id, v_user);
  else
    v_provider := llm_private.read_key_body(
      p_body, array['provider', case when p_body -> 'key' is null then 'team_id' else 'key' end], false
    );
    if p_body -> 'team_id' is not null then
      v_owner := llm_private.body_team(p_body);
    end if;
  end if;
  if v_owner <> v_user then
    -- At each call, because a role can change between them.
    perform llm_private.require_team_role(v_owner, v_user, '{owner,admin}');
    perform llm_private.require_runtime(v_runtime, 'team');
  end if;
  if v_check.key_id is not null or v_check.id is null and p_body ->> 'key' is null then
    select * into strict v_operator from llm_private.operator_settings;
    perform llm_private.require_readable_keys(v_runtime, v_operator);
    v_stored := llm_private.own_key(v_owner, v_provider.id);
  end if;
  -- A key that was replaced since the first call needs a check of its own.
  if v_check.id is null or v_check.key_id is distinct from v_stored.id then
    return json_build_object(
      'again', true, 'check_id', llm_private.add_key_check(v_user, v_runtime, v_holder, v_provider.id, v_stored)
    );
  elsif v_check.granted_in is not distinct from pg_current_xact_id_if_assigned() then
    return json_build_object('again', true, 'check_id', v_check.id);
  end if;
  return json_build_object(
    'check_id', v_check.id, 'provider', v_provider.id, 'base_url', v_provider.base_url,
    'wire_format', v_provider.wire_format, 'key_header', v_provider.key_header, 'key_scheme', v_provider.key_scheme,
    'key_check_path', v_provider.key_check_path, 'key_id', v_stored.id,
    'key', case when v_stored.id is not null then llm_private.stored_key(v_owner, v_stored.id) end
  );
end
$$;

comment on function llm_private.begin_key_check is 'See begin_llm_key_check().';

create function llm_private.record_key_check(p_check_id uuid, p_result text, p_retry_after double precision)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_user constant uuid := llm_private.require_user();
  v_runtime constant uuid := llm_private.current_runtime();
  v_check llm_private.key_checks;
  v_owner uuid;
begin
  perform llm_private.require_plain_call('record_llm_key_check');
  perform llm_private.check_value(
    'invalid_argument', p_result in ('works', 'rejected', 'unknown'), 'p_result', 'works, rejected or unknown'
  );
  -- Only the runtime that began a check can record its result.
  update llm_private.key_checks as c set settled_at = clock_timestamp()
  where
    c.user_id = v_user and c.id = p_check_id and c.settled_at is null
    and c.runtime_id is not distinct from v_runtime and c.begun_at > clock_timestamp() - interval '10 minutes'
  returning c.* into v_check;
  if not found then
    perform llm_private.fail(
      404, 'not_found', 'Key check not found, or its result is already recorded.', 'Begin another check.'
    );
  end if;
  v_owner := coalesce(v_check.owner_id, v_user);
  if p_result = 'works' then
    -- Unlike a request, a check may begin after the key was rejected, so its result replaces that status.
    update public.llm_keys as k
    set status = 'working', rate_limited_until = null, out_of_credit_until = null, rate_limited_models = '{}'
    where
      k.owner_id = v_owner and k.id = v_check.key_id
      and (k.status <> 'working' or llm_private.key_rests_until(k) is not null);
  elsif p_result = 'rejected' then
    perform llm_private.note_key_outcome(v_owner, v_check.key_id, null, 'failed', 'auth', null);
  elsif p_retry_after is not null then
    perform llm_private.note_key_outcome(v_owner, v_check.key_id, null, 'failed', 'rate_limited', p_retry_after);
  end if;
  -- An entry of its own, because the log is append-only, and the first one had to be there before the key left.
  perform llm_private.audit(
    v_owner, 'key_check_result', v_check.provider, v_check.key_id, v_runtime,
    jsonb_strip_nulls(
      jsonb_build_object(
        'by', case when v_owner <> v_user then v_user end,
        'hint', (select k.hint from public.llm_keys as k where k.owner_id = v_owner and k.id = v_check.key_id),
        'check', v_check.id, 'result', p_result
      )
    )
  );
  return (
    select llm_private.key_json(k) from public.llm_keys as k where k.owner_id = v_owner and k.id = v_check.key_id
  );
end
$$;

comment on function llm_private.record_key_check is 'See record_llm_key_check().';

-- Public RPCs ---------------------------------------------------------------------------------------------------------

-- One unnamed json parameter, for the same reason as in set_llm_key().
create function public.begin_llm_key_check(json)
returns json
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select llm_private.begin_key_check($1)
$$;

comment on function public.begin_llm_key_check is
'For runtimes: begin a check of the caller''s key. {"provider": "groq"} checks the stored key, and {"provider": "groq",
"team_id": "…"} that of a team, for its owners and admins. {"provider": "groq", "key": "gsk_…"} checks a key that is not stored: its format is checked, and nothing of it is kept. Records the check in the
audit log and returns {"again": true, "check_id": "…"}. Then, within a minute and in a transaction of its own,
{"check_id": "…"} returns where and how to send the request, with the stored key in plain text; if the key was replaced
meanwhile, it begins another check. At most 10 checks in 10 minutes.
Errors: not_signed_in, account_banned, account_suspended, session_ended, runtime_unknown,
runtime_required, key_malformed, unknown_provider, team_not_found, team_role_required, invalid_argument, key_not_found, not_found, key_unreadable,
too_many_key_checks.';

create function public.record_llm_key_check(
  p_check_id uuid, p_result text, p_retry_after double precision default null
)
returns jsonb
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select llm_private.record_key_check(p_check_id, p_result, p_retry_after)
$$;

comment on function public.record_llm_key_check is
'Record the result of a key check on the stored key and in the audit log: works, rejected or unknown;
p_retry_after: the seconds that the provider asked to wait. Once per check, within 10 minutes, by the runtime that began it. Returns the key as
list_llm_keys() does; null if the key is not stored or was replaced.
Errors: not_signed_in, runtime_unknown, invalid_argument, not_found.';
