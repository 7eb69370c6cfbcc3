-- Ada owns a team and Cleo is a member. Cleo and Ben, who is a stranger, change and check none of its keys, and nobody
-- reveals one.
begin;
select plan(21);

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

insert into public.llm_providers (id, name, base_url, default_model)
values ('policies', 'Policies', 'https://policies.test', 'small');
select set_config('policies.runtime', public.register_llm_runtime('policies') ->> 'secret', true) is not null as made;

do $$
begin
  perform pg_temp.ada();
  perform set_config('policies.team', public.create_llm_team('Lab') ->> 'id', true);
  perform set_config(
    'policies.body', jsonb_build_object(
      'team_id', current_setting('policies.team'), 'provider', 'policies', 'key', 'sk-policies-of-the-team'
    )::text, true
  );
  perform set_config(
    'policies.check',
    jsonb_build_object('team_id', current_setting('policies.team'), 'provider', 'policies')::text, true
  );
  perform public.set_llm_team_key(current_setting('policies.body')::json);
end
$$;
reset role;
insert into llm_private.team_members (team_id, user_id, role)
values (current_setting('policies.team')::uuid, 'c1e00000-0000-4000-8000-000000000003', 'member');
select is_empty(
  $$select from public.llm_audit_log where actor = 'runtime' and at >= now()$$,
  'without a runtime''s secret, nobody acts through a runtime'
);

create temporary table calls (call text);
insert into calls values
('select public.set_llm_team_key(current_setting(''policies.body'')::json)'),
('select public.begin_llm_key_check(current_setting(''policies.check'')::json)'),
('select public.remove_llm_team_key(current_setting(''policies.team'')::uuid, ''policies'')');
grant select on table calls to authenticated;

select pg_temp.ben() is null as acting;
select throws_ok(c.call, 'PT404', 'Team not found, or you are not a member of it.', format('stranger: %s', c.call))
from calls as c;
select throws_ok(
  $$select public.list_llm_team_keys(current_setting('policies.team')::uuid)$$, 'PT404',
  'Team not found, or you are not a member of it.', 'a stranger does not list the keys'
);
select pg_temp.cleo() is null as acting;
select throws_ok(c.call, 'PT403', 'Your role in this team is member.', format('member: %s', c.call)) from calls as c;
select is(
  public.list_llm_team_keys(current_setting('policies.team')::uuid) #>> '{0,hint}', 'sk-…team',
  'a member sees the masked key'
);
select is(public.list_llm_keys(), '[]', 'which is not among her own');
select throws_ok(
  $$select public.reveal_llm_key('policies')$$, 'PT404', 'There is no key for this provider.', 'she cannot reveal it'
);
select throws_ok(
  $$select public.resolve_llm_route()$$, 'PT403', 'Only a registered runtime gets keys in this project.',
  'she gets it with no route'
);
select is_empty('select from public.llm_keys', 'and reads it in no table');

-- Without a runtime, an owner gets no key of the team either, even where users get their own.
reset role;
update llm_private.operator_settings set keys_readable_by = 'owner';
select pg_temp.ada() is null as acting;
select throws_ok(
  $$select public.begin_llm_key_check(current_setting('policies.check')::json)$$, 'PT403', null,
  'an owner checks it through a runtime only'
);
select ok(
  not jsonb_path_exists(
    public.explain_llm_route(p_team => current_setting('policies.team')), '$.candidates[*] ? (@.key_source == "team")'
  ), 'and gets it with no route'
);

-- Sessions and accounts that have ended.
reset role;
delete from auth.sessions
where id = 'ada00000-0000-4000-8000-00000000000b';
select pg_temp.ada() is null as acting;
select throws_ok(c.call, 'PT401', 'This session has ended.', format('signed out: %s', c.call)) from calls as c;
reset role;
update auth.users set deleted_at = now()
where id = 'c1e00000-0000-4000-8000-000000000003';
select pg_temp.cleo() is null as acting;
select throws_ok(
  $$select public.list_llm_team_keys(current_setting('policies.team')::uuid)$$, 'PT401', null,
  'a deleted account lists no keys'
);
reset role;
select is(
  (
    select k.hint || ' ' || k.status from public.llm_keys as k
    where k.owner_id = current_setting('policies.team')::uuid
  ),
  'sk-…team untested', 'nothing happened to the key'
);

-- The owner revokes it.
insert into auth.sessions (id, user_id)
values ('ada00000-0000-4000-8000-00000000000b', 'ada00000-0000-4000-8000-000000000001');
select pg_temp.ada() is null as acting;
select public.remove_llm_team_key(current_setting('policies.team')::uuid, 'policies') is null as removed;
reset role;
select is(
  (
    select l.actor || ' ' || left(l.detail ->> 'by', 3) from public.llm_audit_log as l
    where l.action = 'key_revoked' and l.user_id = current_setting('policies.team')::uuid
  ),
  'user ada', 'an owner revokes it, as a user'
);

select * from finish();
rollback;
