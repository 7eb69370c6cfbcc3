-- A stored key exists as ciphertext alone: no table that anyone reads, and no log, contains it.
begin;
select plan(10);

-- The operator's settings do not matter here.
update llm_private.operator_settings
set
  keys_readable_by = 'owner', reveal_enabled = true, reveal_sign_in_within = null, operator_keys_by_default = true,
  changes_per_day = 500, own_prices_per_user = 500, usage_names_per_day = 200;

insert into auth.users (id, email) values ('ada00000-0000-4000-8000-000000000001', 'ada@policies.test');
insert into public.llm_providers (id, name, base_url, default_model)
values ('policies', 'Policies', 'https://policies.test', 'small');

set local role authenticated;
set local "request.jwt.claims" = '{"sub": "ada00000-0000-4000-8000-000000000001", "role": "authenticated"}';
select is(
  public.set_llm_key('{"provider": "policies", "key": "sk-policies-0123456789-ada"}') ->> 'hint', 'sk-…-ada',
  'storing a key returns its masked hint'
);
select unalike(public.list_llm_keys()::text, '%0123456789%', 'the list of keys does not contain it');
select unalike(
  (select jsonb_agg(to_jsonb(k))::text from public.llm_keys as k), '%0123456789%', 'neither does the table of keys'
);
select unalike(
  (select jsonb_agg(to_jsonb(l))::text from public.get_llm_audit_log() as l), '%0123456789%', 'nor the audit log'
);
select throws_ok(
  $$select public.set_llm_key('{"provider": "policies", "key": "sk policies 0123456789"}')$$, 'PT400',
  'The key was not stored: it contains a space or a line break.', 'an error does not repeat the key'
);

reset role;
select is(
  (
    select count(*) from llm_private.key_secrets
    where owner_id = 'ada00000-0000-4000-8000-000000000001'
  ), 1::bigint,
  'there is one ciphertext'
);
select is_empty(
  $$
  select from llm_private.key_secrets
  where owner_id = 'ada00000-0000-4000-8000-000000000001' and position('0123456789'::bytea in ciphertext) > 0
  $$,
  'it is not the key in plain text'
);
select throws_ok(
  $$
  select extensions.pgp_sym_decrypt(ciphertext, 'another master key') from llm_private.key_secrets
  where owner_id = 'ada00000-0000-4000-8000-000000000001'
  $$,
  '39000', null, 'another master key does not open it'
);

-- Replacing and removing a key leaves nothing of it.
set local role authenticated;
select public.set_llm_key('{"provider": "policies", "key": "sk-policies-9876543210-ada"}') is not null as replaced;
reset role;
select is(
  (
    select count(*) from llm_private.key_secrets
    where owner_id = 'ada00000-0000-4000-8000-000000000001'
  ), 1::bigint,
  'a replaced key is gone'
);
set local role authenticated;
select public.remove_llm_key('policies') is null as removed;
reset role;
select is_empty(
  $$select from llm_private.key_secrets where owner_id = 'ada00000-0000-4000-8000-000000000001'$$,
  'and so is a removed one'
);

select * from finish();
rollback;
