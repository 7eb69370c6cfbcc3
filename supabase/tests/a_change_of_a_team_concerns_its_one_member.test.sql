-- Ada owns two teams, of which Cleo, Dan and Eve are members. A change of one member changes no other, accounts that
-- were deleted do not count, and only a caller with the role for it, in a session, changes anything.
begin;
select plan(30);

-- The operator's settings do not matter here.
update llm_private.operator_settings
set
  keys_readable_by = 'runtime', changes_per_day = 500, teams_created_by = 'users', teams_per_user = 10,
  require_second_factor = false;

insert into auth.users (id, email, email_confirmed_at) values
('ada00000-0000-4000-8000-000000000001', 'ada@policies.test', now()),
('be200000-0000-4000-8000-000000000002', 'ben@policies.test', now()),
('c1e00000-0000-4000-8000-000000000003', 'cleo@policies.test', now()),
('da200000-0000-4000-8000-000000000004', 'dan@policies.test', now()),
('e5e00000-0000-4000-8000-000000000005', 'eve@policies.test', now());
insert into auth.sessions (id, user_id)
values ('ada00000-0000-4000-8000-00000000000b', 'ada00000-0000-4000-8000-000000000001');

create function pg_temp.act_as(p_user text)
returns void language sql as $$
  select set_config('role', 'authenticated', true);
  select set_config(
    'request.jwt.claims',
    jsonb_build_object(
      'sub', p_user, 'role', 'authenticated',
      'session_id', case when p_user like 'ada%' then 'ada00000-0000-4000-8000-00000000000b' end
    )::text,
    true
  );
$$;
create function pg_temp.ada() returns void language sql as $$
  select pg_temp.act_as('ada00000-0000-4000-8000-000000000001')
$$;
create function pg_temp.ben() returns void language sql as $$
  select pg_temp.act_as('be200000-0000-4000-8000-000000000002')
$$;
create function pg_temp.cleo() returns void language sql as $$
  select pg_temp.act_as('c1e00000-0000-4000-8000-000000000003')
$$;
create function pg_temp.roles(p_team text default 'policies.team')
returns text language sql as $$
  select coalesce(string_agg(split_part(u.email, '@', 1) || ' ' || m.role, ', ' order by u.email), '')
  from llm_private.team_members as m
  inner join auth.users as u on m.user_id = u.id
  where m.team_id = current_setting(p_team)::uuid;
$$;

-- A runtime exists, and nobody here uses it.
select public.register_llm_runtime('policies') is not null as registered;

-- Ben and Cleo have settings before they have a team.
select pg_temp.ben() is null as acting;
select public.get_llm_settings() is not null as made;
select pg_temp.cleo() is null as acting;
select public.get_llm_settings() is not null as made;
select pg_temp.ada() is null as acting;
do $$
begin
  perform set_config('policies.team', public.create_llm_team('Lab') ->> 'id', true);
  perform set_config('policies.second', public.create_llm_team('Second lab') ->> 'id', true);
  perform set_config(
    'policies.token', public.create_llm_team_invitation(current_setting('policies.team')::uuid) ->> 'token', true
  );
end
$$;
select pg_temp.cleo() is null as acting;
select public.accept_llm_team_invitation(current_setting('policies.token')) is not null as joined;
reset role;
select is(
  (
    select string_agg(left(s.user_id::text, 3) || coalesce(' ' || s.default_team, ''), ', ' order by s.user_id)
    from public.user_llm_settings as s
    where s.user_id::text ~ '^(ada|be2|c1e)00000-0000-4000-8000-'
  ),
  format('ada %s, be2, c1e %1$s', current_setting('policies.team')), 'the first team is the default of who joins alone'
);

-- Administrators.
set local role service_role;
select
  public.set_llm_team_member(current_setting('policies.team')::uuid, 'da200000-0000-4000-8000-000000000004', 'member')
  is not null as added,
  public.set_llm_team_member(current_setting('policies.team')::uuid, 'e5e00000-0000-4000-8000-000000000005', 'admin')
  is not null as added_too;
