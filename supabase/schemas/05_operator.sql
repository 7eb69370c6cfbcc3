-- The operator's settings: one row that every policy decision reads and administrators change.

create table llm_private.operator_settings (
  only_row boolean primary key default true check (only_row),
  keys_readable_by text not null default 'runtime' check (keys_readable_by in ('owner', 'runtime')),
  reveal_enabled boolean not null default true,
  reveal_sign_in_within interval check (reveal_sign_in_within > interval '0'),
  operator_keys_by_default boolean not null default true,
  operator_keys_for_anonymous boolean not null default false,
  lease_seconds integer not null default 300 check (lease_seconds between 30 and 3600),
  reservation_seconds integer not null default 900 check (reservation_seconds between 30 and 86400),
  largest_request_percent integer not null default 25 check (largest_request_percent between 1 and 100),
  unsettled_reservations text not null default 'count' check (unsettled_reservations in ('count', 'free')),
  unbounded_output_tokens integer not null default 8192 check (unbounded_output_tokens between 1 and 1000000),
  events_kept_months integer check (events_kept_months between 2 and 1200),
  audit_kept_months integer check (audit_kept_months between 2 and 1200),
  changes_per_day integer not null default 500 check (changes_per_day between 1 and 100000),
  own_prices_per_user integer not null default 500 check (own_prices_per_user between 0 and 100000),
  usage_names_per_day integer not null default 200 check (usage_names_per_day between 1 and 100000),
  own_events_per_day integer not null default 100000 check (own_events_per_day between 1 and 100000000),
  teams_created_by text not null default 'users' check (teams_created_by in ('users', 'operator')),
  teams_per_user integer not null default 10 check (teams_per_user between 0 and 100),
  require_second_factor boolean not null default false,
  updated_at timestamptz not null default now(),
  -- With owner, users get their keys with a route, so limiting reveals would protect nothing.
  constraint reveals_are_limited_with_runtimes check (
    keys_readable_by = 'runtime' or reveal_enabled and reveal_sign_in_within is null and not require_second_factor
  )
);

comment on table llm_private.operator_settings is 'The operator''s settings; exactly one row.';
comment on column llm_private.operator_settings.keys_readable_by is
'runtime: only a registered runtime gets a user''s keys with a route or for a key check, so that a stolen JWT does not.
owner: a user''s JWT alone gets that user''s own keys.';
comment on column llm_private.operator_settings.reveal_enabled is
'Whether users can read their own stored keys with reveal_llm_key(). Always true with keys_readable_by = owner.';
comment on column llm_private.operator_settings.reveal_sign_in_within is
'To reveal a key, the user must have signed in within this time, according to the claim amr of their token; null: any
session is recent enough. Always null with keys_readable_by = owner.';
comment on column llm_private.operator_settings.operator_keys_by_default is
'Whether the operator''s keys serve users who have neither accepted nor declined them.';
comment on column llm_private.operator_settings.operator_keys_for_anonymous is
'Whether the operator''s keys serve users who signed in anonymously. Anyone can make any number of such users.';
comment on column llm_private.operator_settings.lease_seconds is
'How long a runtime or session may keep the keys of a resolved route.';
comment on column llm_private.operator_settings.reservation_seconds is
'When a reservation of a quota expires; set it longer than the longest request.';
comment on column llm_private.operator_settings.largest_request_percent is
'The most of a shared quota that one request may reserve, so that none blocks all others.';
comment on column llm_private.operator_settings.unsettled_reservations is
'What an expired reservation that was never settled does in an enforced quota of the operator''s. count: it counts as
used, so that not reporting usage never pays. free: it counts as nothing.';
comment on column llm_private.operator_settings.unbounded_output_tokens is
'Output limit of a request that sets none, where an enforced quota of tokens or cost applies to its user.';

