-- Syncing the catalog's prices with a price list.
--
-- A price list rarely says since when a price is valid, and recorded costs used the prices known at the time. So only
-- prices that the list dates may begin in the past; a change without a date is valid from now on.

create type llm_private.listed_price as (
  name text,
  service_tier text,
  daily_from time,
  daily_until time,
  valid_from timestamptz,
  valid_until timestamptz,
  rates jsonb
);

comment on type llm_private.listed_price is 'A price of a price list, with the name of its entry.';

create type llm_private.price_change as (
  model text,
  change text,
  service_tier text,
  daily_from time,
  daily_until time,
  before jsonb,
  after jsonb,
  valid_from timestamptz,
  valid_until timestamptz,
  was_until timestamptz
);

comment on type llm_private.price_change is
'What a price list changes: the rates before and after, and from when until when the rates after hold. was_until is the
current end of the rows that the change ends.';

-- Private helpers -----------------------------------------------------------------------------------------------------

create function llm_private.price_entries(p_entries jsonb)
returns setof llm_private.listed_price
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select
    e.name, i.service_tier, i.daily_from, i.daily_until,
    coalesce(i.valid_from, '-infinity'), coalesce(i.valid_until, 'infinity'), i.rates
  from jsonb_to_recordset(p_entries) as e (name text, prices jsonb)
  cross join lateral jsonb_to_recordset(e.prices) as i (
    valid_from timestamptz, valid_until timestamptz, daily_from time, daily_until time, service_tier text, rates jsonb
  )
$$;

comment on function llm_private.price_entries is 'The prices of a price list, one row each.';

create function llm_private.check_price_entry(p_entry jsonb)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_entry record;
  v_price record;
begin
  if jsonb_typeof(p_entry) <> 'object' or p_entry - '{name,pattern,position,prices,context_tokens}'::text[] <> '{}' then
    raise data_exception using message =
      'An entry must be an object with name, pattern, position and prices, and may have context_tokens.';
  end if;
  select * into v_entry
  from jsonb_to_record(p_entry)
  as e (name text, pattern text, position integer, prices jsonb, context_tokens integer);
  if length(v_entry.name) > 200 or length(v_entry.pattern) > 2000 then
    raise data_exception using message = 'name is longer than 200 characters, or pattern is longer than 2000.';
  end if;
  if (v_entry.name ~ '^[!-~]{1,200}$' and v_entry.position between 0 and 999999) is not true then
    raise data_exception using message = 'name must have 1 to 200 characters without spaces, and position must be 0 to 999999.';
  elsif v_entry.context_tokens not between 1 and 1000000000 then
    raise data_exception using message = 'context_tokens must be null, or 1 to 1000000000.';
  elsif ('' ~ v_entry.pattern) is null then
    raise data_exception using message = 'pattern is missing.';
  elsif jsonb_typeof(v_entry.prices) is distinct from 'array' then
    raise data_exception using message = 'prices must be an array.';
  elsif exists (
    select from jsonb_array_elements(v_entry.prices) as p
    where p - '{valid_from,valid_until,daily_from,daily_until,service_tier,rates}'::text[] <> '{}'
  ) then
    raise data_exception using message =
      'A price must have rates, and may have valid_from, valid_until, daily_from with daily_until, and service_tier.';
  elsif exists (
    select from (
      select
        p.valid_from,
        lag(p.valid_until) over (partition by p.service_tier, p.daily_from, p.daily_until order by p.valid_from) as last
      from llm_private.price_entries(jsonb_build_array(p_entry)) as p
    ) as p
    where p.valid_from < p.last
  ) then
    raise data_exception using message = 'Two prices overlap in time.';
  end if;
  for v_price in select * from llm_private.price_entries(jsonb_build_array(p_entry)) loop
    if (
      v_price.valid_from < v_price.valid_until
      and (v_price.daily_from is null) = (v_price.daily_until is null)
      and (v_price.daily_from = v_price.daily_until) is not true
      and coalesce(length(v_price.service_tier), 0) <= 32 and coalesce(v_price.service_tier, 'any') ~ '^[a-z0-9_-]{1,32}$'
    ) is not true then
      raise data_exception using message = 'A price has invalid dates, times of day or service tier.';
    end if;
    perform llm_private.check_rates(v_price.rates);
  end loop;
end
$$;

comment on function llm_private.check_price_entry is
'Raise an error of class 22, or invalid_price, unless this is a valid entry of a price list.';

create function llm_private.check_price_list(p_entries jsonb)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_entry jsonb;
  v_name text;
  v_hint text;
