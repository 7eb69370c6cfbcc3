-- Owners of keys: users and teams, each with a data key that encrypts their provider keys.
--
-- The database creates a random master key (95_data.sql) and keeps it in Vault, so no migration, setting or backup of
-- these tables contains it. The master key encrypts (wraps) a random data key for each owner, and the data key encrypts
-- the owner's keys. So a new master key means wrapping the data keys again, not encrypting every key again, and
-- deleting one row, the owner's, makes all ciphertexts of their keys unreadable, wherever copies of them are.
--
-- Because these keys are random, deriving the cipher key with one salted hash is as safe as the slow derivation, which
-- protects passwords that people make up.

create table llm_private.master_keys (
  id smallint primary key generated always as identity,
  vault_secret_id uuid not null unique,
  fingerprint text not null unique,
  created_at timestamptz not null default now()
);

comment on table llm_private.master_keys is 'The Vault entries of the master keys; the newest wraps new data keys.';
comment on column llm_private.master_keys.fingerprint is
'Its SHA-256. A secret with another one is not this master key, even if it is in the Vault entry.';

create table llm_private.key_owners (
  id uuid primary key,
  user_id uuid unique references auth.users (id) on delete cascade,
  team_id uuid unique references llm_private.teams (id) on delete cascade,
  master_key_id smallint not null references llm_private.master_keys (id),
  wrapped_key bytea not null,
  version bigint not null default 1,
  lost_master_key_id smallint references llm_private.master_keys (id),
  lost_wrapped_key bytea,
  constraint owner_is_a_user_or_a_team check (num_nonnulls(user_id, team_id) = 1 and id = coalesce(user_id, team_id)),
  constraint lost_key_is_whole check (num_nonnulls(lost_master_key_id, lost_wrapped_key) in (0, 2))
);

create index key_owners_master_key on llm_private.key_owners (master_key_id, id);
create index key_owners_lost_master_key on llm_private.key_owners (lost_master_key_id);

comment on table llm_private.key_owners is
'The data keys of users and teams. Deleting a row deletes its keys and makes copies of their ciphertexts unreadable.';
comment on column llm_private.key_owners.id is 'The id of the user or team.';
comment on column llm_private.key_owners.master_key_id is 'The master key that wraps the data key.';
comment on column llm_private.key_owners.wrapped_key is
'The data key, encrypted with the master key. Its plaintext contains the owner''s id.';
comment on column llm_private.key_owners.version is
'Counts changes that must end cached routes, such as a replaced or revoked key.';
comment on column llm_private.key_owners.lost_wrapped_key is
'An earlier data key, which could not be unwrapped when a key was stored. Importing its master key (lost_master_key_id)
makes the keys readable that it encrypted. Null if there is none.';

alter table llm_private.master_keys enable row level security;
alter table llm_private.key_owners enable row level security;

-- Private helpers -----------------------------------------------------------------------------------------------------

create function llm_private.fingerprint(p_master text)
returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return encode(sha256(convert_to(p_master, 'UTF8')), 'hex');
end
$$;

comment on function llm_private.fingerprint is 'The fingerprint of a master key.';

create function llm_private.readable_master_key(p_id smallint)
returns text
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_master text;
  v_fingerprint text;
begin
  select d.decrypted_secret, m.fingerprint into v_master, v_fingerprint
  from llm_private.master_keys as m
  inner join vault.decrypted_secrets as d on m.vault_secret_id = d.id
  where m.id = p_id;
  return case when v_fingerprint = llm_private.fingerprint(v_master) then v_master end;
exception when others then
  -- Vault cannot decrypt the entry, for example after a restore into another project.
  return null;
end
$$;

comment on function llm_private.readable_master_key is
'A master key from Vault; null if its entry is missing, cannot be decrypted or has another secret.';

create function llm_private.master_key(p_id smallint)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_master constant text := llm_private.readable_master_key(p_id);
begin
  if v_master is null then
    perform llm_private.fail(
      500, 'master_key_missing', 'The master key is not in Vault, so keys can be neither stored nor read.',
      'Contact the operator, who can import it from a backup or replace it: see docs/backup.md.'
    );
  end if;
  return v_master;
end
$$;

comment on function llm_private.master_key is 'A master key from Vault. Error master_key_missing.';

create function llm_private.newest_master_key()
returns smallint
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_id smallint;
begin
  -- A rotation that ends meanwhile destroys the key that was the newest when this statement began.
  loop
    select m.id into v_id from llm_private.master_keys as m
    where m.id = (select max(n.id) from llm_private.master_keys as n)
    for key share;
    exit when found or not exists (select from llm_private.master_keys);
  end loop;
  return v_id;
end
$$;

