-- The audit log: who changed, revealed or leased what. It is append-only, and users read their own entries.
-- It never holds a secret: a key appears as its id and masked hint.

create table public.llm_audit_log (
  user_id uuid not null,
  id uuid not null default llm_private.uuid_v7(),
  at timestamptz not null default now(),
  action text not null,
  actor text not null,
  provider text,
  key_id uuid,
  runtime_id uuid,
  detail jsonb not null default '{}',
  primary key (user_id, id)
) partition by range (id);

comment on table public.llm_audit_log is
'Settings and key changes, reveals and leases. Append-only, one partition a month. Users read their own entries.';
comment on column public.llm_audit_log.action is
'settings_changed, key_set, key_revoked, key_revealed, key_checked, price_set, price_ended, quota_set, quota_removed, or
lease (a runtime or session may get keys until a time).';
comment on column public.llm_audit_log.actor is 'user, or runtime when a registered runtime acted for the user.';
comment on column public.llm_audit_log.detail is 'The changes, masked hints or expiry; never a secret.';

create table llm_private.llm_audit_log_default partition of public.llm_audit_log default;

alter table public.llm_audit_log enable row level security;
alter table llm_private.llm_audit_log_default enable row level security;

create policy "users read their own audit log" on public.llm_audit_log
for select to authenticated using (llm_private.is_not_estimate() and user_id = (select llm_private.user_id()));

-- Private helpers -----------------------------------------------------------------------------------------------------

create function llm_private.audit(
  p_user uuid,
  p_action text,
  p_provider text default null,
  p_key_id uuid default null,
  p_runtime uuid default null,
  p_detail jsonb default '{}'
)
returns void
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  insert into public.llm_audit_log (user_id, action, actor, provider, key_id, runtime_id, detail)
  values (
    p_user, p_action, case when p_runtime is null then 'user' else 'runtime' end,
    p_provider, p_key_id, p_runtime, p_detail
  )
$$;

comment on function llm_private.audit is 'Append an entry to a user''s audit log.';

-- Public RPCs ---------------------------------------------------------------------------------------------------------

create function public.get_llm_audit_log(p_limit integer default 50, p_before uuid default null)
returns setof public.llm_audit_log
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select * from public.llm_audit_log
  where user_id = (select llm_private.acting_owner()) and (p_before is null or id < p_before)
  order by id desc
  limit least(greatest(coalesce(p_limit, 50), 1), 500)
$$;

comment on function public.get_llm_audit_log is
'The caller''s audit log, newest first, at most 500 entries. p_before: the last id of the previous page.
Error not_signed_in.';
