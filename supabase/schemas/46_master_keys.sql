-- Master keys: create, export, import and replace them, and prepare a project for a restore. See docs/backup.md.
--
-- A dump of supa-llm's tables contains no master key, so that a stolen dump reads no keys. An export of the master keys
-- belongs elsewhere. Functions that handle one are granted to nobody: only the database's owner calls them.

-- Private helpers -----------------------------------------------------------------------------------------------------

create function llm_private.add_master_key()
returns smallint
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_secret constant text := llm_private.random_secret();
  v_id smallint;
begin
  insert into llm_private.master_keys (vault_secret_id, fingerprint)
  values (llm_private.put_in_vault(v_secret, null), llm_private.fingerprint(v_secret))
  returning id into v_id;
  return v_id;
end
$$;

comment on function llm_private.add_master_key is 'Create a random master key, keep it in Vault, and return its id.';

create function llm_private.put_in_vault(p_secret text, p_entry uuid)
returns uuid
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  -- After a restore into another project, Vault may have the entry and be unable to decrypt it.
  if exists (select from vault.secrets as s where s.id = p_entry) then
    perform vault.update_secret(p_entry, p_secret);
    return p_entry;
  end if;
  return vault.create_secret(
    p_secret, 'supa_llm_master_key_' || left(llm_private.fingerprint(p_secret), 12),
    'supa-llm''s encryption of provider keys depends on this secret. Without it, they are lost.'
  );
end
$$;

comment on function llm_private.put_in_vault is
'Store a master key in this entry of Vault, or in a new one if it does not exist. Returns the entry''s id.';

create function llm_private.export_master_keys()
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (select string_agg(llm_private.master_key(m.id), e'\n' order by m.id) from llm_private.master_keys as m);
end
$$;

comment on function llm_private.export_master_keys is
'For the database''s owner: all master keys in plain text, one a line. Error master_key_missing.';

create function llm_private.recover_key(p_owner uuid, p_key_id uuid, p_data_key text, p_lost text)
returns boolean
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_ciphertext constant bytea := (
    select s.ciphertext from llm_private.key_secrets as s where s.owner_id = p_owner and s.key_id = p_key_id
  );
begin
  begin
    perform llm_private.decrypt_key(p_owner, p_key_id, v_ciphertext, p_data_key);
  exception when others then
    -- Encrypted with the earlier data key, or damaged.
    update llm_private.key_secrets
    set
      ciphertext = llm_private.encrypt_key(
        p_owner, p_key_id, llm_private.decrypt_key(p_owner, p_key_id, v_ciphertext, p_lost), p_data_key
      )
    where owner_id = p_owner and key_id = p_key_id;
  end;
  update public.llm_keys set status = 'untested' where owner_id = p_owner and id = p_key_id;
  return true;
exception when others then
  return false;
end
$$;

comment on function llm_private.recover_key is
'Make an unreadable key readable if the owner''s data key or the earlier one decrypts it; returns whether one does.';

create function llm_private.recover_keys()
returns integer
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_owner record;
  v_data_key text;
  v_lost text;
  v_recovered integer := 0;
begin
  for v_owner in
    with master as materialized (
      select m.id, llm_private.readable_master_key(m.id) as secret from llm_private.master_keys as m
    )

    select o.*, m.secret, l.secret as lost_secret
    from llm_private.key_owners as o
    inner join master as m on o.master_key_id = m.id and m.secret is not null
    left join master as l on o.lost_master_key_id = l.id
    where exists (select from public.llm_keys as k where k.owner_id = o.id and k.status = 'unreadable')
    order by o.id
    for update of o
  loop
    v_data_key := llm_private.unwrap_data_key(v_owner.id, v_owner.wrapped_key, v_owner.secret);
    v_lost := llm_private.unwrap_data_key(v_owner.id, v_owner.lost_wrapped_key, v_owner.lost_secret);
    continue when v_data_key is null;
    v_recovered := v_recovered + (
      select count(*) filter (where llm_private.recover_key(k.owner_id, k.id, v_data_key, v_lost))
      from public.llm_keys as k
      where k.owner_id = v_owner.id and k.status = 'unreadable'
    );
    if v_lost is not null then
      update llm_private.key_owners set lost_master_key_id = null, lost_wrapped_key = null where id = v_owner.id;
    end if;
  end loop;
  return v_recovered;
end
$$;

comment on function llm_private.recover_keys is
'Make unreadable keys readable whose master key is there again; returns how many. What an earlier data key encrypted is
encrypted with the owner''s present one.';