-- At least two, because a request can be recorded for a week after it began.
comment on column llm_private.operator_settings.events_kept_months is
'For how many months events are kept, including this one; null: indefinitely. Reports use totals, which are kept.';
comment on column llm_private.operator_settings.audit_kept_months is
'For how many months entries of the audit log are kept, including this one; null: indefinitely.';
comment on column llm_private.operator_settings.changes_per_day is
'How often a user can do each of these within 24 hours: change settings, set a key, a price or a quota.
The entries of each in the audit log have at most 2 kB on average.';
comment on column llm_private.operator_settings.own_prices_per_user is
'How many current and future prices of their own a user can have.';
comment on column llm_private.operator_settings.usage_names_per_day is
'How many combinations of provider, model and task a user''s usage of a day may have, per recorder. Further names are
recorded as (other).';
comment on column llm_private.operator_settings.own_events_per_day is
'How many events of requests that began on the same day (UTC) a user can record without a runtime. A runtime has no
limit.';
comment on column llm_private.operator_settings.teams_created_by is
'users: every user can create teams. operator: only administrators can.';
comment on column llm_private.operator_settings.teams_per_user is
'How many teams a user can own. Users who own as many cannot create another one.';

comment on column llm_private.operator_settings.require_second_factor is
'Whether users must have signed in with a second factor to reveal a key or to manage a team, according to the claim aal
of their token. Always false with keys_readable_by = owner.';

alter table llm_private.operator_settings enable row level security;

-- Private helpers -----------------------------------------------------------------------------------------------------

create function llm_private.operator_settings_json()
returns jsonb
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
  select to_jsonb(o) - 'only_row' from llm_private.operator_settings as o
$$;

comment on function llm_private.operator_settings_json is 'The operator''s settings as JSON.';

create function llm_private.check_step_up()
returns void
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_level constant jsonb := auth.jwt() -> 'aal';
begin
  if not (select o.require_second_factor from llm_private.operator_settings as o) or v_level = '"aal2"' then
    return;
  elsif jsonb_typeof(v_level) = 'string' then
    perform llm_private.fail(
      403, 'second_factor_required', 'This requires a sign-in with a second factor.',
      'Verify your second factor, then retry.'
    );
  end if;
  perform llm_private.fail(
    403, 'second_factor_unknown',
    'This requires a sign-in with a second factor, and the access token does not contain how the user signed in.',
    'The operator can make Supabase Auth send the claim aal, or set require_second_factor to false.'
  );
end
$$;

comment on function llm_private.check_step_up is
'Error second_factor_required or second_factor_unknown if the operator requires a second factor and the caller''s token
shows none. Call it in what someone with a stolen password should not do.';

create function llm_private.check_reveal_settings(p_row llm_private.operator_settings)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_row.keys_readable_by = 'owner' and (
    not p_row.reveal_enabled or p_row.reveal_sign_in_within is not null or p_row.require_second_factor
  ) then
    perform llm_private.fail(
      400, 'invalid_setting',
      'With keys_readable_by owner, reveal_enabled, reveal_sign_in_within and require_second_factor protect no key, '
      'because users get their keys with a route.',
      'Set keys_readable_by to runtime, or set reveal_enabled to true, reveal_sign_in_within to null and '
      'require_second_factor to false.'
    );
  end if;
end
$$;

comment on function llm_private.check_reveal_settings is
'Error invalid_setting for settings that limit reveals while users get their keys with a route.';

create function llm_private.save_operator_settings(p_changes jsonb)
returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
  v_row llm_private.operator_settings;
  v_old jsonb;
  v_unknown text;
