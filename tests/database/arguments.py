"""Complete arguments of every RPC, which tests enlarge, replace and aim at other users."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from tests.database.support import request_id, usage_event
from tests.database.surface import RPCS, Victim

NOBODY = "0198a000-0000-7000-8000-000000000001"
VICTIM = Victim.made_up(NOBODY)

#: Valid arguments with every text and every field of a JSON argument. Those of `RPCS` omit optional ones.
COMPLETE: Mapping[str, Mapping[str, Any]] = {
    "set_llm_settings": {
        "p_changes": {
            "default_provider": "groq",
            "time_zone": "Europe/Berlin",
            "provider_preferences": {"groq": {"enabled": True, "priority": 1, "model": "m"}},
            "task_overrides": {
                "speed": {
                    "provider": "groq",
                    "model": "m",
                    "fallbacks": [{"provider": "openai", "model": "m"}],
                }
            },
        }
    },
    "create_llm_team": {"p_name": "A team"},
    "set_llm_team": {
        "p_team_id": NOBODY,
        "p_changes": {
            "name": "A team",
            "keys_first": "member",
            "allowed_providers": {"groq": True, "openai": ["m"]},
            "default_provider": "groq",
            "provider_preferences": {"groq": {"enabled": True, "priority": 1, "model": "m"}},
            "task_overrides": {
                "speed": {
                    "provider": "groq",
                    "model": "m",
                    "fallbacks": [{"provider": "openai", "model": "m"}],
                }
            },
        },
    },
    "create_llm_team_invitation": {
        "p_team_id": NOBODY,
        "p_role": "member",
        "p_email": "somebody@example.com",
        "p_valid_hours": 1,
    },
    "explain_llm_route": {
        "p_task": "speed",
        "p_model": "groq/m",
        "p_needs": ["chat"],
        "p_operator_providers": ["openai"],
        "p_changes": {"task_overrides": {"speed": {"provider": "groq", "model": "m"}}},
    },
    "resolve_llm_route": {
        "p_task": "speed",
        "p_model": "groq/m",
        "p_needs": ["chat"],
        "p_operator_providers": ["openai"],
        "p_service_tier": "flex",
    },
    "record_llm_usage": {
        **usage_event(outcome="failed", error_class="auth", task="t", service_tier="flex", input_tokens=9),
        "p_other_tokens": {"input_audio": 1},
    },
    "get_llm_usage": {
        "p_by": ["provider"],
        "p_bucket": "day",
        "p_order": "cost",
        "p_time_zone": "Europe/Berlin",
    },
    "record_llm_usage_batch": {
        **RPCS["record_llm_usage_batch"].attack(VICTIM),
        "p_dropped": {"queue_full": 2},
    },
    "list_llm_usage_events": {"p_after": f"{NOBODY}/{NOBODY}/0/{NOBODY}"},
    "get_llm_audit_log": {"p_action": "key_set", "p_provider": "groq", "p_by": "user"},
    "list_llm_prices": {"p_provider": "groq", "p_model": "m"},
    "set_llm_price": {
        "p_provider": "groq",
        "p_model": "limits-*",
        "p_rates": {"input": {"base": 1, "above": {"200000": 2}}},
        "p_key_source": "user",
        "p_service_tier": "flex",
    },
    "set_llm_quota": {
        "p_quota": {
            "limit": 9,
            "unit": "cost",
            "period": "day",
            "clock": "utc",
            "unpriced": "allow",
            "key_source": "user",
            "provider": "groq",
            "task": "t",
        }
    },
    "set_llm_provider": {
        "p_provider": {
            "id": "limits",
            "name": "Limits",
            "base_url": "https://limits.test",
            "default_model": "m",
            "task_models": {"speed": "m"},
            "parameter_names": {"seed": "random_seed"},
            "model_prefixes": ["models/"],
            "capabilities": ["chat"],
        }
    },
    "set_llm_operator_settings": {"p_changes": {"keys_readable_by": "owner"}},
    "sync_llm_prices": {
        "p_provider": "mistral",
        "p_entries": [
            {
                "name": "m",
                "pattern": "^m$",
                "position": 1,
                "prices": [{"service_tier": "flex", "rates": {"input": 1}}],
            }
        ],
    },
    "reserve_llm_attempt": {
        **RPCS["reserve_llm_attempt"].attack(VICTIM),
        "p_request_id": request_id(),
        "p_task": "t",
        "p_service_tier": "flex",
    },
}


def arguments_of(function: str) -> dict[str, Any]:
    """Return complete, valid arguments of an RPC. The objects that they name do not exist."""
    return deepcopy(dict(COMPLETE.get(function, RPCS[function].attack(VICTIM))))
