-- Seals: what makes the audit log tamper-evident, also against the database's owner.
--
-- Sealing hashes the new entries of a log in batches. Each seal holds the SHA-256 of every entry, and a hash of itself
-- and of the previous seal, its head. So a head stands for the whole log up to then. Whoever rewrites entries and all
-- later seals cannot rewrite the seals that were exported before: see docs/security.md.
--
-- Entries are sealed by maintenance and before a verification, never when they are written. Ids are made before their
-- transaction commits, so an entry may appear after entries with greater ids were sealed. Sealing therefore lists what
-- it has seen instead of relying on ranges of ids. An entry that was inserted with an old id is recognized by its
-- transaction: a seal point is a transaction number and the time before which it was not given out. An entry with a
-- greater number that claims an earlier time was backdated. A late commit has a smaller number.

create table llm_private.audit_seals (
  user_id uuid not null,
  number integer not null,
  sealed_at timestamptz not null,
  total bigint not null,
  first_id uuid not null,
  last_id uuid not null,
  ids uuid[],
  digests bytea[],
  content bytea not null,
  head bytea not null,
  primary key (user_id, number)
);

comment on table llm_private.audit_seals is
'The seals of each log, numbered from 1. A log belongs to a user, or to the operator under operator_id().';
comment on column llm_private.audit_seals.total is 'The number of entries in this seal and all earlier ones.';
comment on column llm_private.audit_seals.ids is 'The entries, by id; null once retention has dropped all of them.';
comment on column llm_private.audit_seals.digests is 'The SHA-256 of each entry''s audit_text().';
comment on column llm_private.audit_seals.content is 'The SHA-256 of all digests.';
comment on column llm_private.audit_seals.head is
'See audit_head(). The first seal that is left anchors the later ones.';

create index audit_seals_last_id on llm_private.audit_seals (last_id) where ids is not null;

create table llm_private.audit_seal_points (
  xid bigint not null,
  at timestamptz not null,
  primary key (xid, at)
);

comment on table llm_private.audit_seal_points is
'Transaction numbers, each with a time at which neither it nor a greater one was given out yet.';

create table llm_private.audit_sealing (
  only_row boolean primary key default true check (only_row),
  since uuid not null default '00000000-0000-0000-0000-000000000000',
  next_since uuid,
  reached uuid,
  finished_at timestamptz
);

comment on table llm_private.audit_sealing is
'How far maintenance has sealed the logs, one after the other; at most one row.';
comment on column llm_private.audit_sealing.since is
'Entries with smaller ids are sealed, unless they were inserted later.';
comment on column llm_private.audit_sealing.next_since is 'since of the next pass; null before one begins.';
comment on column llm_private.audit_sealing.reached is 'The last log that this pass has sealed.';
comment on column llm_private.audit_sealing.finished_at is 'When the last pass ended.';

create table llm_private.audit_findings (
  user_id uuid primary key,
  found_at timestamptz not null default now(),
  problem jsonb not null
);

comment on table llm_private.audit_findings is
'Logs in which a verification found a problem, until one finds it gone.';

alter table llm_private.audit_seals enable row level security;
alter table llm_private.audit_seal_points enable row level security;
alter table llm_private.audit_sealing enable row level security;
alter table llm_private.audit_findings enable row level security;

-- Hashes --------------------------------------------------------------------------------------------------------------

create function llm_private.audit_time(p_at timestamptz)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return to_char(p_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"');
end
$$;

comment on function llm_private.audit_time is 'A time as seals hash it: UTC, whatever the settings of the session.';

-- A column that is added later must not change the text of existing entries.
create function llm_private.audit_text(p_entry public.llm_audit_log)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return jsonb_build_array(
    p_entry.user_id, p_entry.id, llm_private.audit_time(p_entry.at), p_entry.action, p_entry.actor, p_entry.provider,
    p_entry.key_id, p_entry.runtime_id, p_entry.detail
  )::text;
end
$$;

comment on function llm_private.audit_text is 'All columns of an entry as canonical text: what its digest is of.';

create function llm_private.audit_digest(p_entry public.llm_audit_log)
returns bytea
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return sha256(convert_to(llm_private.audit_text(p_entry), 'UTF8'));
end
$$;

comment on function llm_private.audit_digest is 'The SHA-256 of an entry.';

create function llm_private.audit_content(p_digests bytea[])
returns bytea
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select sha256(string_agg(d.digest, ''::bytea order by d.position))
    from unnest(p_digests) with ordinality as d (digest, position)
  );
