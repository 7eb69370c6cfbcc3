-- Tickets: with one, a runtime can record what it ran for a user after the user's access token has expired.
--
-- Each route that a runtime resolves comes with a ticket: the user, the time at which the ticket expires, and a
-- signature over both and the runtime. A ticket is only good together with the secret of its runtime, and only to
-- record usage and to release reservations. It opens no key and no settings.

create table llm_private.ticket_keys (
  id integer primary key generated always as identity,
  secret bytea not null default extensions.gen_random_bytes(32),
  created_at timestamptz not null default now(),
  valid_until timestamptz
);

comment on table llm_private.ticket_keys is
'The secrets that sign tickets: the present one, and rotated ones whose tickets are still valid.';
comment on column llm_private.ticket_keys.valid_until is
'Until when the tickets that it signed are valid; null for the present one, which signs.';

alter table llm_private.ticket_keys enable row level security;

-- Private helpers -----------------------------------------------------------------------------------------------------

create function llm_private.sign_ticket(p_user uuid, p_runtime uuid, p_expires bigint, p_secret bytea)
returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_claims constant bytea := uuid_send(p_user) || int8send(p_expires);
begin
  return encode(v_claims || extensions.hmac(v_claims || uuid_send(p_runtime), p_secret, 'sha256'), 'hex');
end
$$;

comment on function llm_private.sign_ticket is
'A runtime''s ticket for a user, in hexadecimal: 16 bytes of user, 8 of expiry in seconds since 1970, and 32 of HMAC.';

create function llm_private.new_ticket(p_user uuid, p_runtime uuid)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_secret bytea;
begin
  select t.secret into strict v_secret from llm_private.ticket_keys as t where t.valid_until is null;
  return llm_private.sign_ticket(p_user, p_runtime, extract(epoch from now())::bigint + 86400, v_secret);
end
$$;

comment on function llm_private.new_ticket is 'A ticket that is valid for a day.';

create function llm_private.read_ticket(p_ticket text, p_runtime uuid)
returns uuid
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_user uuid;
  v_expires bigint;
begin
  -- Cheaper than a regular expression that counts the digits.
  if length(p_ticket) = 112 and p_ticket ~ '^[0-9a-f]*$' then
    v_user := left(p_ticket, 32)::uuid;
    v_expires := ('x' || substr(p_ticket, 33, 16))::bit(64)::bigint;
  end if;
  -- Compares hashes, so that the time of the comparison tells nothing about the signature.
  if
    v_user is null
    or not exists (
      select from llm_private.ticket_keys as t
      where
        (t.valid_until is null or t.valid_until > now())
        and sha256(convert_to(p_ticket, 'UTF8'))
        = sha256(convert_to(llm_private.sign_ticket(v_user, p_runtime, v_expires, t.secret), 'UTF8'))
    )
  then
    perform llm_private.fail(
      403, 'ticket_invalid', 'The ticket is not valid for this runtime.',
      'Send the ticket that came with the route, from the runtime that resolved the route.'
    );
  elsif v_expires <= extract(epoch from now()) then
    perform llm_private.fail(
      403, 'ticket_expired', 'The ticket has expired.', 'Record usage within a day of resolving the route.'
    );
  end if;
  return v_user;
end
$$;

comment on function llm_private.read_ticket is
'The user of a runtime''s ticket. Errors: ticket_invalid, ticket_expired.';

create function llm_private.rotate_ticket_key(p_overlap_seconds integer)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_until timestamptz;
begin
  perform llm_private.require_plain_call('rotate_llm_ticket_key');
  perform llm_private.check_value(
    'invalid_argument', p_overlap_seconds between 0 and 86400, 'p_overlap_seconds', '0 to 86400, which is a day'
  );
  v_until := now() + make_interval(secs => p_overlap_seconds);
  -- Two calls at the same time must not leave two keys that sign.
  lock table llm_private.ticket_keys in share row exclusive mode;
  delete from llm_private.ticket_keys where valid_until <= now();
  update llm_private.ticket_keys set valid_until = least(valid_until, v_until);
  insert into llm_private.ticket_keys default values;
  perform llm_private.audit_operator('ticket_key_rotated', p_detail => jsonb_build_object('previous_until', v_until));
  return jsonb_build_object('previous_until', v_until);
end
$$;

comment on function llm_private.rotate_ticket_key is 'See rotate_llm_ticket_key().';

-- Public RPCs ---------------------------------------------------------------------------------------------------------

create function public.rotate_llm_ticket_key(p_overlap_seconds integer default 86400)
returns jsonb
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select llm_private.rotate_ticket_key(p_overlap_seconds)
$$;

comment on function public.rotate_llm_ticket_key is
'For administrators: sign tickets with a new key. Tickets that are out stay valid for p_overlap_seconds, at most a day;
tickets expire after a day anyway. Returns previous_until: until when they are valid. Error invalid_argument.';
