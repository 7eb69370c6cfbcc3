-- Problems: what is wrong with an installation, each with what to do about it.
--
-- At its end, the migration stores the catalog that it has built: definitions, row level security, policies and grants
-- of supa-llm's objects. What differs from it later was changed by someone else.

create table llm_private.installation (
  only_row boolean primary key default true check (only_row),
  version text not null,
  public_names text[] not null,
  catalog jsonb not null default '{}',
  installed_at timestamptz not null default now(),
  maintained_at timestamptz
);

comment on table llm_private.installation is 'What the migrations have installed; exactly one row.';
comment on column llm_private.installation.version is 'The release of supa-llm whose migration ran last.';
comment on column llm_private.installation.public_names is 'The tables, types and functions in public.';
comment on column llm_private.installation.catalog is 'See catalog(), at the end of that migration.';
comment on column llm_private.installation.maintained_at is 'When maintenance ran last.';

create table llm_private.refused_events (
  recorder uuid not null,
  day date not null,
  code text not null,
  events integer not null,
  primary key (recorder, day, code)
);

comment on table llm_private.refused_events is
'How many events of a runtime or user were refused on a day (UTC), by error code. Maintenance keeps 30 days.';

create table llm_private.dropped_events (
  recorder uuid not null,
  day date not null,
  reason text not null,
  events integer not null,
  primary key (recorder, day, reason)
);

comment on table llm_private.dropped_events is
'How many events the clients of a runtime or user dropped before a day''s (UTC) calls, by reason, as they report it.
Maintenance keeps 30 days.';

alter table llm_private.installation enable row level security;
alter table llm_private.refused_events enable row level security;
alter table llm_private.dropped_events enable row level security;

create type public.llm_problem as (
  code text,
  severity text,
  subject text,
  message text,
  hint text
);

comment on type public.llm_problem is
'Something to fix. severity: error or warning. subject: the object, setting, provider or model that it is about.';

-- Private helpers -----------------------------------------------------------------------------------------------------

create function llm_private.grants(p_acl aclitem[], p_owner oid, p_column text default null)
returns text[]
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(array_agg(g.line order by g.line), '{}')
  from (
    select
      lower(a.privilege_type) || coalesce(' (' || p_column || ')', '') || ' to '
      || case when a.grantee = 0 then 'public' else a.grantee::regrole::text end as line
    from aclexplode(p_acl) as a
    where a.grantee <> p_owner
  ) as g
$$;

comment on function llm_private.grants is 'An access control list as lines such as "select to authenticated".';

create function llm_private.catalog(p_public_names text[])
returns jsonb
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  with space as (
    select n.oid, n.nspname, n.nspacl, n.nspowner from pg_namespace as n where n.nspname in ('public', 'llm_private')
  ),

  object as (
    select
      'function ' || n.nspname || '.' || p.proname as name,
      md5(concat_ws(
        ' ', p.prosrc, p.prosecdef, p.proconfig, pg_get_function_identity_arguments(p.oid),
        case when p.prosecdef then p.proowner::regrole end
      )) as definition,
      llm_private.grants(coalesce(p.proacl, acldefault('f', p.proowner)), p.proowner) as grants
    from space as n
    inner join pg_proc as p on n.oid = p.pronamespace
    where n.nspname = 'llm_private' or p.proname = any(p_public_names)
    union all
    select
      'table ' || n.nspname || '.' || c.relname,
      case when c.relrowsecurity then 'row level security' else 'no row level security' end,
      llm_private.grants(coalesce(c.relacl, acldefault('r', c.relowner)), c.relowner)
      || array(
        select g.line from pg_attribute as a
        cross join lateral unnest(llm_private.grants(a.attacl, c.relowner, a.attname)) as g (line)
        where a.attrelid = c.oid order by g.line
      )
    from space as n
    inner join pg_class as c on n.oid = c.relnamespace
    -- Partitions are made later, and are checked apart from this.
    where c.relkind in ('r', 'p') and not c.relispartition
      and (n.nspname = 'llm_private' or c.relname = any(p_public_names))
    union all
    select
      'policy ' || l.polname || ' of ' || n.nspname || '.' || c.relname,
      md5(concat_ws(
        ' ', l.polcmd, l.polpermissive, array(select r::regrole::text from unnest(l.polroles) as r order by 1),
        pg_get_expr(l.polqual, l.polrelid), pg_get_expr(l.polwithcheck, l.polrelid)
      )),
      '{}'
    from space as n
    inner join pg_class as c on n.oid = c.relnamespace
    inner join pg_policy as l on c.oid = l.polrelid
    where n.nspname = 'llm_private' or c.relname = any(p_public_names)
    union all
    select 'schema ' || n.nspname, '', llm_private.grants(n.nspacl, n.nspowner)
    from space as n
    where n.nspname = 'llm_private'
  )

  select jsonb_object_agg(o.name, jsonb_build_object('definition', o.definition, 'grants', o.grants)) from object as o