end
$$;

comment on function llm_private.audit_content is 'The SHA-256 of a seal''s digests, one after the other.';

create function llm_private.audit_head(p_seal llm_private.audit_seals, p_previous bytea)
returns bytea
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return sha256(convert_to(
    concat_ws(
      ' ', 'supa-llm audit seal 1', p_seal.user_id, p_seal.number, llm_private.audit_time(p_seal.sealed_at),
      p_seal.total, p_seal.first_id, p_seal.last_id, encode(p_seal.content, 'hex'), encode(p_previous, 'hex')
    ),
    'UTF8'
  ));
end
$$;

comment on function llm_private.audit_head is
'The hash of a seal and of the previous seal''s head, which is empty for the first seal.';

-- Backdated entries ---------------------------------------------------------------------------------------------------

create function llm_private.note_seal_point()
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  -- Not the snapshot's xmax, because a transaction that is still open may have that number.
  insert into llm_private.audit_seal_points (xid, at)
  select pg_current_xact_id()::text::bigint, now()
  where coalesce(
    (select p.at from llm_private.audit_seal_points as p order by p.xid desc, p.at desc limit 1), '-infinity'
  ) < now() - interval '1 minute'
  on conflict do nothing;
end
$$;

comment on function llm_private.note_seal_point is 'Store a seal point, unless the last one is less than a minute old.';

create function llm_private.full_xid(p_xmin xid)
returns bigint
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_next constant bigint := pg_snapshot_xmax(pg_current_snapshot())::text::bigint;
  v_ahead constant bigint := (p_xmin::text::bigint - v_next) & 4294967295;
begin
  return v_next + case when v_ahead > 2147483647 then v_ahead - 4294967296 else v_ahead end;
end
$$;

comment on function llm_private.full_xid is 'The number of a recent transaction, with the epoch that xmin lacks.';

create function llm_private.is_backdated(p_id uuid, p_at timestamptz, p_xmin xid)
returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  -- Clocks are set, and an insert may wait for a lock between making the id and beginning to write.
  v_slack constant interval := interval '1 minute';
  v_made constant timestamptz := llm_private.uuid_v7_time(p_id);
begin
  return
    v_made > clock_timestamp() + v_slack
    -- An entry has the time at which its transaction began.
    or p_at > v_made + v_slack or p_at < v_made - interval '1 day'
    or coalesce(
      (
        select p.at from llm_private.audit_seal_points as p
        where p.xid < llm_private.full_xid(p_xmin)
        order by p.xid desc, p.at desc limit 1
      ) > v_made + v_slack,
      false
    );
end
$$;

comment on function llm_private.is_backdated is
'Whether an entry that is not sealed was inserted later, or has another time, than its id claims.';

create function llm_private.oldest_unseen_audit_id()
returns uuid
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  -- A transaction that is still open has at least this snapshot's xmin, so its entries are newer than a seal point with
  -- a smaller number.
  return coalesce(
    (
      select llm_private.first_uuid_v7(p.at - interval '1 minute') from llm_private.audit_seal_points as p
      where p.xid < pg_snapshot_xmin(pg_current_snapshot())::text::bigint
      order by p.xid desc, p.at desc limit 1
    ),
    '00000000-0000-0000-0000-000000000000'
  );
end
$$;

comment on function llm_private.oldest_unseen_audit_id is
'Entries that are not visible yet will have no smaller id, unless they are backdated.';

