-- Tickets: with one, a runtime can record what it ran for a user after the user's access token has expired.
--
-- Each route that a runtime resolves comes with a ticket: the user, the time at which the ticket expires, and a
-- signature over both and the runtime. A ticket is only good together with the secret of its runtime, and only to
-- record usage and to release reservations. It opens no key and no settings.

create table llm_private.ticket_key (
  only_row boolean primary key default true check (only_row),
  secret bytea not null default extensions.gen_random_bytes(32)
);

comment on table llm_private.ticket_key is 'The secret that signs tickets; exactly one row.';

alter table llm_private.ticket_key enable row level security;

-- Private helpers -----------------------------------------------------------------------------------------------------

create function llm_private.sign_ticket(p_user uuid, p_runtime uuid, p_expires bigint)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_claims constant bytea := uuid_send(p_user) || int8send(p_expires);
  v_secret bytea;
begin
  select t.secret into strict v_secret from llm_private.ticket_key as t;
  return encode(v_claims || extensions.hmac(v_claims || uuid_send(p_runtime), v_secret, 'sha256'), 'hex');
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
begin
  return llm_private.sign_ticket(p_user, p_runtime, extract(epoch from now())::bigint + 86400);
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
    or sha256(convert_to(p_ticket, 'UTF8'))
    <> sha256(convert_to(llm_private.sign_ticket(v_user, p_runtime, v_expires), 'UTF8'))
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