$$;

comment on function llm_private.catalog is
'supa-llm''s functions, tables, policies and schema: name → definition and grants.';

create function llm_private.note_installation(p_version text, p_public_names text[])
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  insert into llm_private.installation as i (version, public_names, catalog)
  values (p_version, p_public_names, llm_private.catalog(p_public_names))
  on conflict (only_row) do update set
    version = excluded.version,
    public_names = excluded.public_names,
    catalog = excluded.catalog,
    installed_at = excluded.installed_at;
end
$$;

comment on function llm_private.note_installation is
'Store what this release has installed. Each migration calls it at its end.';

create function llm_private.catalog_problems()
returns setof public.llm_problem
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  with difference as (
    select
      coalesce(was.key, now.key) as name,
      was.value ->> 'definition' as old_definition,
      now.value ->> 'definition' as definition,
      (now.value -> 'grants') - array(select jsonb_array_elements_text(was.value -> 'grants')) as added,
      (was.value -> 'grants') - array(select jsonb_array_elements_text(now.value -> 'grants')) as removed
    from llm_private.installation as i
    cross join lateral jsonb_each(i.catalog) as was
    full join jsonb_each(
      llm_private.catalog((select n.public_names from llm_private.installation as n))
    ) as now on was.key = now.key
    where was.value is distinct from now.value
  )

  select p.code, p.severity, d.name, p.message, p.hint
  from difference as d
  cross join lateral (
    values
    (
      d.definition is null, 'object_missing', 'error', 'It was dropped.',
      'Run its statements in supa-llm''s migration again.'
    ),
    (
      d.old_definition is null, 'object_unknown', 'warning', 'It is not supa-llm''s, but is where supa-llm''s are.',
      'Drop it, or move it to a schema of your own.'
    ),
    (
      d.definition = 'no row level security', 'rls_off', 'error', 'Row level security is off.',
      format('Run: alter table %s enable row level security', split_part(d.name, ' ', 2))
    ),
    (
      d.old_definition <> d.definition and d.name not like 'table %', 'object_changed', 'error',
      'It is not what the migration created.', 'Run its statements in supa-llm''s migration again.'
    ),
    (
      d.old_definition is not null and d.added <> '[]', 'grants_widened', 'error',
      'More roles may use it: ' || array_to_string(array(select jsonb_array_elements_text(d.added)), ', ') || '.',
      'Revoke these grants.'
    ),
    (
      d.definition is not null and d.removed <> '[]', 'grants_missing', 'error',
      'It has lost grants: ' || array_to_string(array(select jsonb_array_elements_text(d.removed)), ', ') || '.',
      'Grant them again.'
    )
  ) as p (applies, code, severity, message, hint)
  where p.applies
  order by d.name;
end
$$;

comment on function llm_private.catalog_problems is 'Differences between the catalog and what the migration created.';

create function llm_private.table_problems()
returns setof public.llm_problem
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  select
    'function_overloaded', 'error', 'function ' || p.proname,
    'Several functions in the schema public have this name, so the API cannot choose one.',
    'Rename the function that is not supa-llm''s.'
  from pg_proc as p
  inner join llm_private.installation as i on p.proname = any(i.public_names)
  where p.pronamespace = 'public'::regnamespace
  group by p.proname
  having count(*) > 1;
  return query
  select
    'partition_open', 'error', 'table llm_private.' || c.relname,
    'Row level security is off, or a role has grants on this partition.',
    format('Run: alter table llm_private.%1$I enable row level security; revoke all on llm_private.%1$I from public, anon, '
      'authenticated, service_role', c.relname)
  from pg_class as c
  where
    c.relispartition and c.relkind = 'r' and c.relnamespace = 'llm_private'::regnamespace
    and (
      not c.relrowsecurity
      or llm_private.grants(coalesce(c.relacl, acldefault('r', c.relowner)), c.relowner) <> '{}'
    );
  return query
  select
    'partition_missing', 'warning', 'table public.' || t.name,
    'The next month has no partition, so its rows will go to the default partition.',
    'Run maintenance: supa-llm maintenance run'
  from unnest('{llm_usage_events,llm_audit_log}'::text[]) as t (name)
  where to_regclass(
    format('llm_private.%I', t.name || to_char((now() at time zone 'UTC') + interval '1 month', '_YYYY_MM'))
  ) is null;