-- Sealing -------------------------------------------------------------------------------------------------------------

create function llm_private.seal_audit_log(p_owner uuid, p_since uuid)
returns integer
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_seal llm_private.audit_seals;
  v_last llm_private.audit_seals;
  v_from uuid := p_since;
  v_sealed integer := 0;
begin
  loop
    select array_agg(n.id order by n.id), array_agg(n.digest order by n.id) into v_seal.ids, v_seal.digests
    from (
      select l.id, llm_private.audit_digest(l) as digest from public.llm_audit_log as l
      where
        l.user_id = p_owner and l.id >= v_from
        and l.id not in (
          select unnest(s.ids) from llm_private.audit_seals as s where s.user_id = p_owner and s.last_id >= v_from
        )
        and not llm_private.is_backdated(l.id, l.at, l.xmin)
      order by l.id
      limit 1000
    ) as n;
    exit when v_seal.ids is null;
    select * into v_last from llm_private.audit_seals as s where s.user_id = p_owner order by s.number desc limit 1;
    v_seal.user_id := p_owner;
    v_seal.number := coalesce(v_last.number, 0) + 1;
    v_seal.sealed_at := clock_timestamp();
    v_seal.total := coalesce(v_last.total, 0) + cardinality(v_seal.ids);
    v_seal.first_id := v_seal.ids[1];
    v_seal.last_id := v_seal.ids[cardinality(v_seal.ids)];
    v_seal.content := llm_private.audit_content(v_seal.digests);
    v_seal.head := llm_private.audit_head(v_seal, v_last.head);
    -- Another session that seals the same log takes the same number. This waits for its seal, then looks again.
    insert into llm_private.audit_seals select v_seal.* on conflict do nothing;
    if found then
      v_sealed := v_sealed + cardinality(v_seal.ids);
      v_from := v_seal.last_id;
    end if;
  end loop;
  return v_sealed;
end
$$;

comment on function llm_private.seal_audit_log is
'Seal the entries of a log from the id p_since that are committed and not sealed yet; returns how many.';

create function llm_private.next_audit_owner(p_owner uuid, p_since uuid)
returns uuid
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select l.user_id from public.llm_audit_log as l
    where
      (p_owner is null or l.user_id > p_owner)
      -- Only to skip the partitions of older months.
      and l.id >= llm_private.first_uuid_v7(date_trunc('month', llm_private.uuid_v7_time(p_since), 'UTC'))
    order by l.user_id limit 1
  );
end
$$;

comment on function llm_private.next_audit_owner is
'The owner of the next log after p_owner''s with an entry from the month of p_since; null after the last one.';

create function llm_private.seal_audit_logs(p_for interval)
returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_end constant timestamptz := clock_timestamp() + p_for;
  v_state llm_private.audit_sealing;
  v_sealed integer := 0;
begin
  insert into llm_private.audit_sealing default values on conflict do nothing;
  select * into v_state from llm_private.audit_sealing for update skip locked;
  if not found then
    return jsonb_build_object('sealed', null, 'done', false);
  end if;
  if v_state.next_since is null then
    -- What is not visible yet when a pass begins is left to the next one.
    v_state.next_since := llm_private.oldest_unseen_audit_id();
    perform llm_private.note_seal_point();
  end if;
  loop
    v_state.reached := llm_private.next_audit_owner(v_state.reached, v_state.since);
    if v_state.reached is null then
      v_state.since := v_state.next_since;
      v_state.next_since := null;
      v_state.finished_at := now();
      exit;
    end if;
    perform from public.llm_audit_log as l where l.user_id = v_state.reached and l.id >= v_state.since limit 1;
    if found then
      v_sealed := v_sealed + llm_private.seal_audit_log(v_state.reached, v_state.since);
    end if;
    exit when clock_timestamp() > v_end;
  end loop;
  update llm_private.audit_sealing set
    since = v_state.since, next_since = v_state.next_since, reached = v_state.reached,
    finished_at = v_state.finished_at;
  return jsonb_build_object('sealed', v_sealed, 'done', v_state.next_since is null);