select is(
  jsonb_array_length(public.get_llm_user('da200000-0000-4000-8000-000000000004') -> 'teams'), 1,
  'administrators see of Dan his one membership'
);
select throws_ok(
  $$select public.get_llm_team('0198a000-0000-7000-8000-000000000001')$$, 'PT404', 'Team not found.',
  'administrators get no team that does not exist'
);
select throws_ok(
  $$select * from public.get_llm_usage(p_team_id => '0198a000-0000-7000-8000-000000000001')$$, 'PT404',
  'Team not found.', 'nor a report of it'
);
select throws_ok(
  $$select public.set_llm_quota(
    '{"team_id": "0198a000-0000-7000-8000-000000000001", "limit": 1, "unit": "requests", "period": "day"}'
  )$$, 'PT404', 'Team not found.', 'nor can they limit it'
);

-- Owners and admins.
select pg_temp.ada() is null as acting;
select is(
  public.set_llm_team_member(
    current_setting('policies.team')::uuid, 'da200000-0000-4000-8000-000000000004', 'admin'
  ) ->> 'email',
  'dan@policies.test', 'Ada makes Dan an admin, and gets his row'
);
select throws_ok(
  $$select public.remove_llm_team_member(
    current_setting('policies.team')::uuid, 'be200000-0000-4000-8000-000000000002'
  )$$, 'PT404', 'This user is not a member of the team.', 'she cannot remove who is no member'
);
select throws_ok(
  $$select public.set_llm_team_member(
    current_setting('policies.team')::uuid, 'be200000-0000-4000-8000-000000000002', 'member'
  )$$, 'PT404', 'This user is not a member of the team.', 'nor add him without an invitation'
);
reset role;
select is(pg_temp.roles(), 'ada owner, cleo member, dan admin, eve admin', 'the others keep their roles');
select pg_temp.act_as('e5e00000-0000-4000-8000-000000000005') is null as acting;
select throws_ok(
  $$select public.create_llm_team_invitation(current_setting('policies.team')::uuid, 'owner')$$, 'PT403',
  'Your role in this team is admin.', 'an admin invites no owner'
);
select throws_ok(
  $$select public.set_llm_team_member(
    current_setting('policies.team')::uuid, 'e5e00000-0000-4000-8000-000000000005', 'owner'
  )$$, 'PT403', 'Your role in this team is admin.', 'nor becomes one'
);
select throws_ok(
  $$select public.remove_llm_team_member(
    current_setting('policies.team')::uuid, 'ada00000-0000-4000-8000-000000000001'
  )$$, 'PT403', 'Your role in this team is admin.', 'nor removes one'
);
select pg_temp.ada() is null as acting;
select public.remove_llm_team_member(
  current_setting('policies.team')::uuid, 'e5e00000-0000-4000-8000-000000000005'
) is null as removed;
reset role;
select is(pg_temp.roles(), 'ada owner, cleo member, dan admin', 'whoever is removed leaves alone');

-- The default team.
select pg_temp.cleo() is null as acting;
select public.set_llm_settings('{"default_team": null}') is not null as reset;
select is(
  (select t ->> 'is_default' from jsonb_array_elements(public.list_llm_teams()) as t), 'false',
  'Ada''s default team is not Cleo''s'
);

-- Who acts is a user, and no runtime.
reset role;
select is_empty(
  $$select from public.llm_audit_log where actor = 'runtime' and at >= now()$$,
  'without a runtime''s secret, nobody acts through a runtime'
);

-- Suspension.
set local role service_role;
select public.set_llm_user_suspended('da200000-0000-4000-8000-000000000004', true) is null as suspended;
reset role;
select is(pg_temp.roles(), 'ada owner, cleo member', 'a suspended user leaves alone, too');