end
$$;

comment on function llm_private.table_problems is 'Overloaded functions, and partitions that are missing or open.';

create function llm_private.master_key_problems()
returns setof public.llm_problem
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_master record;
  v_secret text;
  v_unreadable integer;
begin
  for v_master in
    select
      m.id, count(k.id) as keys,
      m.id = (select max(n.id) from llm_private.master_keys as n) as encrypts,
      exists (select from vault.secrets as e where e.id = m.vault_secret_id) as is_there
    from llm_private.master_keys as m
    left join llm_private.key_owners as o on m.id = o.master_key_id
    -- Those of a lost master key that was replaced are no problem of the operator any more.
    left join public.llm_keys as k on o.id = k.owner_id and k.status <> 'unreadable'
    group by m.id
    order by m.id
  loop
    v_secret := llm_private.readable_master_key(v_master.id);
    if v_secret is null and (v_master.encrypts or v_master.keys > 0) then
      return next row(
        case when v_master.is_there then 'master_key_unreadable' else 'master_key_missing' end, 'error',
        format('master key %s', v_master.id),
        case
          when v_master.is_there then 'Vault cannot decrypt its entry, or has another secret there.'
          else 'Its entry is not in Vault.'
        end
        || format(' Stored keys that need it: %s.', v_master.keys),
        'Import it from a backup. If it is lost: supa-llm vault replace-lost-key. See docs/backup.md.'
      )::public.llm_problem;
    elsif v_secret is not null then
      v_unreadable := llm_private.unreadable_keys(v_master.id, v_secret);
      if v_unreadable > 0 then
        return next row(
          'keys_unreadable', 'error', format('master key %s', v_master.id),
          format('Of the newest 100 stored keys, it cannot decrypt %s.', v_unreadable),
          'They were damaged. Have their users store their keys again, or restore a backup.'
        )::public.llm_problem;
      end if;
    end if;
  end loop;
  if not exists (select from llm_private.master_keys) then
    return next row(
      'master_key_missing', 'error', 'master key', 'There is none, so no key can be stored.',
      'Restore a backup. For a project without stored keys: supa-llm vault replace-lost-key. See docs/backup.md.'
    )::public.llm_problem;
  end if;
end
$$;

comment on function llm_private.master_key_problems is
'Master keys that are missing or do not decrypt the stored keys.';

create function llm_private.rotation_problems()
returns setof public.llm_problem
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_newest constant smallint := (select max(m.id) from llm_private.master_keys as m);
  v_from constant smallint[] := llm_private.rotating_from(v_newest);
begin
  if llm_private.can_rewrap(v_from) or exists (select from llm_private.unused_master_keys(v_newest)) then
    return next row(
      'vault_rotation_unfinished', 'warning', format('master key %s', v_newest),
      format(
        'A rotation of the master key is not finished: %s data keys still need an earlier one.',
        (select count(*) from llm_private.key_owners as o where o.master_key_id = any(v_from))
      ),
      'Finish it: supa-llm vault rotate'
    )::public.llm_problem;
  end if;
end
$$;

comment on function llm_private.rotation_problems is 'A rotation of the master key that is not finished.';

create function llm_private.unreadable_keys(p_master smallint, p_secret text)
returns integer
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_row record;
  v_unreadable integer := 0;
begin
  for v_row in
    select o.id, o.wrapped_key, s.key_id, s.ciphertext from llm_private.key_owners as o
    inner join public.llm_keys as k on o.id = k.owner_id
    inner join llm_private.key_secrets as s on k.owner_id = s.owner_id and k.id = s.key_id
    where o.master_key_id = p_master and k.status <> 'unreadable'
    order by k.created_at desc limit 100
  loop
    begin
      perform llm_private.decrypt_key(
        v_row.id, v_row.key_id, v_row.ciphertext, llm_private.unwrap_data_key(v_row.id, v_row.wrapped_key, p_secret)
      );
    exception when others then
      v_unreadable := v_unreadable + 1;
    end;
  end loop;
  return v_unreadable;
end
$$;

comment on function llm_private.unreadable_keys is
'How many of the newest 100 keys whose owners'' data keys this master key wraps cannot be decrypted with this secret.';