end
$$;

comment on function llm_private.seal_audit_logs is
'Seal the new entries of all logs, at most for this long, from where the last call stopped. Returns sealed: how many
entries (null: another session is sealing), and done.';

create function llm_private.forget_dropped_seals(p_since timestamptz)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_first constant uuid := llm_private.first_uuid_v7(p_since);
  v_owners uuid[];
begin
  with emptied as (
    update llm_private.audit_seals as s set ids = null, digests = null
    where (s.user_id, s.number) in (
      select d.user_id, d.number from llm_private.audit_seals as d
      where d.ids is not null and d.last_id < v_first
      limit 10000
    )
    returning s.user_id
  )

  select array_agg(distinct e.user_id) into v_owners from emptied as e;
  -- The newest of a log's leading seals without entries stays, as the anchor of the next seal.
  delete from llm_private.audit_seals as s
  using unnest(v_owners) as o (user_id)
  where
    s.user_id = o.user_id and s.ids is null
    and not exists (
      select from llm_private.audit_seals as k
      where k.user_id = s.user_id and k.number <= s.number + 1 and k.ids is not null
    )
    and exists (
      select from llm_private.audit_seals as n where n.user_id = s.user_id and n.number = s.number + 1
    );
  -- No entry that is kept claims an earlier time.
  delete from llm_private.audit_seal_points as p where p.at < p_since;
end
$$;

comment on function llm_private.forget_dropped_seals is
'After retention has dropped the entries from before p_since: drop their digests, and the seals and points that no later
one needs.';

-- Verification --------------------------------------------------------------------------------------------------------

create function llm_private.audit_dropped_before()
returns uuid
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_month text;
begin
  -- Months are dropped from the oldest one, so a later record replaces each record that is dropped itself.
  select max(m.month) into v_month
  from public.llm_audit_log as l
  cross join lateral jsonb_array_elements_text(
    case jsonb_typeof(l.detail -> 'audit') when 'array' then l.detail -> 'audit' else '[]' end
  ) as m (month)
  where
    l.user_id = llm_private.operator_id() and l.action = 'months_dropped'
    and m.month ~ '^\d{4}-(0[1-9]|1[0-2])$';
  return llm_private.first_uuid_v7(((v_month || '-01')::timestamp + interval '1 month') at time zone 'UTC');
end
$$;

comment on function llm_private.audit_dropped_before is
'By the operator''s log, retention has dropped the entries with smaller ids; null if it has dropped none.';

create function llm_private.audit_removed_until(p_owner uuid)
returns uuid
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select l.id from public.llm_audit_log as l
    where
      l.user_id = llm_private.operator_id() and l.action = 'user_data_removed'
      and l.detail ->> 'user_id' = p_owner::text
    order by l.id desc limit 1
  );
end
$$;

comment on function llm_private.audit_removed_until is
'By the operator''s log, an administrator has removed the user''s entries with smaller ids; null if nobody has.';

create type llm_private.audit_page as (
  until uuid,
  next uuid,
  verified bigint,
  unsealed bigint,
  changed uuid,
  inserted uuid,
  missing uuid []
);

comment on type llm_private.audit_page is
'Entries of a log compared with its seals: counts, the first entry that was changed, the first one that was inserted,
and all sealed entries that are missing.';