comment on function llm_private.newest_master_key is
'The master key that wraps new data keys, locked so that it is not destroyed before this transaction ends; null if there
is none.';

create function llm_private.wrap_data_key(p_owner uuid, p_data_key text, p_master text)
returns bytea
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  return extensions.pgp_sym_encrypt(
    p_owner || ':' || p_data_key, p_master, 'cipher-algo=aes256, s2k-mode=1, s2k-digest-algo=sha256'
  );
end
$$;

comment on function llm_private.wrap_data_key is 'Encrypt a data key with a master key and bind it to its owner.';

create function llm_private.unwrap_data_key(p_owner uuid, p_wrapped bytea, p_master text)
returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_binding constant text := p_owner || ':';
  v_payload text;
begin
  v_payload := extensions.pgp_sym_decrypt(p_wrapped, p_master);
  -- Refuses a data key that was copied to another owner's row.
  return case when starts_with(v_payload, v_binding) then substr(v_payload, length(v_binding) + 1) end;
exception when others then
  return null;
end
$$;

comment on function llm_private.unwrap_data_key is
'Decrypt an owner''s data key; null if the master key is null or wrong, or if the data key is another owner''s.';

create function llm_private.data_key(p_owner uuid)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_owner llm_private.key_owners;
  v_data_key text;
begin
  select * into strict v_owner from llm_private.key_owners where id = p_owner;
  v_data_key := llm_private.unwrap_data_key(
    p_owner, v_owner.wrapped_key, llm_private.master_key(v_owner.master_key_id)
  );
  if v_data_key is null then
    perform llm_private.fail_unreadable();
  end if;
  return v_data_key;
end
$$;

comment on function llm_private.data_key is 'An owner''s data key. Errors: master_key_missing, key_unreadable.';

create function llm_private.fail_unreadable()
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  perform llm_private.fail(
    500, 'key_unreadable', 'A stored key cannot be decrypted.',
    'Store the key again. Contact the operator if this happens again.'
  );
end
$$;

comment on function llm_private.fail_unreadable is 'Error key_unreadable.';

create function llm_private.random_secret()
returns text
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  -- Never in a literal, because the database's log may contain statements.
  return encode(extensions.gen_random_bytes(32), 'base64');
end
$$;

comment on function llm_private.random_secret is 'A random master key or data key of 32 bytes, in base64.';

create function llm_private.ensure_key_owner(p_owner uuid, p_team boolean)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_master smallint;
begin
  if exists (select from llm_private.key_owners as o where o.id = p_owner) then
    return;
  end if;
  v_master := llm_private.newest_master_key();
  insert into llm_private.key_owners (id, user_id, team_id, master_key_id, wrapped_key)
  values (
    p_owner, case when not p_team then p_owner end, case when p_team then p_owner end, v_master,
    llm_private.wrap_data_key(p_owner, llm_private.random_secret(), llm_private.master_key(v_master))
  )
  on conflict do nothing;
end
$$;

comment on function llm_private.ensure_key_owner is
'Create the data key of a user or, with p_team, of a team, unless there is one. Error master_key_missing.';

create function llm_private.data_key_to_write(p_owner uuid)
returns text
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_owner llm_private.key_owners;
  v_data_key text;
  v_master smallint;
begin
  select * into strict v_owner from llm_private.key_owners where id = p_owner for no key update;
  v_data_key := llm_private.unwrap_data_key(
    p_owner, v_owner.wrapped_key, llm_private.readable_master_key(v_owner.master_key_id)
  );
  if v_data_key is not null then
    return v_data_key;
  end if;
  v_data_key := llm_private.random_secret();
  v_master := llm_private.newest_master_key();
  update llm_private.key_owners as o
  set
    master_key_id = v_master,
    wrapped_key = llm_private.wrap_data_key(p_owner, v_data_key, llm_private.master_key(v_master)),
    lost_master_key_id = o.master_key_id,
    lost_wrapped_key = o.wrapped_key
  where o.id = p_owner;
  -- The new data key does not decrypt them.
  update public.llm_keys set status = 'unreadable' where owner_id = p_owner and status <> 'unreadable';
  return v_data_key;
end
$$;

comment on function llm_private.data_key_to_write is
'An owner''s data key, to encrypt a key with; locks the owner. A data key that cannot be unwrapped is replaced and kept
aside, and the keys that it encrypted are marked unreadable. Error master_key_missing if the newest master key is needed
and cannot be read.';

create function llm_private.end_cached_routes(p_owner uuid)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  update llm_private.key_owners set version = version + 1 where id = p_owner;
end
$$;

comment on function llm_private.end_cached_routes is
'Count a change of an owner''s keys that must end the routes that clients have cached.';