create function llm_private.logging_problems()
returns setof public.llm_problem
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  -- Parameters of calls contain keys. PostgreSQL leaves them out of the log if their maximum length is 0.
  v_cut constant boolean := current_setting('log_parameter_max_length') = '0';
begin
  return query
  select
    'keys_logged', 'error', 'setting ' || s.name,
    format(
      '%s is %s, so the database''s log contains the keys that users store.', s.name, current_setting(s.name, true)
    ),
    format('Set %s for the role authenticator, then restart the API.', s.remedy)
  from (
    values
    (
      'log_statement', 'log_parameter_max_length = 0 or log_statement = ddl',
      not v_cut and current_setting('log_statement') = 'all'
    ),
    (
      'log_min_duration_statement', 'log_parameter_max_length = 0',
      not v_cut and current_setting('log_min_duration_statement') <> '-1'
    ),
    (
      'log_min_duration_sample', 'log_parameter_max_length = 0',
      not v_cut and current_setting('log_min_duration_sample') <> '-1'
      and current_setting('log_statement_sample_rate')::double precision > 0
    ),
    (
      'log_transaction_sample_rate', 'log_parameter_max_length = 0',
      not v_cut and current_setting('log_transaction_sample_rate')::double precision > 0
    ),
    (
      'log_parameter_max_length_on_error', 'log_parameter_max_length_on_error = 0',
      current_setting('log_parameter_max_length_on_error') <> '0'
    ),
    (
      'auto_explain.log_min_duration', 'auto_explain.log_parameter_max_length = 0',
      coalesce(nullif(current_setting('auto_explain.log_min_duration', true), ''), '-1') <> '-1'
      and coalesce(nullif(current_setting('auto_explain.log_parameter_max_length', true), ''), '-1') <> '0'
    ),
    (
      'pgaudit.log_parameter', 'pgaudit.log_parameter = off',
      coalesce(nullif(current_setting('pgaudit.log_parameter', true), ''), 'off') = 'on'
      and coalesce(nullif(current_setting('pgaudit.log', true), ''), 'none') <> 'none'
    )
  ) as s (name, remedy, applies)
  where s.applies;
end
$$;

comment on function llm_private.logging_problems is
'Settings with which the log contains parameters of calls. They are those of the session that asks, so ask through the
API: a role can have settings of its own.';