create function llm_private.compare_audit_page(p_owner uuid, p_after uuid, p_limit integer, p_since uuid)
returns llm_private.audit_page
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_page llm_private.audit_page;
begin
  v_page.next := (
    select l.id from public.llm_audit_log as l
    where l.user_id = p_owner and l.id > p_after order by l.id offset p_limit - 1 limit 1
  );
  v_page.until := coalesce(v_page.next, 'ffffffff-ffff-ffff-ffff-ffffffffffff');
  with live as (
    select l.id, l.at, l.xmin, llm_private.audit_digest(l) as digest from public.llm_audit_log as l
    where l.user_id = p_owner and l.id > p_after and l.id <= v_page.until
  ),

  sealed as (
    select e.id, e.digest from llm_private.audit_seals as s
    cross join lateral unnest(s.ids, s.digests) as e (id, digest)
    where
      s.user_id = p_owner and s.last_id > p_after and s.first_id <= v_page.until
      and e.id > p_after and e.id <= v_page.until
  ),

  compared as (
    select
      coalesce(l.id, s.id) as id,
      case
        when l.id is null then 'missing'
        when s.id is not null then case when l.digest = s.digest then 'verified' else 'changed' end
        -- A complete pass would have sealed it, so it came later or its seal was removed.
        when l.id < p_since or llm_private.is_backdated(l.id, l.at, l.xmin) then 'inserted'
        else 'unsealed'
      end as state
    from live as l full join sealed as s on l.id = s.id
  )

  select
    count(*) filter (where c.state = 'verified'), count(*) filter (where c.state = 'unsealed'),
    (array_agg(c.id order by c.id) filter (where c.state = 'changed'))[1],
    (array_agg(c.id order by c.id) filter (where c.state = 'inserted'))[1],
    array_agg(c.id order by c.id) filter (where c.state = 'missing')
  into v_page.verified, v_page.unsealed, v_page.changed, v_page.inserted, v_page.missing
  from compared as c;
  return v_page;
end
$$;

comment on function llm_private.compare_audit_page is
'Compare up to p_limit entries of a log after the id p_after with its seals.';

create function llm_private.audit_seal_problem(p_owner uuid)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_seal llm_private.audit_seals;
  v_previous llm_private.audit_seals;
  v_dropped_before uuid;
begin
  for v_seal in select * from llm_private.audit_seals as s where s.user_id = p_owner order by s.number loop
    if v_seal.ids is null and v_dropped_before is null then
      v_dropped_before := coalesce(
        llm_private.audit_dropped_before(), '00000000-0000-0000-0000-000000000000'
      );
    end if;
    if
      v_seal.number > coalesce(v_previous.number, 0) + 1
      -- Retention leaves an anchor.
      and not (v_previous.number is null and v_seal.ids is null)
    then
      return jsonb_build_object(
        'kind', 'seal_removed', 'entry', null, 'seal', v_seal.number - 1, 'at', v_seal.sealed_at
      );
    elsif
      v_seal.ids is null and v_seal.last_id >= v_dropped_before
      or v_seal.ids is not null and (
        cardinality(v_seal.ids) <> v_seal.total - coalesce(v_previous.total, 0)
        or v_seal.content is distinct from llm_private.audit_content(v_seal.digests)
      )
      or (v_seal.number = 1 or v_previous.number is not null)
      and v_seal.head <> llm_private.audit_head(v_seal, v_previous.head)
    then
      return jsonb_build_object(
        'kind', 'seal_changed', 'entry', null, 'seal', v_seal.number, 'at', v_seal.sealed_at
      );
    end if;
    v_previous := v_seal;
  end loop;
  return null;
end
$$;

comment on function llm_private.audit_seal_problem is
'The first seal of a log that was changed, or whose successor shows that it was removed; null if there is none.';

create function llm_private.note_audit_finding(p_owner uuid, p_problem jsonb, p_after uuid, p_until uuid)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_problem is not null then
    insert into llm_private.audit_findings as f (user_id, problem) values (p_owner, p_problem)
    on conflict (user_id) do update set problem = excluded.problem where f.problem <> excluded.problem;
  else
    delete from llm_private.audit_findings as f
    where
      f.user_id = p_owner
      -- A page settles only what it covers; the first one covers the seals.
      and coalesce(
        (f.problem ->> 'entry')::uuid > p_after and (f.problem ->> 'entry')::uuid <= p_until,
        p_after = '00000000-0000-0000-0000-000000000000'
      );
  end if;
