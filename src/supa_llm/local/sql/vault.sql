-- The interface of Supabase Vault (supabase_vault 0.3), on pgcrypto. Runs once, as supabase_admin.
--
-- The key is a file in the data directory that only the server's user can read, through functions of the superuser.
-- Dumps, the WAL and roles with SQL access do not contain it. The key is 256 random bits and cannot be guessed like a
-- password, so S2K mode 1 is enough. It is about thirty times faster than the default.

create schema vault;

-- The passphrase contains the secret's id and nonce, so a ciphertext that is moved to another row cannot be decrypted
-- there. Each function is one expression, because every further one costs some microseconds in plpgsql, and every
-- request reads a secret.

create function vault._crypto_aead_det_encrypt(
  message bytea,
  additional bytea,
  key_id bigint,
  context bytea default 'pgsodium',
  nonce bytea default null
) returns bytea
language plpgsql volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  return extensions.pgp_sym_encrypt_bytea(
    message,
    pg_read_file('supa_llm_vault.key') || encode(additional || coalesce(nonce, ''), 'hex'),
    's2k-mode=1, cipher-algo=aes256, compress-algo=0'
  );
end
$$;

create function vault._crypto_aead_det_decrypt(
  message bytea,
  additional bytea,
  key_id bigint,
  context bytea default 'pgsodium',
  nonce bytea default null
) returns bytea
language plpgsql stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  return extensions.pgp_sym_decrypt_bytea(
    message,
    pg_read_file('supa_llm_vault.key') || encode(additional || coalesce(nonce, ''), 'hex')
  );
end
$$;

create function vault._crypto_aead_det_noncegen() returns bytea
language sql volatile
return extensions.gen_random_bytes(16);

create table vault.secrets (
  id uuid primary key default gen_random_uuid(),
  name text,
  description text not null default '',
  secret text not null,
  key_id uuid,
  nonce bytea default vault._crypto_aead_det_noncegen(),
  created_at timestamptz not null default current_timestamp,
  updated_at timestamptz not null default current_timestamp
);
comment on table vault.secrets is 'Table with encrypted `secret` column for storing sensitive information on disk.';
create unique index secrets_name_idx on vault.secrets (name) where name is not null;

create view vault.decrypted_secrets as
select
  s.id,
  s.name,
  s.description,
  s.secret,
  convert_from(
    vault._crypto_aead_det_decrypt(
      message => decode(s.secret, 'base64'),
      additional => convert_to(s.id::text, 'utf8'),
      key_id => 0,
      context => 'pgsodium'::bytea,
      nonce => s.nonce
    ),
    'utf8'
  ) as decrypted_secret,
  s.key_id,
  s.nonce,
  s.created_at,
  s.updated_at
from vault.secrets as s;

-- Encrypts within the INSERT, so that no row ever contains the plaintext.
create function vault.create_secret(
  new_secret text,
  new_name text default null,
  new_description text default '',
  new_key_id uuid default null
) returns uuid
language plpgsql
security definer
set search_path = ''
as $$
declare
  new_id constant uuid := gen_random_uuid();
  new_nonce constant bytea := vault._crypto_aead_det_noncegen();
begin
  insert into vault.secrets (id, name, description, nonce, secret)
  values (
    new_id,
    new_name,
    new_description,
    new_nonce,
    encode(
      vault._crypto_aead_det_encrypt(
        message => convert_to(new_secret, 'utf8'),
        additional => convert_to(new_id::text, 'utf8'),
        key_id => 0,
        context => 'pgsodium'::bytea,
        nonce => new_nonce
      ),
      'base64'
    )
  );
  return new_id;
end
$$;

create function vault.update_secret(
  secret_id uuid,
  new_secret text default null,
  new_name text default null,
  new_description text default null,
  new_key_id uuid default null
) returns void
language plpgsql
security definer
set search_path = ''
as $$
begin
  update vault.secrets as s
  set
    secret = case
      when new_secret is null then s.secret
      else encode(
        vault._crypto_aead_det_encrypt(
          message => convert_to(new_secret, 'utf8'),
          additional => convert_to(s.id::text, 'utf8'),
          key_id => 0,
          context => 'pgsodium'::bytea,
          nonce => s.nonce
        ),
        'base64'
      )
    end,
    name = coalesce(new_name, s.name),
    description = coalesce(new_description, s.description),
    updated_at = now()
  where s.id = secret_id;
end
$$;

revoke all on function
  vault._crypto_aead_det_encrypt,
  vault._crypto_aead_det_decrypt,
  vault._crypto_aead_det_noncegen,
  vault.create_secret,
  vault.update_secret
from public;

grant usage on schema vault to postgres with grant option;
grant select, delete, truncate, references on vault.secrets, vault.decrypted_secrets to postgres with grant option;
grant execute on function vault.create_secret, vault.update_secret, vault._crypto_aead_det_decrypt
to postgres with grant option;

grant usage on schema vault to service_role;
grant select, delete on vault.secrets, vault.decrypted_secrets to service_role;
grant execute on function vault.create_secret, vault.update_secret, vault._crypto_aead_det_decrypt to service_role;
