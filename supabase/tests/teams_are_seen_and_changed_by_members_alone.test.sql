-- Ada owns a team, Cleo is a member and Ben a stranger: to him, the team does not exist, whatever he knows of it.
begin;
select plan(45);

-- The operator's settings do not matter here.
update llm_private.operator_settings set changes_per_day = 500, teams_created_by = 'users', teams_per_user = 10;

insert into auth.users (id, email, email_confirmed_at, raw_user_meta_data) values
('ada00000-0000-4000-8000-000000000001', 'ada@policies.test', now(), '{"full_name": "Ada of the team"}'),
('be200000-0000-4000-8000-000000000002', 'ben@policies.test', now(), '{}'),
('c1e00000-0000-4000-8000-000000000003', 'cleo@policies.test', now(), '{}'),
('da200000-0000-4000-8000-000000000004', 'dan@policies.test', null, '{}');

create function pg_temp.act_as(p_user text)
returns void language sql as $$
  select set_config('role', 'authenticated', true);
  select set_config(
    'request.jwt.claims',
    jsonb_build_object('sub', p_user, 'role', 'authenticated', 'email', 'ada@policies.test')::text,
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
create function pg_temp.dan() returns void language sql as $$
  select pg_temp.act_as('da200000-0000-4000-8000-000000000004')
$$;

-- Ada makes a team and invites Cleo, and Dan, who has not confirmed his address.
do $$
begin
  perform pg_temp.ada();
  perform set_config('policies.team', public.create_llm_team('Secret plans') ->> 'id', true);
  perform set_config(
    'policies.token', public.create_llm_team_invitation(current_setting('policies.team')::uuid) ->> 'token', true
  );
  perform set_config(
    'policies.dans', public.create_llm_team_invitation(
      current_setting('policies.team')::uuid, p_email => 'dan@policies.test'
    ) ->> 'id', true
  );
end
$$;

-- An invitation works once.
select pg_temp.cleo() is null as acting;
select is(
  public.accept_llm_team_invitation(current_setting('policies.token')) ->> 'role', 'member', 'Cleo joins with the token'
);
select pg_temp.ben() is null as acting;
select throws_ok(
  $$select public.accept_llm_team_invitation(current_setting('policies.token'))$$, 'PT404',
  'This invitation is not valid.', 'Ben cannot use it again'
);
select throws_ok(
  $$select public.accept_llm_team_invitation(current_setting('policies.dans'))$$, 'PT404',
  'This invitation is not valid.', 'nor the id of an invitation that is not to his address'
);
select is(public.list_llm_team_invitations(), '[]', 'he sees no invitation either');
select pg_temp.dan() is null as acting;
select is(public.list_llm_team_invitations(), '[]', 'nor does Dan, who has not confirmed his address');
select throws_ok(
  $$select public.accept_llm_team_invitation(current_setting('policies.dans'))$$, 'PT404',
  'This invitation is not valid.', 'and cannot accept it'
);

-- For a stranger, the team is the same as none.
select pg_temp.ben() is null as acting;
create temporary table calls (call text, what text);
insert into calls values
('get_llm_team(%s)', 'see the team'),
('list_llm_team_members(%s)', 'see its members'),
('list_llm_team_invitations(%s)', 'see its invitations'),
('get_llm_audit_log(p_team_id => %s)', 'see its log'),
('set_llm_team(%s, ''{"name": "Ben''''s"}'')', 'change it'),
('remove_llm_team(%s)', 'remove it'),
('set_llm_team_member(%s, ''be200000-0000-4000-8000-000000000002'', ''owner'')', 'make himself an owner'),
('set_llm_team_member(%s, ''c1e00000-0000-4000-8000-000000000003'', ''owner'')', 'make a member an owner'),
('remove_llm_team_member(%s, ''c1e00000-0000-4000-8000-000000000003'')', 'remove a member'),
('remove_llm_team_member(%s, ''be200000-0000-4000-8000-000000000002'')', 'leave it'),
('create_llm_team_invitation(%s)', 'invite himself'),
('remove_llm_team_invitation(%s, ''' || current_setting('policies.dans') || ''')', 'remove an invitation');
select
  throws_ok(
    'select public.' || format(c.call, quote_literal(t.id)), 'PT404',
    'Team not found, or you are not a member of it.',
    format('Ben cannot %s%s', c.what, t.which)
  )
from calls as c
cross join (
  values (current_setting('policies.team'), ''), ('0198a000-0000-7000-8000-000000000001', ', if there were such a team')
) as t (id, which)
order by c.what, t.which;
select is(public.list_llm_teams(), '[]', 'Ben has no team');

-- A member sees the team and changes nothing of it.
select pg_temp.cleo() is null as acting;
select alike(
  public.list_llm_team_members(current_setting('policies.team')::uuid)::text, '%ada@policies.test%',
  'Cleo sees the addresses of members'
);
select alike(
  public.list_llm_team_members(current_setting('policies.team')::uuid)::text, '%Ada of the team%', 'and their names'
);
select
  throws_ok(
    'select public.' || format(c.call, quote_literal(current_setting('policies.team'))), 'PT403',
    'Your role in this team is member.', format('but she cannot %s', c.what)
  )
from calls as c
where c.call ~ '^(set_llm_team\(|remove_llm_team\(|create|list_llm_team_inv|get_llm_audit|set_llm_team_member.*c1e0)'
order by c.what;

-- The last owner stays.
select pg_temp.ada() is null as acting;
select throws_ok(
  $$select public.remove_llm_team_member(
    current_setting('policies.team')::uuid, 'ada00000-0000-4000-8000-000000000001'
  )$$,
  'PT409', 'The team would be left without an owner.', 'Ada cannot leave without handing over'
);
select throws_ok(
  $$select public.set_llm_team_member(
    current_setting('policies.team')::uuid, 'ada00000-0000-4000-8000-000000000001', 'member'
  )$$,
  'PT409', 'The team would be left without an owner.', 'nor become a member'
);
select is(
  jsonb_array_length(public.list_llm_team_members(current_setting('policies.team')::uuid)), 2, 'both are still there'
);
select is(
  public.get_llm_team(current_setting('policies.team')::uuid) ->> 'name', 'Secret plans', 'nobody changed the team'
);

-- Somebody who is suspended or whose session has ended changes no team.
reset role;
insert into llm_private.suspended_users (user_id) values ('be200000-0000-4000-8000-000000000002');
select pg_temp.ben() is null as acting;
select throws_ok($$select public.create_llm_team('Ben''s')$$, 'PT403', null, 'a suspended user makes no team');
select throws_ok(
  $$select public.accept_llm_team_invitation('x')$$, 'PT403', null, 'and accepts no invitation'
);

select * from finish();
rollback;
