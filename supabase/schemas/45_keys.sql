-- Provider keys: what their owners can see of them and, out of reach, the ciphertext.
--
-- Each key is encrypted with the data key of its owner: see 44_key_owners.sql.
--
-- A key leaves only under a record that is already committed. The transaction that returns a key cannot record that,
-- because its caller can roll it back: PostgREST applies filters, orders and casts to a result, and an error in them
-- undoes the record and, by its presence, reveals the key. So the first call writes a grant (a lease, reveal or key
-- check) and the audit log's entry, and returns {"again": true} without reading the key. A call in a later transaction
-- finds the grant and returns the key. One transaction can call several functions, so a grant stores the transaction
-- that wrote it in granted_in. The row's xmin would not do, because a subtransaction has a number of its own.

create table public.llm_keys (
  owner_id uuid not null references llm_private.key_owners (id) on delete cascade,
  id uuid not null default gen_random_uuid(),
  provider text not null references public.llm_providers (id),
  hint text not null,
  status text not null default 'untested' check (status in ('untested', 'working', 'rejected', 'unreadable')),
  rate_limited_until timestamptz,
  created_at timestamptz not null default now(),
  out_of_credit_until timestamptz,
  rate_limited_models jsonb not null default '{}',
  primary key (owner_id, id),
  unique (owner_id, provider)
);

create index llm_keys_provider on public.llm_keys (provider);

comment on table public.llm_keys is 'What users see of their stored keys. Replacing a key adds a new row.';
comment on column public.llm_keys.owner_id is 'The user or team whose key it is. Users read only their own keys.';
comment on column public.llm_keys.hint is 'The masked key: its first and last few characters.';
comment on column public.llm_keys.status is
'Result of the last attempt with the key: untested, working or rejected; unreadable if a master key was lost.';
comment on column public.llm_keys.rate_limited_until is
'Until when the provider asked to wait for the key as a whole, in a key check.';
comment on column public.llm_keys.out_of_credit_until is
'Until when the key rests because the provider reported that its account has no credit left.';
comment on column public.llm_keys.rate_limited_models is
'Model → until when the provider asked to wait for it. At most 20 models; those whose time is over may still be there.';

create table llm_private.key_secrets (
  owner_id uuid not null,
  key_id uuid not null,
  ciphertext bytea not null,
  primary key (owner_id, key_id),
  foreign key (owner_id, key_id) references public.llm_keys (owner_id, id) on delete cascade
);

comment on table llm_private.key_secrets is
'The keys, encrypted with their owner''s data key. Each plaintext contains its key id and owner.';

create table llm_private.key_reveals (
  owner_id uuid not null,
  key_id uuid not null,
  holder text not null,
  granted_in xid8 not null default pg_current_xact_id(),
  expires_at timestamptz not null,
  primary key (owner_id, key_id, holder),
  foreign key (owner_id, key_id) references public.llm_keys (owner_id, id) on delete cascade
);

comment on table llm_private.key_reveals is
'Reveals that are on the audit log, whose key was not returned yet. Returning the key deletes the row.';
comment on column llm_private.key_reveals.holder is 'See key_holder().';
comment on column llm_private.key_reveals.granted_in is
'The transaction that wrote the row. Only a later transaction returns the key.';

alter table public.llm_keys enable row level security;
alter table llm_private.key_secrets enable row level security;
alter table llm_private.key_reveals enable row level security;

create policy "users read their own keys" on public.llm_keys
for select to authenticated using (llm_private.is_not_estimate() and owner_id = (select llm_private.user_id()));

-- Private helpers -----------------------------------------------------------------------------------------------------

create function llm_private.encrypt_key(p_owner uuid, p_key_id uuid, p_key text, p_data_key text)
returns bytea
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select extensions.pgp_sym_encrypt(
    p_key_id || ':' || p_owner || ':' || p_key, p_data_key, 'cipher-algo=aes256, s2k-mode=1, s2k-digest-algo=sha256'
  )