end
$$;

comment on function llm_private.note_audit_finding is
'Store the problem that a verification found in a part of a log, or that it found none.';

create function llm_private.count_dropped_seals(p_owner uuid)
returns bigint
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select coalesce(sum(s.total - coalesce(b.total, 0)), 0)
    from llm_private.audit_seals as s
    left join llm_private.audit_seals as b on s.user_id = b.user_id and s.number = b.number + 1
    where s.user_id = p_owner and s.ids is null
  );
end
$$;

comment on function llm_private.count_dropped_seals is
'How many entries of a log were in the seals that retention has emptied.';

create function llm_private.verify_audit_page(p_owner uuid, p_after uuid, p_limit integer)
returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_first constant uuid := '00000000-0000-0000-0000-000000000000'::uuid;
  v_after constant uuid := coalesce(p_after, v_first);
  v_since constant uuid := coalesce((select s.since from llm_private.audit_sealing as s), v_first);
  v_page llm_private.audit_page;
  v_allowed uuid;
  v_dropped bigint := 0;
  v_removed uuid;
  v_problem jsonb;
begin
  if v_after = v_first then
    perform llm_private.note_seal_point();
    perform llm_private.seal_audit_log(p_owner, v_since);
    v_dropped := llm_private.count_dropped_seals(p_owner);
  end if;
  v_page := llm_private.compare_audit_page(p_owner, v_after, p_limit, v_since);
  if v_page.missing is not null then
    v_allowed := coalesce(
      greatest(llm_private.audit_dropped_before(), llm_private.audit_removed_until(p_owner)), v_first
    );
    select v_dropped + count(*) filter (where m.id < v_allowed), (array_agg(m.id) filter (where m.id >= v_allowed))[1]
    into v_dropped, v_removed
    from unnest(v_page.missing) as m (id);
  end if;
  select jsonb_build_object(
    'kind', p.kind, 'entry', p.id, 'seal', null, 'at', least(llm_private.uuid_v7_time(p.id), '9999-12-31 UTC')
  ) into v_problem
  from (
    values ('changed', v_page.changed), ('inserted', v_page.inserted), ('removed', v_removed)
  ) as p (kind, id)
  where p.id is not null
  order by p.id limit 1;
  if v_problem is null and v_after = v_first then
    v_problem := llm_private.audit_seal_problem(p_owner);
  end if;
  v_problem := v_problem || jsonb_build_object('user_id', p_owner);
  perform llm_private.note_audit_finding(p_owner, v_problem, v_after, v_page.until);
  return jsonb_build_object(
    'verified', v_page.verified, 'unsealed', v_page.unsealed, 'dropped', v_dropped, 'first_problem', v_problem,
    'next', v_page.next
  );
end
$$;

comment on function llm_private.verify_audit_page is
'Compare up to p_limit entries of a log after the id p_after with its seals. The first page, without p_after, seals the
new entries and also checks the chain of seals.';

create function llm_private.verify_audit_logs(p_owner uuid, p_after uuid, p_limit integer)
returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_end constant timestamptz := clock_timestamp() + interval '2 seconds';
  v_owner uuid := coalesce(p_owner, llm_private.operator_id());
  v_after uuid := p_after;
  v_left bigint := p_limit;
  v_page jsonb;
  v_sum jsonb := '{"logs": 0, "verified": 0, "unsealed": 0, "dropped": 0, "first_problem": null}'::jsonb;