begin
  perform llm_private.check_size('p_changes', p_changes, 4);
  if jsonb_typeof(p_changes) is distinct from 'object' then
    perform llm_private.fail(
      400, 'invalid_argument', 'p_changes has an invalid value.', 'Allowed: a JSON object.'
    );
  end if;
  select * into strict v_row from llm_private.operator_settings for update;
  v_old := llm_private.operator_settings_json() - 'updated_at';
  select k into v_unknown from jsonb_object_keys(p_changes) as k
  where not to_jsonb(v_row) - '{only_row,updated_at}'::text[] ? k limit 1;
  if found then
    perform llm_private.fail(
      400, 'unknown_setting', format('%s is not an operator setting.', left(v_unknown, 60)),
      'Allowed: audit_kept_months, changes_per_day, events_kept_months, keys_readable_by, largest_request_percent, '
      'lease_seconds, operator_keys_by_default, operator_keys_for_anonymous, own_events_per_day, own_prices_per_user, '
      'require_second_factor, reservation_seconds, reveal_enabled, reveal_sign_in_within, teams_created_by, teams_per_user, '
      'unbounded_output_tokens, unsettled_reservations, usage_names_per_day.'
    );
  end if;
  begin
    v_row := jsonb_populate_record(v_row, p_changes);
    perform llm_private.check_reveal_settings(v_row);
    update llm_private.operator_settings
    set
      keys_readable_by = v_row.keys_readable_by,
      reveal_enabled = v_row.reveal_enabled,
      reveal_sign_in_within = v_row.reveal_sign_in_within,
      operator_keys_by_default = v_row.operator_keys_by_default,
      operator_keys_for_anonymous = v_row.operator_keys_for_anonymous,
      lease_seconds = v_row.lease_seconds,
      reservation_seconds = v_row.reservation_seconds,
      unbounded_output_tokens = v_row.unbounded_output_tokens,
      unsettled_reservations = v_row.unsettled_reservations,
      largest_request_percent = v_row.largest_request_percent,
      events_kept_months = v_row.events_kept_months,
      audit_kept_months = v_row.audit_kept_months,
      changes_per_day = v_row.changes_per_day,
      own_prices_per_user = v_row.own_prices_per_user,
      usage_names_per_day = v_row.usage_names_per_day,
      own_events_per_day = v_row.own_events_per_day,
      teams_created_by = v_row.teams_created_by,
      teams_per_user = v_row.teams_per_user,
      require_second_factor = v_row.require_second_factor,
      updated_at = now();
  exception when data_exception or integrity_constraint_violation then
    perform llm_private.fail(
      400, 'invalid_setting', 'An operator setting has an invalid value.',
      'Allowed: audit_kept_months and events_kept_months: 2 to 1200, or null; changes_per_day: 1 to 100000; '
      'keys_readable_by: owner or runtime; largest_request_percent: 1 to 100; lease_seconds: 30 to 3600; operator_keys_by_default, '
      'operator_keys_for_anonymous, require_second_factor and reveal_enabled: true or false; own_events_per_day: 1 to 100000000; '
      'own_prices_per_user: 0 to 100000; '
      'reservation_seconds: 30 to 86400; reveal_sign_in_within: an interval such as "10 minutes", or null; '
      'teams_created_by: users or operator; teams_per_user: 0 to 100; '
      'unbounded_output_tokens: 1 to 1000000; unsettled_reservations: count or free; usage_names_per_day: 1 to 100000.'
    );
  end;
  perform llm_private.audit_operator(
    'operator_settings_changed', v_old, llm_private.operator_settings_json() - 'updated_at'
  );
  return llm_private.operator_settings_json();
end
$$;

comment on function llm_private.save_operator_settings is
'Change the settings in p_changes. Errors: invalid_argument, unknown_setting, invalid_setting.';

create function llm_private.set_operator_settings(p_changes jsonb)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  perform llm_private.require_plain_call('set_llm_operator_settings');
  return llm_private.save_operator_settings(p_changes);
end
$$;

comment on function llm_private.set_operator_settings is 'See set_llm_operator_settings().';

-- Public RPCs ---------------------------------------------------------------------------------------------------------

create function public.get_llm_operator_settings()
returns jsonb
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select llm_private.operator_settings_json()
$$;

comment on function public.get_llm_operator_settings is 'For administrators: the operator''s settings.';

create function public.set_llm_operator_settings(p_changes jsonb)
returns jsonb
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select llm_private.set_operator_settings(p_changes)
$$;

comment on function public.set_llm_operator_settings is
'For administrators: change the operator''s settings in p_changes; returns all of them.
Errors: invalid_argument, unknown_setting, invalid_setting.';