$$;

comment on function llm_private.encrypt_key is 'Encrypt a key and bind the ciphertext to its id and owner.';

create function llm_private.decrypt_key(p_owner uuid, p_key_id uuid, p_ciphertext bytea, p_data_key text)
returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_binding constant text := p_key_id || ':' || p_owner || ':';
  v_payload text;
begin
  begin
    v_payload := extensions.pgp_sym_decrypt(p_ciphertext, p_data_key);
  exception when others then
    v_payload := null;
  end;
  -- Refuses a ciphertext that was copied to another row.
  if v_payload is null or not starts_with(v_payload, v_binding) then
    perform llm_private.fail_unreadable();
  end if;
  return substr(v_payload, length(v_binding) + 1);
end
$$;

comment on function llm_private.decrypt_key is
'Decrypt a key. Error key_unreadable if the data key is wrong or the ciphertext belongs to another row.';

create function llm_private.resting_models(p_rests jsonb)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_rests = '{}' then
    return p_rests;
  end if;
  return (
    select coalesce(jsonb_object_agg(r.key, r.value), '{}') from (
      select e.* from jsonb_each(p_rests) as e
      where (e.value #>> '{}')::timestamptz > now()
      order by (e.value #>> '{}')::timestamptz desc
      limit 20
    ) as r
  );
end
$$;

comment on function llm_private.resting_models is
'Those of rate_limited_models whose time is not over: at most 20, those with the longest waits.';

create function llm_private.key_rests_until(p_key public.llm_keys)
returns timestamptz
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return greatest(
    case when p_key.out_of_credit_until > now() then p_key.out_of_credit_until end,
    case when p_key.rate_limited_until > now() then p_key.rate_limited_until end,
    (
      select max((e.value #>> '{}')::timestamptz)
      from jsonb_each(llm_private.resting_models(p_key.rate_limited_models)) as e
    )
  );
end
$$;

comment on function llm_private.key_rests_until is
'Until when a key or one of its models is rate-limited or out of credit; null if it is not.';

create function llm_private.key_json(p_key public.llm_keys)
returns jsonb
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object(
    'id', p_key.id,
    'provider', p_key.provider,
    'hint', p_key.hint,
    'status', case
      when p_key.status in ('rejected', 'unreadable') then p_key.status
      when p_key.out_of_credit_until > now() then 'out_of_credit'
      when llm_private.key_rests_until(p_key) is not null then 'rate_limited'
      else p_key.status
    end,
    'rests_until', llm_private.key_rests_until(p_key),
    'rate_limited_models', (
      select coalesce(jsonb_agg(m order by m), '[]')
      from jsonb_object_keys(llm_private.resting_models(p_key.rate_limited_models)) as m
    ),
    'created_at', p_key.created_at,
    'last_used_at', (
      select max(t.last_used_at) from public.llm_usage_totals as t
      where t.user_id = p_key.owner_id and t.hour >= date_trunc('hour', p_key.created_at, 'UTC') and t.key_id = p_key.id
    )
  )
$$;

comment on function llm_private.key_json is 'A key as its owner sees it.';

-- Messages name the violated rule and never repeat any part of the key.
create function llm_private.validate_key(p_key text, p_provider public.llm_providers)
returns void
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_wrong text;
begin
  v_wrong := case
    when length(p_key) > 512 then 'it is longer than 512 characters'
    when p_key ~ '[[:space:]]' then 'it contains a space or a line break'
    when p_key !~ '^[!-~]*$' then 'it contains an invalid character'
    when length(p_key) < 8 then 'it is shorter than 8 characters'
    when p_key !~ p_provider.key_pattern then 'it does not look like a ' || p_provider.name || ' key'
  end;
  if v_wrong is not null then
    perform llm_private.fail(
      400, 'key_malformed', format('The key was not stored: %s.', v_wrong),
      case
        when p_provider.key_example <> ''
          then
          format('A %s key looks like %s. Copy the whole key.', p_provider.name, p_provider.key_example)
        else format('Copy the key again from %s.', p_provider.name)
      end
    );
  end if;
end
$$;

comment on function llm_private.validate_key is
'Error key_malformed unless this can be a key of the provider; the message does not repeat the key.';

create function llm_private.is_readable_body(p_body json)
returns boolean
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return coalesce(
    octet_length(p_body::text) <= 8192 and p_body::text !~ '\\u' and json_typeof(p_body) = 'object', false
  );
end
$$;

comment on function llm_private.is_readable_body is
'Whether a body is a short object without escapes. PostgreSQL''s own error about an invalid escape would print the line
with the key to the server log.';

create function llm_private.read_key_body(p_body json, p_fields text[], p_key_needed boolean)
returns public.llm_providers
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_provider public.llm_providers;
begin
  if
    not llm_private.is_readable_body(p_body)
    or json_typeof(p_body -> 'provider') is distinct from 'string'
    or coalesce(json_typeof(p_body -> 'key'), case when not p_key_needed then 'string' end) is distinct from 'string'
  then
    perform llm_private.fail(
      400, 'key_malformed', 'The key was not stored: it is too long or contains an invalid character.',
      'Send {"provider": "…", "key": "…"}, at most 8192 bytes, with the key exactly as the provider shows it.'
    );
  end if;
  if exists (select from json_object_keys(p_body) as k where k <> all(p_fields)) then
    perform llm_private.fail(
      400, 'invalid_argument', 'The body has an unknown field.', 'Allowed: ' || array_to_string(p_fields, ', ') || '.'
    );
  end if;
  -- The message omits the provider's name, because provider and key may be mixed up.
  select * into v_provider from public.llm_providers where id = p_body ->> 'provider';
  if not found then
    perform llm_private.fail(
      404, 'unknown_provider', 'Provider not found.',
      'Known providers: ' || (select string_agg(id, ', ' order by position, id) from public.llm_providers) || '.'
    );
  end if;
  if p_body ->> 'key' is not null then
    perform llm_private.validate_key(p_body ->> 'key', v_provider);
  end if;
  return v_provider;
end
$$;

comment on function llm_private.read_key_body is
'The provider in {"provider": "…", "key": "…"}, after checking both and that the body has only p_fields; without
p_key_needed, the key is optional.
Errors: key_malformed, invalid_argument, unknown_provider.';

create function llm_private.store_key(p_owner uuid, p_provider text, p_key text, p_runtime uuid, p_by uuid)
returns public.llm_keys
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  -- Locks the owner, so that concurrent calls come one after the other, and the last one wins.
  v_data_key constant text := llm_private.data_key_to_write(p_owner);
  v_replaced uuid;
  v_row public.llm_keys;
begin
  delete from public.llm_keys where owner_id = p_owner and provider = p_provider returning id into v_replaced;
  if v_replaced is not null then
    perform llm_private.end_cached_routes(p_owner);
  end if;
  insert into public.llm_keys (owner_id, provider, hint)
  values (
    p_owner, p_provider,
    case when length(p_key) >= 20 then left(p_key, 3) || '…' || right(p_key, 4) else '…' || right(p_key, 2) end
  )
  returning * into v_row;
  insert into llm_private.key_secrets (owner_id, key_id, ciphertext)
  values (p_owner, v_row.id, llm_private.encrypt_key(p_owner, v_row.id, p_key, v_data_key));
  perform llm_private.audit_change(
    p_owner, 'key_set', p_provider, v_row.id, p_runtime,
    jsonb_strip_nulls(jsonb_build_object('by', p_by, 'hint', v_row.hint, 'replaced', v_replaced))
  );
  return v_row;
end
$$;

comment on function llm_private.store_key is
'Store or replace a key of a user or, on behalf of its member p_by, of a team. The owner has a data key. Error
too_many_changes.';

create function llm_private.set_key(p_body json)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_user constant uuid := llm_private.require_user();
  v_runtime constant uuid := llm_private.current_runtime();
  v_provider public.llm_providers;
begin
  perform llm_private.require_plain_call('set_llm_key');
  v_provider := llm_private.read_key_body(p_body, '{provider,key}', true);
  perform llm_private.ensure_settings(v_user);
  perform llm_private.ensure_key_owner(v_user, false);
  return llm_private.key_json(llm_private.store_key(v_user, v_provider.id, p_body ->> 'key', v_runtime, null));
end
$$;

comment on function llm_private.set_key is 'See set_llm_key().';

create function llm_private.delete_key(p_key public.llm_keys, p_runtime uuid, p_by uuid)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  -- Locks the owner before the key, in the same order as replacing it.
  perform llm_private.end_cached_routes(p_key.owner_id);
  delete from public.llm_keys where owner_id = p_key.owner_id and id = p_key.id;
  perform llm_private.audit(
    p_key.owner_id, 'key_revoked', p_key.provider, p_key.id, p_runtime,
    jsonb_strip_nulls(jsonb_build_object('by', p_by, 'hint', p_key.hint))
  );
end
$$;

comment on function llm_private.delete_key is
'Delete a key of a user or, on behalf of its member p_by, of a team.';

create function llm_private.own_key(p_owner uuid, p_provider text)
returns public.llm_keys
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_row public.llm_keys;
begin
  perform llm_private.check_length('p_provider', p_provider, 32);
  select * into v_row from public.llm_keys where owner_id = p_owner and provider = p_provider;
  if not found then
    perform llm_private.fail(
      404, 'key_not_found', 'There is no key for this provider.',
      'list_llm_keys() returns your keys, list_llm_team_keys() those of a team.'
    );
  end if;
  return v_row;
end
$$;

comment on function llm_private.own_key is 'An owner''s key for a provider. Errors: invalid_argument, key_not_found.';

create function llm_private.remove_key(p_provider text)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_user constant uuid := llm_private.require_user();
  v_runtime constant uuid := llm_private.current_runtime();
begin
  perform llm_private.require_plain_call('remove_llm_key');
  perform llm_private.delete_key(llm_private.own_key(v_user, p_provider), v_runtime, null);
end
$$;

comment on function llm_private.remove_key is 'See remove_llm_key().';

create function llm_private.require_readable_keys(p_runtime uuid, p_operator llm_private.operator_settings)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_operator.keys_readable_by = 'runtime' and p_runtime is null then
    perform llm_private.fail(
      403, 'runtime_required', 'Only a registered runtime gets keys in this project.',
      'Send the request through the app''s server, and register that: supa-llm runtimes add. For an app without a '
      'server: supa-llm settings set keys_readable_by=owner.'
    );
  end if;
end
$$;

comment on function llm_private.require_readable_keys is
'Error runtime_required if the operator requires a runtime and the request has none.';

-- Supabase Auth puts the time of each sign-in into amr. A refresh changes iat, so iat is not the time of a sign-in.
create function llm_private.signed_in_at()
returns timestamptz
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
  select to_timestamp(max((m.entry ->> 'timestamp')::double precision))
  from jsonb_array_elements(
    case jsonb_typeof(auth.jwt() -> 'amr') when 'array' then auth.jwt() -> 'amr' end
  ) as m (entry)
  where m.entry ->> 'method' is distinct from 'token_refresh'
$$;

comment on function llm_private.signed_in_at is
'When the caller signed in, according to their token; null if it does not contain that.';

create function llm_private.stored_key(p_owner uuid, p_key_id uuid)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_key text;
begin
  select llm_private.decrypt_key(s.owner_id, s.key_id, s.ciphertext, llm_private.data_key(s.owner_id))
  into strict v_key
  from llm_private.key_secrets as s
  where s.owner_id = p_owner and s.key_id = p_key_id;
  return v_key;
end
$$;

comment on function llm_private.stored_key is
'A stored key in plain text. Only call it under a grant that an earlier transaction committed.
Errors: master_key_missing, key_unreadable.';

create function llm_private.key_holder(p_user uuid, p_runtime uuid)
returns text
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  return coalesce('runtime:' || p_runtime, 'session:' || (auth.jwt() ->> 'session_id'), 'user:' || p_user);
end
$$;

comment on function llm_private.key_holder is
'Who gets a key: runtime:… or session:… with its id; user:… for a token without a session.';

create function llm_private.check_reveal()
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_operator llm_private.operator_settings;
  v_signed_in constant timestamptz := llm_private.signed_in_at();
begin
  select * into strict v_operator from llm_private.operator_settings;
  if not v_operator.reveal_enabled then
    perform llm_private.fail(
      403, 'reveal_disabled', 'Stored keys cannot be shown in this project.',
      'Replace the key, or copy it from the provider.'
    );
  end if;
  perform llm_private.check_step_up();
  if v_operator.reveal_sign_in_within is null then
    return;
  elsif v_signed_in is null then
    perform llm_private.fail(
      403, 'sign_in_unknown',
      'Showing a key requires a recent sign-in, and the access token does not contain the time of the sign-in.',
      'The operator can make Supabase Auth send the claim amr, or set reveal_sign_in_within to null.'
    );
  elsif v_signed_in < now() - v_operator.reveal_sign_in_within then
    perform llm_private.fail(
      403, 'recent_sign_in_required', 'Showing a key requires a recent sign-in.', 'Sign in again and retry.'
    );
  end if;
end
$$;

comment on function llm_private.check_reveal is
'Error reveal_disabled, second_factor_required, second_factor_unknown, sign_in_unknown or recent_sign_in_required unless
the caller may reveal their keys.';

create function llm_private.limit_reveals(p_user uuid)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_most constant integer := 5;
  v_window constant interval := interval '1 hour';
  v_free_at timestamptz;
begin
  -- Serializes a user's reveals, so that together they cannot pass the limit.
  perform pg_advisory_xact_lock(hashtext('llm_private.limit_reveals'), hashtext(p_user::text));
  select l.at + v_window into v_free_at
  from public.llm_audit_log as l
  where
    l.user_id = p_user and l.id >= llm_private.first_uuid_v7(clock_timestamp() - v_window)
    and l.action = 'key_revealed'
  order by l.id desc
  offset v_most - 1 limit 1;
  if found then
    perform llm_private.fail(
      429, 'too_many_reveals', format('You have revealed keys %s times within an hour.', v_most),
      format('Try again in %s minutes.', greatest(ceil(extract(epoch from v_free_at - clock_timestamp()) / 60), 1))
    );
  end if;
end
$$;

comment on function llm_private.limit_reveals is
'Error too_many_reveals if the user revealed keys five times within the last hour. Their entries in the audit log count,
so a reveal whose second call was rolled back or never made counts too.';

create function llm_private.grant_reveal(p_key public.llm_keys, p_runtime uuid, p_holder text)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  -- Locks the key before its reveals, in the same order as replacing it.
  perform from public.llm_keys as k where k.owner_id = p_key.owner_id and k.id = p_key.id for key share;
  if not found then
    return;
  end if;
  perform llm_private.limit_reveals(p_key.owner_id);
  insert into llm_private.key_reveals (owner_id, key_id, holder, expires_at)
  values (p_key.owner_id, p_key.id, p_holder, now() + interval '1 minute')
  on conflict (owner_id, key_id, holder) do update
  set granted_in = excluded.granted_in, expires_at = excluded.expires_at;
  delete from llm_private.key_reveals as r
  using (
    select e.key_id, e.holder from llm_private.key_reveals as e
    where e.owner_id = p_key.owner_id and e.expires_at <= now()
    for update skip locked
  ) as ended
  where r.owner_id = p_key.owner_id and r.key_id = ended.key_id and r.holder = ended.holder;
  perform llm_private.audit(
    p_key.owner_id, 'key_revealed', p_key.provider, p_key.id, p_runtime, jsonb_build_object('hint', p_key.hint)
  );
  perform llm_private.add_alert(
    p_key.owner_id, 'key_revealed', format('key %s at %s', p_key.id, clock_timestamp()),
    jsonb_build_object('provider', p_key.provider, 'hint', p_key.hint)
  );
end
$$;

comment on function llm_private.grant_reveal is
'Record that this holder may reveal a key within a minute, and alert the user; nothing if the key was replaced or
revoked meanwhile. Error too_many_reveals.';

create function llm_private.reveal_key(p_provider text)
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
  v_row public.llm_keys;
begin
  perform llm_private.require_plain_call('reveal_llm_key');
  perform llm_private.check_reveal();
  v_row := llm_private.own_key(v_user, p_provider);
  -- If this transaction is rolled back, the reveal stays until it expires; it is on the audit log.
  delete from llm_private.key_reveals as r
  where
    r.owner_id = v_user and r.key_id = v_row.id and r.holder = v_holder and r.expires_at > now()
    and r.granted_in is distinct from pg_current_xact_id_if_assigned();
  if not found then
    perform llm_private.grant_reveal(v_row, v_runtime, v_holder);
    return json_build_object('again', true);
  end if;
  return json_build_object('key', llm_private.stored_key(v_user, v_row.id));
end
$$;

comment on function llm_private.reveal_key is 'See reveal_llm_key().';

create function llm_private.alert_key_owner(p_owner uuid, p_kind text, p_subject text, p_detail jsonb)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  perform llm_private.add_alert(
    r.reader, p_kind, p_subject,
    p_detail || case
      when r.team_id is not null
        then jsonb_build_object('team_id', r.team_id, 'team', llm_private.team_name(r.team_id))
      else '{}'
    end
  )
  from (
    select p_owner as reader, null::uuid as team_id
    where not exists (select from llm_private.teams as t where t.id = p_owner)
    union all
    select m.user_id, m.team_id from llm_private.team_members as m
    where m.team_id = p_owner and m.role in ('owner', 'admin')
  ) as r;
end
$$;

comment on function llm_private.alert_key_owner is
'Alert the user who owns a key, or the owners and admins of the team that does.';

-- Writes a key's row only when its status changes, so that the requests of a busy key do not wait for one row.
create function llm_private.note_key_outcome(
  p_owner uuid, p_key_id uuid, p_model text, p_outcome text, p_error_class text, p_retry_after double precision
)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_until timestamptz;
  v_changed jsonb;
begin
  if p_outcome = 'succeeded' then
    -- A rejected or rate-limited key stays so, because this request began before. Looks before it updates, because an
    -- update is more expensive and rarely needed.
    perform from public.llm_keys where owner_id = p_owner and id = p_key_id and status = 'untested';
    if found then
      update public.llm_keys set status = 'working'
      where owner_id = p_owner and id = p_key_id and status = 'untested';
    end if;
  elsif p_error_class = 'auth' then
    update public.llm_keys
    set status = 'rejected', rate_limited_until = null, out_of_credit_until = null, rate_limited_models = '{}'
    where owner_id = p_owner and id = p_key_id and status <> 'rejected'
    returning jsonb_build_object('provider', provider, 'hint', hint) into v_changed;
    if v_changed is not null then
      perform llm_private.alert_key_owner(p_owner, 'key_rejected', 'key ' || p_key_id, v_changed);
    end if;
  elsif p_error_class = 'out_of_credit' then
    -- A quarter of an hour, because attempts without credit are quick and cost nothing.
    v_until := now() + make_interval(secs => least(greatest(p_retry_after, 900), 86400));
    update public.llm_keys set out_of_credit_until = v_until
    where owner_id = p_owner and id = p_key_id and (out_of_credit_until is null or out_of_credit_until < v_until)
    returning jsonb_build_object('provider', provider, 'hint', hint) into v_changed;
    if v_changed is not null then
      perform llm_private.alert_key_owner(
        p_owner, 'out_of_credit', format('key %s in %s', p_key_id, to_char(now() at time zone 'UTC', 'YYYY-MM')),
        v_changed
      );
    end if;
  elsif p_error_class = 'rate_limited' then
    -- At most a day, and five seconds if the provider names no time.
    v_until := now() + make_interval(secs => least(greatest(coalesce(p_retry_after, 5), 0), 86400));
    if p_model is null then
      update public.llm_keys set rate_limited_until = v_until
      where owner_id = p_owner and id = p_key_id and (rate_limited_until is null or rate_limited_until < v_until);
    else
      update public.llm_keys
      set rate_limited_models = llm_private.resting_models(
        rate_limited_models || jsonb_build_object(p_model, v_until)
      )
      where
        owner_id = p_owner and id = p_key_id
        and ((rate_limited_models ->> p_model)::timestamptz >= v_until) is not true;
    end if;
  end if;
end
$$;

comment on function llm_private.note_key_outcome is
'Set the status of a key of a user''s or a team''s after an attempt: working, rejected (auth), out of credit
(out_of_credit) or rate-limited (rate_limited), which is the model or, without p_model, the key.';

create function llm_private.keys_json(p_owner uuid)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select coalesce(jsonb_agg(llm_private.key_json(k) order by k.provider), '[]')
    from public.llm_keys as k
    where k.owner_id = p_owner
  );
end
$$;

comment on function llm_private.keys_json is 'The keys of a user or team, as their owner sees them.';

create function llm_private.list_keys()
returns jsonb
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  return llm_private.keys_json(llm_private.require_user());
end
$$;

comment on function llm_private.list_keys is 'See list_llm_keys().';

-- Public RPCs ---------------------------------------------------------------------------------------------------------

create function public.list_llm_keys()
returns jsonb
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select llm_private.list_keys()
$$;

comment on function public.list_llm_keys is
'The caller''s keys with id, provider, masked hint, status (untested, working, rejected, rate_limited, out_of_credit),
until when the key or one of its rate_limited_models is not used (rests_until), and last use; never the key itself.
Error not_signed_in.';

-- One unnamed json parameter makes PostgREST pass the body unparsed. With named parameters, PostgreSQL parses the
-- body before this function can check it, and its error about an invalid escape prints the key to the log. (Callers who
-- add ?columns= to the URL cause that anyway, but only with their own keys.)
create function public.set_llm_key(json)
returns jsonb
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select llm_private.set_key($1)
$$;

comment on function public.set_llm_key is
'Store or replace the caller''s key for a provider: {"provider": "groq", "key": "gsk_…"}.
Errors: not_signed_in, key_malformed, unknown_provider, invalid_argument, too_many_changes.';

create function public.remove_llm_key(p_provider text)
returns void
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select llm_private.remove_key(p_provider)
$$;

comment on function public.remove_llm_key is
'Delete the caller''s key for a provider. Errors: not_signed_in, invalid_argument, key_not_found.';

create function public.reveal_llm_key(p_provider text)
returns json
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select llm_private.reveal_key(p_provider)
$$;

comment on function public.reveal_llm_key is
'The caller''s own key for a provider, in plain text. The first call records the reveal in the audit log, alerts the
user and returns {"again": true}; the next one, within a minute and in a transaction of its own, returns
{"key": "gsk_…"}. At most 5 reveals in an hour.
Errors: not_signed_in, account_banned, account_suspended, session_ended, runtime_unknown, reveal_disabled,
second_factor_required, second_factor_unknown, sign_in_unknown, recent_sign_in_required, invalid_argument, key_not_found, key_unreadable, too_many_reveals.';
