-- The database's owner can change, remove or insert an entry of the audit log, but a verification then names it.
begin;
select plan(29);

-- The operator's settings do not matter here.
update llm_private.operator_settings set keys_readable_by = 'owner', changes_per_day = 500, audit_kept_months = null;
-- Nothing was sealed before. This point keeps the first verification from making one of this moment, which would know
-- that Ada's entries are backdated.
delete from llm_private.audit_sealing;
delete from llm_private.audit_seal_points;
insert into llm_private.audit_seal_points values (9223372036854775807, now());

insert into auth.users (id, email) values
('ada00000-0000-4000-8000-000000000001', 'ada@policies.test'),
('be200000-0000-4000-8000-000000000002', 'ben@policies.test');

-- Ada has four entries, of the last hours. Ben has one.
create temporary table entries (number integer primary key, id uuid) on commit drop;
insert into entries
select
  n,
  llm_private.first_uuid_v7(now() - make_interval(hours => 5 - n))
from generate_series(1, 4) as n;
grant select on entries to authenticated, service_role;
insert into public.llm_audit_log (user_id, id, at, action, actor)
select
  'ada00000-0000-4000-8000-000000000001',
  e.id,
  llm_private.uuid_v7_time(e.id),
  'key_set',
  'user'
from entries as e;
insert into public.llm_audit_log (user_id, action, actor)
values ('be200000-0000-4000-8000-000000000002', 'key_set', 'user');

-- A user verifies their own log, whatever they ask for.
set local role authenticated;
set local "request.jwt.claims" = '{"sub": "ada00000-0000-4000-8000-000000000001", "role": "authenticated"}';
select is(public.verify_llm_audit_log() ->> 'verified', '4', 'Ada''s four entries are sealed and verified');
select is(public.verify_llm_audit_log() -> 'first_problem', 'null', 'none of them was changed');
select is(
  public.verify_llm_audit_log(p_user_id => 'be200000-0000-4000-8000-000000000002') ->> 'verified', '4',
  'she cannot verify Ben''s log'
);
select is(
  public.verify_llm_audit_log(p_user_id => '00000000-0000-0000-0000-000000000000') ->> 'verified', '4',
  'nor the operator''s'
);
select is(public.verify_llm_audit_log(p_all => true) ->> 'logs', '1', 'nor all logs');
select throws_ok('select public.list_llm_audit_seals()', '42501', null, 'she cannot export seals');
select throws_ok('select public.list_llm_audit_texts()', '42501', null, 'nor entries of others');
select throws_ok(format('select from llm_private.%I', t.name), '42501', null, format('nor read %s', t.name))
from unnest(array['audit_seals', 'audit_seal_points', 'audit_sealing', 'audit_findings']) as t (name);
select throws_ok(format('delete from llm_private.%I', t.name), '42501', null, format('nor write %s', t.name))
from unnest(array['audit_seals', 'audit_seal_points', 'audit_sealing', 'audit_findings']) as t (name);

-- An administrator verifies any log.
set local role service_role;
set local "request.jwt.claims" = '{"role": "service_role"}';
select is(
  public.verify_llm_audit_log('be200000-0000-4000-8000-000000000002') ->> 'verified', '1',
  'an administrator verifies Ben''s log'
);
select isnt(
  public.verify_llm_audit_log('be200000-0000-4000-8000-000000000002') ->> 'head',
  public.verify_llm_audit_log('ada00000-0000-4000-8000-000000000001') ->> 'head',
  'each log has a head of its own'
);
select is(
  jsonb_array_length(public.list_llm_audit_seals('ada00000-0000-4000-8000-000000000001') -> 'seals'), 1,
  'an export of one log has no seals of others'
);
select is(
  public.list_llm_audit_seals('ada00000-0000-4000-8000-000000000001') #>> '{seals,0,total}', '4',
  'and exports Ada''s seals'
);
select is(
  jsonb_array_length(public.list_llm_audit_texts('ada00000-0000-4000-8000-000000000001')), 4,
  'and the text of her entries'
);
select throws_ok(
  'delete from llm_private.audit_seals', '42501', null, 'but an administrator cannot remove seals'
);
reset role;

-- What somebody does after that is named. Each change is undone.
update llm_private.audit_seal_points set xid = 3;
create function pg_temp.problem() returns text language plpgsql as $$
declare
  v_verified constant jsonb := llm_private.verify_audit_page('ada00000-0000-4000-8000-000000000001', null, 100);
  v_problem constant jsonb := v_verified -> 'first_problem';
begin
  return (v_problem ->> 'kind') || coalesce(
    ' entry ' || (select e.number from entries as e where e.id = (v_problem ->> 'entry')::uuid),
    ' seal ' || (v_problem ->> 'seal')
  );
end
$$;
create function pg_temp.problem_after(p_change text) returns text language plpgsql as $$
begin
  execute p_change;
  raise exception '%', pg_temp.problem() using errcode = 'P0001';
exception when raise_exception then
  return sqlerrm;
end
$$;
insert into entries values (9, llm_private.first_uuid_v7(now() - interval '150 minutes'));

select is(
  pg_temp.problem_after(
    $$
    update public.llm_audit_log set detail = '{"hint": "another"}'
    where id in (select e.id from entries as e where e.number >= 2)
    $$
  ), 'changed entry 2', 'the first of several changed entries is named'
);
select is(
  pg_temp.problem_after(
    'delete from public.llm_audit_log where id in (select e.id from entries as e where e.number >= 3)'
  ), 'removed entry 3', 'the first of two removed entries is named'
);
select is(
  pg_temp.problem_after(
    $$
    insert into public.llm_audit_log (user_id, id, at, action, actor)
    select 'ada00000-0000-4000-8000-000000000001', e.id, llm_private.uuid_v7_time(e.id), 'key_set', 'user'
    from entries as e where e.number = 9
    $$
  ), 'inserted entry 9', 'a backdated entry is named'
);
select is(
  pg_temp.problem_after(
    $$
    update llm_private.audit_seals set total = total + 1 where user_id = 'ada00000-0000-4000-8000-000000000001'
    $$
  ), 'seal_changed seal 1', 'a changed seal is named'
);

-- What the operator's log records is no problem. What was found in one log stays, however other logs are.
delete from public.llm_audit_log
where
  user_id = 'ada00000-0000-4000-8000-000000000001'
  and id < llm_private.first_uuid_v7(now() - interval '225 minutes');
select llm_private.audit_operator(
  'user_data_removed', p_detail => '{"user_id": "be200000-0000-4000-8000-000000000002"}'
) is null as recorded;
select is(pg_temp.problem(), 'removed entry 1', 'the removal of another user''s data is no excuse');
select llm_private.verify_audit_page('be200000-0000-4000-8000-000000000002', null, 100) is not null as verified;
select isnt_empty(
  $$select from llm_private.audit_findings where user_id = 'ada00000-0000-4000-8000-000000000001'$$,
  'a verification of Ben''s log settles nothing in Ada''s'
);
update llm_private.audit_seals set ids = null, digests = null
where user_id = 'be200000-0000-4000-8000-000000000002';
select llm_private.audit_operator(
  'user_data_removed', p_detail => '{"user_id": "ada00000-0000-4000-8000-000000000001"}'
) is null as recorded;
select is(pg_temp.problem(), null, 'the removal of her data is');
select is(
  llm_private.verify_audit_page('ada00000-0000-4000-8000-000000000001', null, 100) ->> 'dropped', '1',
  'and her removed entry is counted'
);

select * from finish();
rollback;