begin
  loop
    v_page := llm_private.verify_audit_page(v_owner, v_after, v_left::integer);
    v_left := v_left - (v_page ->> 'verified')::bigint - (v_page ->> 'unsealed')::bigint;
    v_sum := v_sum || jsonb_build_object(
      'logs', (v_sum ->> 'logs')::bigint + (v_after is null)::integer,
      'verified', (v_sum ->> 'verified')::bigint + (v_page ->> 'verified')::bigint,
      'unsealed', (v_sum ->> 'unsealed')::bigint + (v_page ->> 'unsealed')::bigint,
      'dropped', (v_sum ->> 'dropped')::bigint + (v_page ->> 'dropped')::bigint,
      'first_problem', coalesce(nullif(v_sum -> 'first_problem', 'null'), v_page -> 'first_problem')
    );
    v_after := (v_page ->> 'next')::uuid;
    if v_after is null then
      -- A log of which all entries are gone still has seals.
      v_owner := least(
        llm_private.next_audit_owner(v_owner, '00000000-0000-0000-0000-000000000000'),
        (select s.user_id from llm_private.audit_seals as s where s.user_id > v_owner order by s.user_id limit 1)
      );
    end if;
    exit when v_owner is null or v_left <= 0 or clock_timestamp() > v_end;
  end loop;
  return v_sum || jsonb_build_object('next_user_id', v_owner, 'next', v_after);
end
$$;

comment on function llm_private.verify_audit_logs is
'Verify all logs from p_owner''s, for about two seconds or p_limit entries. Returns the log and entry to continue
with.';

create function llm_private.verify_audit_log(
  p_user_id uuid, p_all boolean, p_after uuid, p_limit integer, p_team_id uuid
)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_caller uuid;
  v_owner uuid;
  v_verified jsonb;
begin
  perform llm_private.require_plain_call('verify_llm_audit_log');
  perform llm_private.check_value('invalid_argument', p_limit between 1 and 10000, 'p_limit', '1 to 10000');
  v_caller := llm_private.acting_owner();
  if v_caller = llm_private.operator_id() and p_all and p_team_id is null then
    return llm_private.verify_audit_logs(p_user_id, p_after, p_limit)
      || '{"sealed_until": null, "seals": null, "head": null}';
  end if;
  v_owner := llm_private.readable_log(v_caller, p_user_id, p_team_id);
  v_verified := llm_private.verify_audit_page(v_owner, p_after, p_limit);
  return v_verified
    || jsonb_build_object('logs', 1, 'next_user_id', null, 'sealed_until', null, 'seals', 0, 'head', null)
    || coalesce(
      (
        select jsonb_build_object('sealed_until', s.sealed_at, 'seals', s.number, 'head', encode(s.head, 'hex'))
        from llm_private.audit_seals as s where s.user_id = v_owner order by s.number desc limit 1
      ),
      '{}'
    );
end
$$;

comment on function llm_private.verify_audit_log is 'See verify_llm_audit_log().';

-- Export --------------------------------------------------------------------------------------------------------------

create function llm_private.seal_json(p_seal llm_private.audit_seals)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return jsonb_build_object(
    'user_id', p_seal.user_id,
    'seal', p_seal.number,
    'sealed_at', llm_private.audit_time(p_seal.sealed_at),
    'total', p_seal.total,
    'first_id', p_seal.first_id,
    'last_id', p_seal.last_id,
    'ids', p_seal.ids,
    'digests', (
      select jsonb_agg(encode(d.digest, 'hex') order by d.position)
      from unnest(p_seal.digests) with ordinality as d (digest, position)
    ),
    'content', encode(p_seal.content, 'hex'),
    'head', encode(p_seal.head, 'hex')
  );
end
$$;

comment on function llm_private.seal_json is 'A seal as an export has it.';

create function llm_private.list_audit_seals(
  p_user_id uuid, p_all boolean, p_after integer, p_limit integer
)
returns jsonb
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_owner constant uuid := coalesce(p_user_id, llm_private.operator_id());
  v_after constant integer := coalesce(p_after, 0);
  v_point llm_private.audit_seal_points;