create function llm_private.import_master_keys(p_secrets text)
returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_secret text;
  v_master llm_private.master_keys;
  v_imported integer := 0;
  v_readable integer;
begin
  for v_secret in select trim(l.line, e' \t\r') from regexp_split_to_table(p_secrets, '\n') as l (line) loop
    continue when v_secret = '';
    select * into v_master from llm_private.master_keys where fingerprint = llm_private.fingerprint(v_secret);
    if not found then
      perform llm_private.fail(
        422, 'master_key_unknown', 'This is not a master key of this project''s stored keys. Nothing was imported.',
        'Restore the dump first, and import the master keys that were exported with it.'
      );
    end if;
    if llm_private.readable_master_key(v_master.id) is null then
      update llm_private.master_keys set vault_secret_id = llm_private.put_in_vault(v_secret, v_master.vault_secret_id)
      where id = v_master.id;
      v_imported := v_imported + 1;
    end if;
  end loop;
  v_readable := llm_private.recover_keys();
  perform llm_private.audit_operator(
    'master_keys_imported', p_detail => jsonb_build_object('imported', v_imported, 'readable_keys', v_readable)
  );
  return jsonb_build_object('imported', v_imported, 'readable_keys', v_readable);
end
$$;

comment on function llm_private.import_master_keys is
'For the database''s owner: put exported master keys, one a line, into Vault where it lacks them. Returns imported (how
many it lacked) and readable_keys (how many keys were marked unreadable and are not any more). Error master_key_unknown.';

create function llm_private.replace_master_key()
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_new smallint;
  v_unreadable integer;
begin
  perform llm_private.require_plain_call('replace_llm_master_key');
  -- Two calls at the same time must not make two.
  lock table llm_private.master_keys in share row exclusive mode;
  if llm_private.readable_master_key((select max(m.id) from llm_private.master_keys as m)) is not null then
    perform llm_private.fail(
      409, 'master_key_usable', 'The master key is in Vault. It was not replaced.',
      'To find out why keys cannot be read: supa-llm doctor'
    );
  end if;
  v_new := llm_private.add_master_key();
  with lost as materialized (
    select m.id from llm_private.master_keys as m where llm_private.readable_master_key(m.id) is null
  )

  update public.llm_keys as k set status = 'unreadable'
  from llm_private.key_owners as o
  inner join lost as l on o.master_key_id = l.id
  where o.id = k.owner_id and k.status <> 'unreadable';
  get diagnostics v_unreadable = row_count;
  perform llm_private.audit_operator(
    'master_key_replaced', p_detail => jsonb_build_object('master_key', v_new, 'unreadable_keys', v_unreadable)
  );
  return jsonb_build_object('unreadable_keys', v_unreadable);
end
$$;

comment on function llm_private.replace_master_key is 'See replace_llm_master_key().';

create function llm_private.prepare_restore()
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_tables text;
begin
  if
    exists (select from llm_private.key_owners) or exists (select from public.llm_usage_events)
    or exists (select from public.user_llm_settings)
  then
    perform llm_private.fail(
      409, 'project_in_use', 'This project has users'' settings, keys or usage. Nothing was removed.',
      'Restore into a project to which only the migrations were pushed.'
    );
  end if;
  delete from vault.secrets where id in (select m.vault_secret_id from llm_private.master_keys as m);
  -- The installation is the one that this project's own migrations made.
  select string_agg(format('%I.%I', n.nspname, c.relname), ', ') into v_tables
  from pg_class as c
  inner join pg_namespace as n on c.relnamespace = n.oid
  where
    c.relkind in ('r', 'p') and not c.relispartition
    and (
      n.nspname = 'llm_private' and c.relname <> 'installation'
      or n.nspname = 'public' and c.relname in (
        select unnest(i.public_names) from llm_private.installation as i
      )
    );
  execute 'truncate ' || v_tables;
end
$$;

comment on function llm_private.prepare_restore is
'For the database''s owner: remove the rows and the master key that the migrations made, so that those of a dump can
take their place. Error project_in_use.';

-- Public RPCs ---------------------------------------------------------------------------------------------------------

create function public.replace_llm_master_key()
returns jsonb
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select llm_private.replace_master_key()
$$;

comment on function public.replace_llm_master_key is
'For administrators: if the master key is lost, create a new one, and mark the keys that needed the lost one as
unreadable, so that routes skip them and their users can store them again. Returns unreadable_keys: how many. Error
master_key_usable: it is not lost, and nothing was changed.';