begin
  perform llm_private.check_size('p_entries', p_entries, 4096, 'invalid_price_list');
  if jsonb_typeof(p_entries) is distinct from 'array' then
    perform llm_private.fail(
      400, 'invalid_price_list', 'p_entries has an invalid value.', 'Allowed: a JSON array of entries.'
    );
  end if;
  for v_entry in select e from jsonb_array_elements(p_entries) as e loop
    begin
      perform llm_private.check_price_entry(v_entry);
    exception when data_exception or sqlstate 'PT400' then
      get stacked diagnostics v_hint = pg_exception_hint;
      perform llm_private.fail(
        400, 'invalid_price_list',
        format('The entry %s is invalid: %s', coalesce(left(v_entry ->> 'name', 200), 'without a name'), left(sqlerrm, 300)),
        v_hint
      );
    end;
  end loop;
  select e.name into v_name
  from jsonb_to_recordset(p_entries) as e (name text) group by e.name having count(*) > 1 limit 1;
  if found then
    perform llm_private.fail(
      400, 'invalid_price_list', format('The list has two entries named %s.', v_name), 'Remove one of them.'
    );
  end if;
end
$$;

comment on function llm_private.check_price_list is
'Error invalid_price_list, with the name of the entry, unless this is a valid price list.';

create function llm_private.price_list_changes(p_provider text, p_entries jsonb)
returns setof llm_private.price_change
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_listed constant jsonb := (
    select coalesce(jsonb_agg(jsonb_build_object('name', l.name, 'prices', l.prices)), '[]')
    from llm_private.price_list as l where l.provider = p_provider
  );
begin
  return query
  select
    d.name, d.change, d.service_tier, d.daily_from, d.daily_until, d.old_rates, d.new_rates,
    case d.change
      when 'added' then case when d.is_known then now() else d.valid_from end
      when 'changed' then greatest(now(), d.valid_from)
      else d.valid_from
    end,
    case when d.change = 'gone' then greatest(now(), d.valid_from) else d.new_until end,
    d.old_until
  from (
    select
      n.valid_until as new_until, n.rates as new_rates, o.valid_until as old_until, o.rates as old_rates, k.*,
      case
        when o.rates is null and k.valid_from > '-infinity' and k.is_known then 'dated'
        when o.rates is null and (n.valid_until > now() or not k.is_known) then 'added'
        when n.rates is null and o.valid_until > now() then 'gone'
        when n.rates <> o.rates and n.valid_until > now() then 'changed'
        when n.valid_until <> o.valid_until and o.valid_until > now() then 'until'
        when n.valid_until <> o.valid_until and n.valid_until > now() then 'added'
      end as change
    from llm_private.price_entries(p_entries) as n
    full join llm_private.price_entries(v_listed) as o
      on
        n.name = o.name and n.valid_from = o.valid_from and coalesce(n.service_tier, '') = coalesce(o.service_tier, '')
        and coalesce(n.daily_from::text, '') = coalesce(o.daily_from::text, '')
        and coalesce(n.daily_until::text, '') = coalesce(o.daily_until::text, '')
    cross join lateral (
      select
        coalesce(n.name, o.name) as name, coalesce(n.valid_from, o.valid_from) as valid_from,
        coalesce(n.service_tier, o.service_tier) as service_tier,
        coalesce(n.daily_from, o.daily_from) as daily_from, coalesce(n.daily_until, o.daily_until) as daily_until,
        exists (
          select from llm_private.price_list as l where l.provider = p_provider and l.name = coalesce(n.name, o.name)
        ) as is_known
    ) as k
  ) as d
  where d.change is not null
  order by d.name, d.valid_from, d.service_tier nulls first, d.daily_from nulls first;
end
$$;

comment on function llm_private.price_list_changes is
'What a price list changes, compared with the last synced list. added: valid from its date for a new entry, else from
now on; dated: valid from the list''s date; changed: valid from now on; until: ends at another time; gone: ends now.';

create function llm_private.audit_price_sync(p_provider text, p_changes jsonb, p_entries bigint, p_gone bigint)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_entries + p_gone > 0 then
    perform llm_private.audit_operator(
      'prices_synced', p_provider => p_provider,
      p_detail => jsonb_build_object(
        'entries_changed', p_entries, 'entries_gone', p_gone,
        'price_changes', (
          select coalesce(jsonb_object_agg(c.change, c.number), '{}')
          from (
            select e ->> 'change' as change, count(*) as number from jsonb_array_elements(p_changes) as e group by 1
          ) as c
        )
      )
    );
  end if;
