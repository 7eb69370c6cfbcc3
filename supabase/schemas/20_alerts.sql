-- Alerts: events that a user or the operator should know about, each reported once. The panel shows them, and a project
-- may also send them.

create table public.llm_alerts (
  user_id uuid not null,
  id uuid not null default llm_private.uuid_v7(),
  kind text not null,
  subject text not null,
  detail jsonb not null,
  created_at timestamptz not null default now(),
  read_at timestamptz,
  primary key (user_id, id),
  constraint llm_alerts_once unique (user_id, kind, subject)
);

comment on table public.llm_alerts is
'One row per alert. Users read their own; the operator''s have the user id of llm_private.operator_id().';
comment on column public.llm_alerts.kind is
'quota_warning (80 % used), quota_reached (100 %), key_rejected, key_revealed, out_of_credit, price_missing,
output_limit_ignored or team_owner (the user became an owner because the last one left).';
comment on column public.llm_alerts.subject is
'The subject, unique per kind: a quota and its period, a key, a reveal, a provider and model, or a team and time.';
comment on column public.llm_alerts.detail is
'The facts to show: usage, limit, masked hints, and of a team''s quota or key the team_id and the name as team; never a
secret.';
comment on column public.llm_alerts.read_at is 'When the alert was dismissed; null: unread.';

alter table public.llm_alerts enable row level security;

create policy "users read their own alerts" on public.llm_alerts
for select to authenticated using (llm_private.is_not_estimate() and user_id = (select llm_private.user_id()));

-- Private helpers -----------------------------------------------------------------------------------------------------

create function llm_private.add_alert(p_user uuid, p_kind text, p_subject text, p_detail jsonb)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_most constant integer := 100;
begin
  -- Looks first, because every request repeats its alerts and an insert is more expensive even when it conflicts.
  perform from public.llm_alerts as n where n.user_id = p_user and n.kind = p_kind and n.subject = p_subject;
  if found then
    return;
  end if;
  -- Raises no error, because the call that raises an alert must not fail. Not for the operator's alerts: one user could
  -- use up their limit, and another user's alert would be missing.
  perform from public.llm_alerts as n
  where
    n.user_id = p_user and n.id >= llm_private.first_uuid_v7(now() - interval '1 day') and n.kind = p_kind
    and p_user <> llm_private.operator_id()
  offset v_most - 1 limit 1;
  if found then
    return;
  end if;
  insert into public.llm_alerts (user_id, kind, subject, detail)
  values (p_user, p_kind, p_subject, p_detail)
  on conflict (user_id, kind, subject) do nothing;
end
$$;

comment on function llm_private.add_alert is
'Add an alert for a user or the operator, unless it exists. A user gets at most 100 of a kind within 24 hours, because
quotas per minute, for example, would add thousands a day.';

create function llm_private.dismiss_alerts(p_ids uuid[])
returns integer
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_owner constant uuid := llm_private.acting_owner();
  v_read integer;
begin
  perform llm_private.require_plain_call('dismiss_llm_alerts');
  perform llm_private.check_value(
    'invalid_argument', coalesce(cardinality(p_ids), 0) <= 1000, 'p_ids', 'at most 1000 ids'
  );
  update public.llm_alerts set read_at = now()
  where user_id = v_owner and read_at is null and (p_ids is null or id = any(p_ids));
  get diagnostics v_read = row_count;
  return v_read;
end
$$;

comment on function llm_private.dismiss_alerts is
'Dismiss the caller''s alerts. Errors: not_signed_in, invalid_argument.';

-- Public RPCs ---------------------------------------------------------------------------------------------------------

create function public.list_llm_alerts(
  p_unread_only boolean default true, p_limit integer default 50, p_before uuid default null
)
returns setof public.llm_alerts
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select * from public.llm_alerts
  where
    user_id = (select llm_private.acting_owner())
    and (read_at is null or not coalesce(p_unread_only, true))
    and (p_before is null or id < p_before)
  order by id desc
  limit least(greatest(coalesce(p_limit, 50), 1), 500)
$$;

comment on function public.list_llm_alerts is
'The caller''s alerts or, with a secret key, the operator''s, newest first, at most 500. p_before: the last id of the
previous page. Error not_signed_in.';

create function public.dismiss_llm_alerts(p_ids uuid[] default null)
returns integer
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select llm_private.dismiss_alerts(p_ids)
$$;

comment on function public.dismiss_llm_alerts is
'Dismiss the caller''s alerts with these ids, at most 1000, or all without p_ids. Returns how many were unread.
Errors: not_signed_in, invalid_argument.';