create function llm_private.operation_problems()
returns setof public.llm_problem
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  select
    'maintenance_overdue', 'warning', 'maintenance',
    case
      when i.maintained_at is null then 'Maintenance has never run.'
      else 'Maintenance last ran at ' || to_char(i.maintained_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI') || ' UTC.'
    end || ' Reports become slower, and nothing past its retention is dropped.',
    'Schedule it: see "Run maintenance" in docs/usage.md.'
  from llm_private.installation as i
  where
    coalesce(i.maintained_at, i.installed_at) < now() - interval '1 day'
    and exists (select from public.llm_usage_totals as t where t.hour < now() - interval '1 day');
  return query
  select
    'runtime_missing', 'error', 'setting keys_readable_by',
    'Only a registered runtime can read keys, and none is registered, so no request can run.',
    'Register the app''s server: supa-llm runtimes add NAME'
  from llm_private.operator_settings as o
  where o.keys_readable_by = 'runtime' and not exists (select from llm_private.runtimes as r where r.revoked_at is null);
  return query
  select
    'price_missing', 'warning', 'model ' || t.provider || '/' || t.model,
    format('It has no price: %s attempts of the last 7 days have no cost.', sum(t.unpriced)),
    'Run: supa-llm prices sync, or set a price: supa-llm prices set'
  from public.llm_usage_totals as t
  where t.hour > now() - interval '7 days' and t.unpriced > 0
  group by t.provider, t.model
  order by sum(t.unpriced) desc limit 20;
  return query
  select
    'usage_refused', 'warning', 'error ' || r.code,
    format('%s usage events of the last 7 days were refused with this error and are not counted.', sum(r.events)),
    'See docs/errors.md for the error. Update the app''s server if it runs an older version of supa-llm.'
  from llm_private.refused_events as r
  where r.day > current_date - 7
  group by r.code
  order by sum(r.events) desc;
  return query
  select
    'usage_dropped', 'warning', 'reason ' || d.reason,
    format('Clients dropped %s usage events of the last 7 days, which are not counted.', sum(d.events)),
    case d.reason
      when 'database_unavailable' then 'They could not reach the project. Keep events on disk: see usage_spool in docs/client.md.'
      when 'queue_full' then 'The project was too slow or unavailable. See the log of the app''s server.'
      when 'token_refused' then 'The users'' access tokens had expired. Give the app''s server a runtime secret.'
      else 'See the warnings of the logger supa_llm in the log of the app''s server.'
    end
  from llm_private.dropped_events as d
  where d.day > current_date - 7
  group by d.reason
  order by sum(d.events) desc;
  return query
  select
    'requests_refused', 'warning', 'error ' || r.code,
    format(
      'Clients report that %s requests of %s users were refused with it in the last 7 days.',
      sum(r.refusals), count(distinct r.user_id)
    ),
    case r.code
      when 'model_unpriced' then 'Set prices for the models that your users request: supa-llm prices sync or supa-llm prices set.'
      else 'See docs/errors.md for the error.'
    end
  from llm_private.refusals as r
  -- Those that only the operator can resolve.
  where
    r.day > current_date - 7
    and r.code in ('key_unreadable', 'master_key_missing', 'model_unpriced', 'runtime_required', 'runtime_unknown')
  group by r.code
  order by sum(r.refusals) desc;
end
$$;

comment on function llm_private.operation_problems is
'Overdue maintenance, a missing runtime, missing prices, refused or dropped usage, and refused requests.';

create function llm_private.audit_problems()
returns setof public.llm_problem
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return query
  select
    'audit_tampered', 'error',
    'audit log of '
    || case when f.user_id = llm_private.operator_id() then 'the operator' else 'user ' || f.user_id end,
    case f.problem ->> 'kind'
      when 'changed' then format('Entry %s was changed after it was sealed.', f.problem ->> 'entry')
      when 'removed' then format('Entry %s was removed after it was sealed.', f.problem ->> 'entry')
      when 'inserted' then format('Entry %s was inserted later than it claims.', f.problem ->> 'entry')
      when 'seal_removed' then format('Seal %s was removed.', f.problem ->> 'seal')
      else format('Seal %s was changed.', f.problem ->> 'seal')
    end,
    'Find out who used the database''s owner role. See "Verify the audit log" in docs/security.md.'
  from llm_private.audit_findings as f
  order by f.found_at limit 20;
  return query
  select
    'audit_unsealed', 'warning', 'audit log',
    'Entries older than a day are not sealed, so a change of them would go unnoticed.',
    'Run maintenance: supa-llm maintenance run'
  from llm_private.installation as i
  left join llm_private.audit_sealing as s on true
  where
    coalesce(s.finished_at, i.installed_at) < now() - interval '1 day'
    and exists (
      select from public.llm_audit_log as l
      where
        l.id >= llm_private.first_uuid_v7(coalesce(s.finished_at, 'epoch'))
        and l.id < llm_private.first_uuid_v7(now() - interval '1 day')
    );
end
$$;

comment on function llm_private.audit_problems is
'Audit logs in which a verification found a problem, and overdue sealing.';

create function llm_private.list_problems()
returns setof public.llm_problem
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform llm_private.installed_version();
  return query
  select * from llm_private.catalog_problems()
  union all select * from llm_private.table_problems()
  union all select * from llm_private.master_key_problems()
  union all select * from llm_private.rotation_problems()
  union all select * from llm_private.logging_problems()
  union all select * from llm_private.audit_problems()
  union all select * from llm_private.operation_problems();
end
$$;

comment on function llm_private.list_problems is 'See list_llm_problems().';

create function llm_private.installed_version()
returns jsonb
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_version constant text := (select i.version from llm_private.installation as i);
begin
  if v_version is null then
    perform llm_private.fail(
      500, 'rows_missing', 'The rows that supa-llm''s migration inserts are missing, as after a restore of the schema '
      'alone. Its grants may be too wide as well.', 'Build the database with the migrations: see docs/backup.md.'
    );
  end if;
  return jsonb_build_object('version', v_version, 'now', clock_timestamp());
end
$$;

comment on function llm_private.installed_version is 'See get_llm_version(). Error rows_missing.';

-- Public RPCs ---------------------------------------------------------------------------------------------------------

create function public.list_llm_problems()
returns setof public.llm_problem
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select * from llm_private.list_problems()
$$;

comment on function public.list_llm_problems is
'For administrators: what is wrong with the installation, each with what to do. supa-llm doctor also checks what only
a client can see. Error rows_missing.';

create function public.get_llm_version()
returns jsonb
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select llm_private.installed_version()
$$;

comment on function public.get_llm_version is
'For administrators: the version of supa-llm in the database, and the database''s time.';
