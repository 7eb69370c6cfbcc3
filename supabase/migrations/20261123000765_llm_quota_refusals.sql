-- Refusals: what a quota that refuses an attempt says, to a user in words and to programs in figures.

-- Private helpers -----------------------------------------------------------------------------------------------------

create function llm_private.quota_amount(p_quota llm_private.quotas, p_amount numeric)
returns text
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
  select case
    when p_quota.unit = 'cost' then '$' || trim_scale(round(p_amount, 6))
    when p_amount = 1 then '1 ' || rtrim(p_quota.unit, 's')
    else trim_scale(p_amount) || ' ' || p_quota.unit
  end
$$;

comment on function llm_private.quota_amount(llm_private.quotas, numeric) is
'An amount in the unit of a quota, for people.';

create function llm_private.quota_refusal(
  p_quota llm_private.quotas, p_reason text, p_used numeric, p_reserved numeric, p_resets_at timestamptz
)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_of constant text := concat_ws(
    ', ',
    case p_quota.key_source
      when 'user' then 'your own keys' when 'team' then 'team keys' when 'operator' then 'the operator''s keys'
    end,
    p_quota.provider, 'task ' || p_quota.task
  );
  v_name constant text := format(
    '%s quota of %s %s%s', case p_quota.set_by when 'user' then 'Your own' else 'The operator''s' end,
    llm_private.quota_amount(p_quota, p_quota.amount),
    case p_quota.period when 'lifetime' then 'in total' else 'a ' || p_quota.period end,
    case when v_of <> '' then ' (' || v_of || ')' else '' end
  );
begin
  return jsonb_build_object(
    'reason', p_reason,
    'message', case p_reason
      when 'model_unpriced' then v_name || ' does not allow a model that no price is known for.'
      when 'runtime_required' then v_name || ' lets only a registered runtime use these keys.'
      else v_name || ' does not leave enough'
        || case
          when p_quota.shared then ''
          else format(
            ': %s used, %s reserved', llm_private.quota_amount(p_quota, p_used),
            llm_private.quota_amount(p_quota, p_reserved)
          )
        end
        || case
          when isfinite(p_resets_at) then format(
            '; it resets at %s UTC', to_char(p_resets_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI')
          )
          else ''
        end || '.'
    end,
    'quota', jsonb_build_object(
      'id', p_quota.id, 'set_by', p_quota.set_by, 'unit', p_quota.unit, 'period', p_quota.period,
      'limit', p_quota.amount,
      'used', case when not p_quota.shared then p_used end,
      'reserved', case when not p_quota.shared then p_reserved end,
      'resets_at', case when isfinite(p_resets_at) then p_resets_at end
    )
  );
end
$$;

comment on function llm_private.quota_refusal(llm_private.quotas, text, numeric, numeric, timestamptz) is
'Why a quota refuses an attempt: reason, a sentence, and the quota in figures, which shared ones keep to the operator.';

create function llm_private.refuse(p_refusal jsonb)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  if p_refusal ->> 'reason' = 'quota_exceeded' then
    perform llm_private.fail(
      429, 'quota_exceeded', p_refusal ->> 'message',
      case when p_refusal #>> '{quota,resets_at}' is null then 'Use less' else 'Wait until it resets, use less' end
      || ', or '
      || case p_refusal #>> '{quota,set_by}' when 'user' then 'raise the quota' else 'have the quota raised' end
      || ': list_llm_quotas() shows it.'
    );
  elsif p_refusal ->> 'reason' = 'runtime_required' then
    perform llm_private.fail(
      403, 'runtime_required', p_refusal ->> 'message', 'Send the runtime''s secret in x-llm-runtime.'
    );
  end if;
  perform llm_private.fail(
    422, 'model_unpriced', p_refusal ->> 'message',
    'Set a price for the model, or have the quota allow unpriced models.'
  );
end
$$;

comment on function llm_private.refuse(jsonb) is
'Raise what quota_refusal() made. Errors: quota_exceeded, model_unpriced, runtime_required.';

revoke execute on function llm_private.quota_amount(llm_private.quotas, numeric)
from public, anon, authenticated, service_role;
revoke execute on function llm_private.quota_refusal(llm_private.quotas, text, numeric, numeric, timestamptz)
from public, anon, authenticated, service_role;
revoke execute on function llm_private.refuse(jsonb) from public, anon, authenticated, service_role;
