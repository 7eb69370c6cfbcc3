-- The vault: create, rotate, export, import and replace master keys, and prepare a project for a restore. See
-- docs/vault.md and docs/backup.md.
--
-- A rotation creates a master key, wraps every owner's data key with it instead of the previous one, in batches, and
-- destroys the previous one once no row refers to it. No table records how far it is: an owner whose master key is
-- readable and not the newest has yet to be rewrapped. Until then, keys are read with the previous one. So a rotation
-- can stop at any moment, and another call continues it.
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
security definer
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

create type llm_private.rewrapped_batch as (owners integer, rewrapped integer, last_id uuid);

comment on type llm_private.rewrapped_batch is
'A batch of a rotation: how many owners it considered, how many data keys it wrapped again (the others cannot be
unwrapped), and its last owner.';

create function llm_private.rotating_from(p_newest smallint)
returns smallint[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return array(
    select m.id from llm_private.master_keys as m
    where
      m.id < p_newest and exists (select from llm_private.key_owners as o where o.master_key_id = m.id)
      and llm_private.readable_master_key(m.id) is not null
    order by m.id
  );
end
$$;

comment on function llm_private.rotating_from is
'The readable master keys before the newest that wrap data keys.';

create function llm_private.can_rewrap(p_from smallint[])
returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return exists (
    select from unnest(p_from) as m (id)
    cross join lateral (select llm_private.readable_master_key(m.id) as secret offset 0) as s
    inner join llm_private.key_owners as o on m.id = o.master_key_id
    where llm_private.unwrap_data_key(o.id, o.wrapped_key, s.secret) is not null
  );
end
$$;

comment on function llm_private.can_rewrap is
'Whether a rotation is pending: whether one of these master keys unwraps a data key. Damaged data keys do not count.';

create function llm_private.unused_master_keys(p_newest smallint)
returns setof smallint
language plpgsql
stable
rows 1
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  select m.id from llm_private.master_keys as m
  where
    m.id < p_newest
    and not exists (select from llm_private.key_owners as o where o.master_key_id = m.id)
    and not exists (select from llm_private.key_owners as o where o.lost_master_key_id = m.id)
  order by m.id;
end
$$;

comment on function llm_private.unused_master_keys is 'Master keys before the newest that no owner needs any more.';

create function llm_private.start_rotation()
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_newest smallint;
  v_new smallint;
begin
  -- Two calls at the same time must not start two. A pending rotation is continued without this lock.
  v_newest := (select max(m.id) from llm_private.master_keys as m);
  if llm_private.can_rewrap(llm_private.rotating_from(v_newest)) then
    return;
  end if;
  lock table llm_private.master_keys in share row exclusive mode;
  v_newest := (select max(m.id) from llm_private.master_keys as m);
  -- A lost master key is not rotated but imported or replaced. Error master_key_missing.
  perform llm_private.master_key(v_newest);
  if llm_private.can_rewrap(llm_private.rotating_from(v_newest)) then
    return;
  end if;
  v_new := llm_private.add_master_key();
  perform llm_private.audit_operator(
    'vault_rotation_started', p_detail => jsonb_build_object('master_key', v_new, 'previous', v_newest)
  );
end
$$;

comment on function llm_private.start_rotation is
'Create a master key, unless a rotation is pending. Error master_key_missing.';

-- Without sequential scans, because each batch reads few of many owners.
create function llm_private.rewrap_batch(p_newest smallint, p_from smallint[], p_after uuid, p_batch integer)
returns llm_private.rewrapped_batch
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
  v_master constant text := llm_private.master_key(p_newest);
  v_batch llm_private.rewrapped_batch;
begin
  with master as materialized (
    select m.id, llm_private.readable_master_key(m.id) as secret from unnest(p_from) as m (id)
  ),

  batch as materialized (
    select b.id, llm_private.unwrap_data_key(b.id, b.wrapped_key, b.secret) as data_key
    from (
      select o.id, o.wrapped_key, m.secret
      from master as m
      -- Skips owners who store a key right now, and those of another rotation's batch.
      cross join lateral (
        select k.id, k.wrapped_key from llm_private.key_owners as k
        where k.master_key_id = m.id and k.id > p_after
        order by k.id
        limit p_batch
        for no key update skip locked
      ) as o
      order by o.id
      limit p_batch
    ) as b
  ),

  rewrapped as (
    update llm_private.key_owners as o
    set master_key_id = p_newest, wrapped_key = llm_private.wrap_data_key(o.id, b.data_key, v_master)
    from batch as b
    where o.id = b.id and b.data_key is not null
    returning o.id
  )

  select
    (select count(*) from batch), (select count(*) from rewrapped),
    coalesce((select b.id from batch as b order by b.id desc limit 1), p_after)
  into v_batch;
  return v_batch;
end
$$;

comment on function llm_private.rewrap_batch is
'Wrap the data keys of up to p_batch owners after p_after with the newest master key. A data key that cannot be
unwrapped stays as it is.';

create function llm_private.destroy_master_keys(p_newest smallint)
returns smallint[]
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_master llm_private.master_keys;
  v_destroyed smallint[] := '{}'::smallint[];
begin
  -- Skips one that a transaction has locked to wrap a new owner's data key.
  for v_master in
    select * from llm_private.master_keys as m
    where m.id in (select u.id from llm_private.unused_master_keys(p_newest) as u (id))
    order by m.id
    for update skip locked
  loop
    -- Such a transaction may have ended between the snapshot and the lock.
    continue when v_master.id not in (select u.id from llm_private.unused_master_keys(p_newest) as u (id));
    delete from vault.secrets where id = v_master.vault_secret_id;
    delete from llm_private.master_keys where id = v_master.id;
    v_destroyed := v_destroyed || v_master.id;
  end loop;
  return v_destroyed;
end
$$;

comment on function llm_private.destroy_master_keys is
'Delete the master keys that no owner needs, with their entries in Vault; returns their ids.';

create function llm_private.count_owners(p_newest smallint, p_from smallint[], p_openable boolean)
returns bigint
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if not p_openable then
    return (
      select count(*) from llm_private.key_owners as o
      where o.master_key_id < p_newest and o.master_key_id <> all(p_from)
    );
  end if;
  return (
    with master as materialized (
      select m.id, llm_private.readable_master_key(m.id) as secret from unnest(p_from) as m (id)
    )

    select count(*) from llm_private.key_owners as o
    inner join master as m on o.master_key_id = m.id
    where llm_private.unwrap_data_key(o.id, o.wrapped_key, m.secret) is not null
  );
end
$$;

comment on function llm_private.count_owners is
'With p_openable: the owners of these master keys whose data keys can be unwrapped. Without: the owners of other master
keys before the newest, which are lost.';

create function llm_private.rotate_vault(p_batch integer, p_after uuid)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_first constant uuid := '00000000-0000-0000-0000-000000000000'::uuid;
  v_newest smallint;
  v_from smallint[];
  v_batch llm_private.rewrapped_batch;
  v_left bigint;
  v_unreadable bigint;
  v_destroyed smallint[] := '{}'::smallint[];
  v_pass_ended boolean;
  v_finished boolean := false;
begin
  perform llm_private.require_plain_call('rotate_llm_vault');
  perform llm_private.check_value('invalid_argument', p_batch between 1 and 10000, 'p_batch', '1 to 10000');
  if p_after is null then
    perform llm_private.start_rotation();
  end if;
  v_newest := llm_private.newest_master_key();
  v_from := llm_private.rotating_from(v_newest);
  v_batch := llm_private.rewrap_batch(v_newest, v_from, coalesce(p_after, v_first), p_batch);
  v_left := (select count(*) from llm_private.key_owners as o where o.master_key_id = any(v_from));
  v_unreadable := llm_private.count_owners(v_newest, v_from, false);
  v_pass_ended := not exists (
    select from llm_private.key_owners as o where o.master_key_id = any(v_from) and o.id > v_batch.last_id
  );
  if v_pass_ended then
    v_destroyed := llm_private.destroy_master_keys(v_newest);
    -- Those that stay: their data keys are damaged, or another transaction has locked them.
    v_unreadable := v_unreadable + v_left;
    v_left := llm_private.count_owners(v_newest, v_from, true);
    v_unreadable := v_unreadable - v_left;
    v_finished := v_left = 0 and not exists (select from llm_private.unused_master_keys(v_newest));
  end if;
  if v_finished and (v_batch.owners > 0 or v_destroyed <> '{}') then
    perform llm_private.audit_operator(
      'vault_rotated', p_detail => jsonb_build_object(
        'master_key', v_newest, 'destroyed', v_destroyed, 'unreadable', v_unreadable,
        'owners', (select count(*) from llm_private.key_owners as o where o.master_key_id = v_newest)
      )
    );
  end if;
  return jsonb_build_object(
    'rewrapped', v_batch.rewrapped, 'left', v_left, 'destroyed', cardinality(v_destroyed),
    'unreadable', v_unreadable, 'finished', v_finished,
    'after', case when v_pass_ended then v_first else v_batch.last_id end
  );
end
$$;

comment on function llm_private.rotate_vault is 'See rotate_llm_vault().';

create function llm_private.get_vault()
returns jsonb
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_newest constant smallint := (select max(m.id) from llm_private.master_keys as m);
  v_from constant smallint[] := llm_private.rotating_from(v_newest);
  v_pending constant boolean := llm_private.can_rewrap(v_from);
  v_old constant bigint := (select count(*) from llm_private.key_owners as o where o.master_key_id = any(v_from));
begin
  return jsonb_build_object(
    'master_keys', (
      select coalesce(
        jsonb_agg(
          jsonb_build_object(
            'id', m.id, 'created_at', m.created_at, 'readable', llm_private.readable_master_key(m.id) is not null,
            'owners', coalesce(o.owners, 0)
          ) order by m.id
        ), '[]'
      )
      from llm_private.master_keys as m
      left join (
        select k.master_key_id, count(*) as owners from llm_private.key_owners as k group by k.master_key_id
      ) as o on m.id = o.master_key_id
    ),
    'ticket_keys', (
      select coalesce(
        jsonb_agg(
          jsonb_build_object('id', t.id, 'created_at', t.created_at, 'valid_until', t.valid_until) order by t.id
        ), '[]'
      )
      from llm_private.ticket_keys as t
      where t.valid_until is null or t.valid_until > now()
    ),
    'left', case when v_pending then v_old else 0 end,
    'unreadable', llm_private.count_owners(v_newest, v_from, false) + case when v_pending then 0 else v_old end,
    'pending', v_pending or exists (select from llm_private.unused_master_keys(v_newest))
  );
end
$$;

comment on function llm_private.get_vault is 'See get_llm_vault().';

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

create function public.get_llm_vault()
returns jsonb
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select llm_private.get_vault()
$$;

comment on function public.get_llm_vault is
'For administrators: the master keys (id, created_at, readable: whether Vault can decrypt it, owners: how many users and
teams need it), of which the last one wraps new data keys; the keys that sign tickets (id, created_at, valid_until); and
whether a rotation is pending, with how many owners are left and how many need a lost master key (unreadable). Never a
key itself.';

create function public.rotate_llm_vault(p_batch integer default 2000, p_after uuid default null)
returns jsonb
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select llm_private.rotate_vault(p_batch, p_after)
$$;

comment on function public.rotate_llm_vault is
'For administrators: wrap up to p_batch users'' and teams'' data keys with a new master key. Without p_after, it starts
a rotation, or continues the pending one; further calls send the after of the previous result, until finished is true.
Master keys that nobody needs any more are destroyed. Returns rewrapped (in this call), left, destroyed, unreadable
(data keys that cannot be unwrapped; they stay, and so does their master key), finished and after.
Errors: invalid_argument, master_key_missing.';

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