begin
  perform llm_private.check_value('invalid_argument', p_limit between 1 and 100, 'p_limit', '1 to 100');
  select * into v_point from llm_private.audit_seal_points as p order by p.xid desc, p.at desc limit 1;
  return (
    select jsonb_build_object(
      'at', llm_private.audit_time(v_point.at),
      'xid', v_point.xid,
      'seals', coalesce(jsonb_agg(llm_private.seal_json(s) order by s.user_id, s.number), '[]')
    )
    from (
      select * from llm_private.audit_seals as a
      where (a.user_id, a.number) > (v_owner, v_after) and (p_all or a.user_id = v_owner)
      order by a.user_id, a.number
      limit p_limit
    ) as s
  );
end
$$;

comment on function llm_private.list_audit_seals is 'See list_llm_audit_seals().';

create function llm_private.list_audit_texts(p_user_id uuid, p_all boolean, p_after uuid, p_limit integer)
returns jsonb
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_owner constant uuid := coalesce(p_user_id, llm_private.operator_id());
  v_after constant uuid := coalesce(p_after, '00000000-0000-0000-0000-000000000000');
begin
  perform llm_private.check_value('invalid_argument', p_limit between 1 and 10000, 'p_limit', '1 to 10000');
  return (
    select coalesce(
      jsonb_agg(
        jsonb_build_object('user_id', e.user_id, 'id', e.id, 'xid', llm_private.full_xid(e.xid), 'text', e.text)
        order by e.user_id, e.id
      ),
      '[]'
    )
    from (
      select l.user_id, l.id, l.xmin as xid, llm_private.audit_text(l) as text from public.llm_audit_log as l
      where (l.user_id, l.id) > (v_owner, v_after) and (p_all or l.user_id = v_owner)
      order by l.user_id, l.id
      limit p_limit
    ) as e
  );
end
$$;

comment on function llm_private.list_audit_texts is 'See list_llm_audit_texts().';

-- Public RPCs ---------------------------------------------------------------------------------------------------------

create function public.verify_llm_audit_log(
  p_user_id uuid default null,
  p_all boolean default false,
  p_after uuid default null,
  p_limit integer default 10000,
  p_team_id uuid default null
)
returns jsonb
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select llm_private.verify_audit_log(p_user_id, p_all, p_after, p_limit, p_team_id)
$$;

comment on function public.verify_llm_audit_log is
'Seal the new entries of the caller''s audit log, and compare up to p_limit entries after the id p_after with their
seals. With p_team_id: of the log of a team, for its owners and admins. For administrators: the log of p_user_id or, without it, the operator''s; with p_all, all logs from that one. Returns
logs, verified, unsealed and dropped (how many), sealed_until, seals and head (of a single log), first_problem, and next
and next_user_id: p_after and, with p_all, p_user_id of the next call; null at the end. first_problem has user_id, kind,
entry (null for a seal), seal and at. kind: changed, removed or inserted (an entry), or seal_changed or seal_removed.
Errors: not_signed_in, invalid_argument, plain_call_required, team_not_found, team_role_required.';

create function public.list_llm_audit_seals(
  p_user_id uuid default null, p_all boolean default false, p_after integer default null, p_limit integer default 20
)
returns jsonb
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select llm_private.list_audit_seals(p_user_id, p_all, p_after, p_limit)
$$;

comment on function public.list_llm_audit_seals is
'For administrators: the seals of the log of p_user_id or, without it, the operator''s, after the number p_after; with
p_all, also those of all logs after it. Returns seals, at most 100, and at and xid: entries of transactions with greater
numbers were inserted after at. Both are null before the first verification. Error invalid_argument.';

create function public.list_llm_audit_texts(
  p_user_id uuid default null, p_all boolean default false, p_after uuid default null, p_limit integer default 5000
)
returns jsonb
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select llm_private.list_audit_texts(p_user_id, p_all, p_after, p_limit)
$$;

comment on function public.list_llm_audit_texts is
'For administrators: the entries that list_llm_audit_seals() has digests of, as the text that is hashed: those of the
log of p_user_id or, without it, the operator''s, after the id p_after; with p_all, also those of all logs after it. Each
has user_id, id, xid (the number of its transaction) and text. Error invalid_argument.';
