-- Whoever can write to the table of ciphertexts still cannot move a key to another user.
begin;
select plan(6);

-- The operator's settings do not matter here.
update llm_private.operator_settings
set
  keys_readable_by = 'owner', reveal_enabled = true, reveal_sign_in_within = null, operator_keys_by_default = true,
  changes_per_day = 500, own_prices_per_user = 500, usage_names_per_day = 200;

insert into auth.users (id, email) values
('ada00000-0000-4000-8000-000000000001', 'ada@policies.test'),
('be200000-0000-4000-8000-000000000002', 'ben@policies.test');
insert into public.llm_providers (id, name, base_url, default_model)
values ('policies', 'Policies', 'https://policies.test', 'small');

set local role authenticated;
set local "request.jwt.claims" = '{"sub": "be200000-0000-4000-8000-000000000002", "role": "authenticated"}';
select public.set_llm_key('{"provider": "policies", "key": "sk-policies-of-ben"}') is not null as stored;
set local "request.jwt.claims" = '{"sub": "ada00000-0000-4000-8000-000000000001", "role": "authenticated"}';
select public.set_llm_key('{"provider": "policies", "key": "sk-policies-of-ada"}') is not null as stored;
select public.reveal_llm_key('policies') is not null as granted;

-- An earlier transaction committed the reveal.
reset role;
update llm_private.key_reveals set granted_in = '3'
where owner_id = 'ada00000-0000-4000-8000-000000000001';
create temporary table kept as
select s.ciphertext from llm_private.key_secrets as s
where s.owner_id = 'ada00000-0000-4000-8000-000000000001';

update llm_private.key_secrets as s set ciphertext = b.ciphertext
from llm_private.key_secrets as b
where s.owner_id = 'ada00000-0000-4000-8000-000000000001' and b.owner_id = 'be200000-0000-4000-8000-000000000002';
set local role authenticated;
select throws_ok(
  $$select public.reveal_llm_key('policies')$$, 'PT500', 'A stored key cannot be decrypted.',
  'Ben''s ciphertext in Ada''s row opens nothing'
);

reset role;
update llm_private.key_secrets
set ciphertext = (select set_byte(k.ciphertext, 40, (get_byte(k.ciphertext, 40) + 1) % 256) from kept as k)
where owner_id = 'ada00000-0000-4000-8000-000000000001';
set local role authenticated;
select throws_ok(
  $$select public.reveal_llm_key('policies')$$, 'PT500', 'A stored key cannot be decrypted.',
  'nor does a ciphertext that was changed'
);

reset role;
update llm_private.key_secrets set ciphertext = (select k.ciphertext from kept as k)
where owner_id = 'ada00000-0000-4000-8000-000000000001';
set local role authenticated;
select is(public.reveal_llm_key('policies') ->> 'key', 'sk-policies-of-ada', 'Ada''s own ciphertext opens');

reset role;
select throws_ok(
  $$
  select llm_private.decrypt_key(owner_id, key_id, ciphertext, 'another data key') from llm_private.key_secrets
  where owner_id = 'be200000-0000-4000-8000-000000000002'
  $$,
  'PT500', 'A stored key cannot be decrypted.', 'nor does another data key'
);

-- Nor can a data key be moved.
create temporary table kept_owner as
select o.wrapped_key from llm_private.key_owners as o
where o.id = 'ada00000-0000-4000-8000-000000000001';
update llm_private.key_owners as o set wrapped_key = b.wrapped_key
from llm_private.key_owners as b
where o.id = 'ada00000-0000-4000-8000-000000000001' and b.id = 'be200000-0000-4000-8000-000000000002';
select throws_ok(
  $$select llm_private.data_key('ada00000-0000-4000-8000-000000000001')$$, 'PT500', 'A stored key cannot be decrypted.',
  'Ben''s data key in Ada''s row opens nothing'
);
update llm_private.key_owners set wrapped_key = (select k.wrapped_key from kept_owner as k)
where id = 'ada00000-0000-4000-8000-000000000001';
select is(
  (
    select llm_private.stored_key(s.owner_id, s.key_id) from llm_private.key_secrets as s
    where s.owner_id = 'ada00000-0000-4000-8000-000000000001'
  ), 'sk-policies-of-ada', 'Ada''s own data key opens her key'
);

select * from finish();
rollback;