end
$$;

comment on function llm_private.audit_price_sync is
'Append a sync to the operator''s audit log, with how many entries and prices it changed; nothing if it changed none.';

create function llm_private.sync_prices(p_provider text, p_entries jsonb, p_apply boolean)
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_changes jsonb;
  v_changed bigint;
  v_gone bigint;
begin
  perform llm_private.require_plain_call('sync_llm_prices');
  perform llm_private.check_provider(p_provider);
  perform llm_private.check_price_list(p_entries);
  if p_apply then
    perform pg_advisory_xact_lock(hashtext('llm_private.price_list'), hashtext(p_provider));
  end if;
  select coalesce(jsonb_agg(to_jsonb(c) - 'was_until'), '[]') into v_changes
  from llm_private.price_list_changes(p_provider, p_entries) as c;
  if p_apply then
    -- The rows of a listed price have its tier, time of day and end. A row that ended before it began is void and must
    -- not become valid again with another row that has the same end.
    update public.llm_prices as p
    set valid_until = greatest(p.valid_from, case when c.change = 'until' then c.valid_until else now() end)
    from llm_private.price_list_changes(p_provider, p_entries) as c
    where
      c.change in ('changed', 'gone', 'until')
      and p.source = 'catalog' and p.provider = p_provider and p.model = c.model
      and p.service_tier is not distinct from c.service_tier
      and p.daily_from is not distinct from c.daily_from and p.daily_until is not distinct from c.daily_until
      and p.valid_until = c.was_until and p.valid_until > greatest(now(), p.valid_from);
    perform llm_private.add_price(
      jsonb_populate_record(
        null::public.llm_prices,
        to_jsonb(c) || jsonb_build_object('source', 'catalog', 'provider', p_provider, 'rates', c.after)
      )
    )
    from llm_private.price_list_changes(p_provider, p_entries) as c
    where c.change in ('added', 'dated', 'changed');
    insert into llm_private.price_list (provider, name, pattern, position, prices, context_tokens)
    select p_provider, e.name, e.pattern, e.position, e.prices, e.context_tokens
    from jsonb_to_recordset(p_entries)
    as e (name text, pattern text, position integer, prices jsonb, context_tokens integer)
    on conflict (provider, name) do update
    set
      pattern = excluded.pattern, position = excluded.position, prices = excluded.prices,
      context_tokens = excluded.context_tokens
    where
      (price_list.pattern, price_list.position, price_list.prices, price_list.context_tokens)
      is distinct from (excluded.pattern, excluded.position, excluded.prices, excluded.context_tokens);
    get diagnostics v_changed = row_count;
    -- Entries that are gone stay behind the others, for attempts from before they were gone.
    update llm_private.price_list as l
    set position = l.position % 1000000 + 1000000, prices = '[]'
    where
      l.provider = p_provider and (l.position < 1000000 or l.prices <> '[]')
      and not exists (select from jsonb_to_recordset(p_entries) as e (name text) where e.name = l.name);
    get diagnostics v_gone = row_count;
    perform llm_private.audit_price_sync(p_provider, v_changes, v_changed, v_gone);
    delete from llm_private.price_names where provider = p_provider;
    -- The models that reports list.
    perform llm_private.remember_price_names(
      p_provider,
      array(
        select l.name from llm_private.price_list as l where l.provider = p_provider
        union
        select lower(m) from llm_private.catalog_models(p_provider) as m
      )
    );
    delete from llm_private.charges where provider = p_provider;
  end if;
  return v_changes;
end
$$;

comment on function llm_private.sync_prices is 'See sync_llm_prices().';

-- Public RPCs ---------------------------------------------------------------------------------------------------------

create function public.sync_llm_prices(p_provider text, p_entries jsonb, p_apply boolean default false)
returns jsonb
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  select llm_private.sync_prices(p_provider, p_entries, p_apply)
$$;

comment on function public.sync_llm_prices is
'For administrators: what a price list would change in the catalog''s prices of a provider; with p_apply, apply it.
Entries: [{"name", "pattern", "position", "prices": [{"valid_from", "valid_until", "daily_from", "daily_until",
"service_tier", "rates"}], "context_tokens"}], where pattern is a regular expression for model names in lower case, and
the matching entry with the lowest position applies; context_tokens is the context window of its models. Recorded costs do not change; only prices that the list dates may begin in the past.
Returns for each change: model, change (added, dated, changed, until or gone), service_tier, daily_from, daily_until,
before, after, valid_from, valid_until. Errors: unknown_provider, invalid_price_list.';