-- The operator's settings.
update llm_private.operator_settings set teams_created_by = 'operator', require_second_factor = true;
select pg_temp.ada() is null as acting;
select throws_ok(
  $$select public.create_llm_team('Third lab')$$, 'PT403', 'In this app, users cannot create teams.',
  'users make no teams if the operator makes them'
);
select throws_ok(
  $$select public.set_llm_team(current_setting('policies.team')::uuid, '{"name": "Other"}')$$, 'PT403', null,
  'and change none without a second factor if the operator requires it'
);
reset role;
update llm_private.operator_settings set teams_created_by = 'users', require_second_factor = false;

-- Sessions.
select pg_temp.ada() is null as acting;
do $$
declare
  v_quota constant jsonb := jsonb_build_object(
    'team_id', current_setting('policies.team'), 'limit', 1, 'unit', 'requests', 'period', 'day'
  );
begin
  perform set_config('policies.quota', v_quota::text, true);
  perform set_config('policies.quota_id', public.set_llm_quota(v_quota) ->> 'id', true);
end
$$;
reset role;
delete from auth.sessions
where id = 'ada00000-0000-4000-8000-00000000000b';
select pg_temp.ada() is null as acting;
select throws_ok(c.call, 'PT401', 'This session has ended.', format('signed out: %s', c.call))
from (
  values ($$select public.set_llm_team(current_setting('policies.team')::uuid, '{"name": "Other"}')$$),
  ($$select public.create_llm_team('Other')$$),
  ($$select public.remove_llm_team(current_setting('policies.team')::uuid)$$),
  ($$select public.set_llm_quota(current_setting('policies.quota')::jsonb)$$),
  ($$select public.remove_llm_quota(current_setting('policies.quota_id')::bigint)$$)
) as c (call);
reset role;
insert into auth.sessions (id, user_id)
values ('ada00000-0000-4000-8000-00000000000b', 'ada00000-0000-4000-8000-000000000001');

-- Accounts that Supabase Auth deleted softly keep their rows.
insert into llm_private.team_members (team_id, user_id, role)
values
(current_setting('policies.team')::uuid, 'be200000-0000-4000-8000-000000000002', 'owner'),
(current_setting('policies.second')::uuid, 'be200000-0000-4000-8000-000000000002', 'owner');
update auth.users set deleted_at = now()
where id = 'be200000-0000-4000-8000-000000000002';
select pg_temp.ada() is null as acting;
select unalike(
  public.list_llm_team_members(current_setting('policies.team')::uuid)::text, '%ben@policies.test%',
  'a deleted account is not listed'
);
select is(
  (
    select string_agg(t ->> 'members', ' ' order by t ->> 'name')
    from jsonb_array_elements(public.list_llm_teams()) as t
  ),
  '2 1', 'nor counted'
);
reset role;
-- Ada's account is deleted, so nobody who can act owns either team.
delete from auth.users
where id = 'ada00000-0000-4000-8000-000000000001';
select is(pg_temp.roles(), 'ben owner, cleo owner', 'Cleo becomes the owner of the first team');
select is(
  (
    select t.removed_at is not null from llm_private.teams as t
    where t.id = current_setting('policies.second')::uuid
  ),
  true, 'and the second team, which has no other member, is removed'
);
select is_empty(
  $$
    select from llm_private.team_members as m
    where m.team_id = current_setting('policies.second')::uuid and m.user_id::text like 'ada%'
  $$, 'with Ada''s membership'
);
-- The next change of the team removes Ben, and says why.
select pg_temp.cleo() is null as acting;
select public.set_llm_team(current_setting('policies.team')::uuid, '{"name": "Cleo''s lab"}') is not null as changed;
reset role;
select is(pg_temp.roles(), 'cleo owner', 'a deleted account leaves with the next change');
select is(
  (
    select count(*) from public.llm_audit_log as l
    where
      l.user_id = current_setting('policies.team')::uuid and l.detail ->> 'reason' = 'account_deleted'
      and l.detail ->> 'user_id' like 'be2%'
  ),
  1::bigint, 'and the team''s log says why'
);

select * from finish();
rollback;
