"""The public API as intended: the roles that may call each RPC and read each table.

Tests compare the system catalog with it. When you add a function or a table, declare here which roles may use
it and which arguments an attacker would send.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from tests.database.support import usage_event
from tests.support import key_for, unique

USER = frozenset({"authenticated"})
ADMIN = frozenset({"service_role"})
ANYONE = frozenset({"anon"})


@dataclass(frozen=True)
class Victim:
    """Ids of another user that an attacker may have found out.

    A field is sent in every argument that can hold it (see attacks.py), so a new kind of id needs only its
    field here and its value in the scene of test_hostile.py.
    """

    id: str
    key_id: str
    request_id: str
    audit_id: str
    price_id: int
    quota_id: int
    alert_id: str
    team_id: str
    invitation_id: str

    @classmethod
    def made_up(cls, uuid: str) -> Victim:
        """Return ids of nothing: this UUID, and the number 1."""
        # Annotations are text, because they are evaluated lazily.
        values: dict[str, Any] = {it.name: uuid if it.type == "str" else 1 for it in fields(cls)}
        return cls(**values)

    def ids(self) -> Mapping[str, str | int]:
        """Return the ids by field."""
        return {it.name: getattr(self, it.name) for it in fields(self)}

    def uuids(self) -> list[str]:
        return [it for it in self.ids().values() if isinstance(it, str)]

    def numbers(self) -> list[int]:
        return [it for it in self.ids().values() if isinstance(it, int)]


@dataclass(frozen=True)
class Rpc:
    """The roles that may call an RPC, and arguments that target a victim as far as it allows."""

    roles: frozenset[str]
    attack: Callable[[Victim], Mapping[str, Any]] = field(default=lambda _: {})


_LAST = "ffffffff-ffff-7fff-bfff-ffffffffffff"

RPCS: Mapping[str, Rpc] = {
    "replace_llm_master_key": Rpc(ADMIN),
    "get_llm_vault": Rpc(ADMIN),
    "rotate_llm_vault": Rpc(ADMIN, lambda victim: {"p_after": victim.id}),
    "rotate_llm_ticket_key": Rpc(ADMIN),
    "get_llm_settings": Rpc(USER),
    "set_llm_settings": Rpc(
        USER, lambda _: {"p_changes": {"enable_fallbacks": False, "default_provider": "mistral"}}
    ),
    "list_llm_teams": Rpc(USER | ADMIN),
    # An administrator may do to the victim's team whatever an owner may.
    "create_llm_team": Rpc(USER | ADMIN, lambda victim: {"p_name": "x", "p_owner": victim.key_id}),
    "get_llm_team": Rpc(USER | ADMIN, lambda victim: {"p_team_id": victim.team_id}),
    "set_llm_team": Rpc(USER | ADMIN, lambda victim: {"p_team_id": victim.team_id, "p_changes": {}}),
    "remove_llm_team": Rpc(USER | ADMIN, lambda victim: {"p_team_id": victim.id}),
    "list_llm_team_members": Rpc(USER | ADMIN, lambda victim: {"p_team_id": victim.team_id}),
    "set_llm_team_member": Rpc(
        USER | ADMIN,
        lambda victim: {"p_team_id": victim.team_id, "p_user_id": victim.id, "p_role": "owner"},
    ),
    "remove_llm_team_member": Rpc(
        USER | ADMIN, lambda victim: {"p_team_id": victim.team_id, "p_user_id": victim.key_id}
    ),
    "create_llm_team_invitation": Rpc(USER | ADMIN, lambda victim: {"p_team_id": victim.id}),
    "list_llm_team_invitations": Rpc(USER | ADMIN, lambda victim: {"p_team_id": victim.team_id}),
    "remove_llm_team_invitation": Rpc(
        USER | ADMIN, lambda victim: {"p_team_id": victim.id, "p_id": victim.invitation_id}
    ),
    "accept_llm_team_invitation": Rpc(USER, lambda victim: {"p_invitation": victim.invitation_id}),
    "list_llm_keys": Rpc(USER),
    "set_llm_key": Rpc(USER, lambda _: {"provider": "groq", "key": key_for("groq", 666)}),
    "reveal_llm_key": Rpc(USER, lambda _: {"p_provider": "groq"}),
    "remove_llm_key": Rpc(USER, lambda _: {"p_provider": "groq"}),
    "begin_llm_key_check": Rpc(USER, lambda _: {"provider": "groq"}),
    "list_llm_team_keys": Rpc(USER, lambda victim: {"p_team_id": victim.team_id}),
    "set_llm_team_key": Rpc(
        USER, lambda victim: {"team_id": victim.team_id, "provider": "groq", "key": key_for("groq", 666)}
    ),
    "remove_llm_team_key": Rpc(USER, lambda victim: {"p_team_id": victim.team_id, "p_provider": "groq"}),
    "record_llm_key_check": Rpc(
        USER, lambda victim: {"p_check_id": victim.request_id, "p_result": "rejected"}
    ),
    "list_llm_models": Rpc(USER | ADMIN, lambda _: {"p_provider": "groq"}),
    "resolve_llm_route": Rpc(USER, lambda _: {"p_task": "speed"}),
    "explain_llm_route": Rpc(USER, lambda _: {"p_task": "speed"}),
    "record_llm_usage": Rpc(
        USER,
        lambda victim: usage_event(
            request_id=victim.request_id, key_id=victim.key_id, outcome="failed", error_class="auth"
        ),
    ),
    "record_llm_usage_batch": Rpc(
        USER | ANYONE | ADMIN,
        lambda victim: {
            "p_events": [
                {"ticket": "0" * 112, "request_id": victim.request_id, "attempt": 1, "provider": "groq"},
                {"request_id": victim.request_id, "release": True},
            ]
        },
    ),
    "record_llm_refusals": Rpc(USER, lambda _: {"p_refusals": {"no_usable_key": 7}}),
    "list_llm_refusals": Rpc(USER | ADMIN, lambda victim: {"p_user_id": victim.id}),
    "get_llm_usage": Rpc(USER | ADMIN, lambda victim: {"p_by": ["key_id"], "p_user_id": victim.id}),
    "list_llm_requests": Rpc(USER, lambda _: {"p_before": _LAST, "p_limit": 500}),
    "get_llm_forecast": Rpc(USER),
    "list_llm_hints": Rpc(USER),
    "list_llm_usage_events": Rpc(
        USER | ADMIN,
        lambda victim: {
            "p_after": f"{victim.id}/{victim.request_id}/0/{victim.id}",
            "p_user_id": victim.id,
        },
    ),
    "list_llm_problems": Rpc(ADMIN),
    "get_llm_version": Rpc(ADMIN),
    "check_llm_usage": Rpc(ADMIN),
    "run_llm_maintenance": Rpc(ADMIN),
    "recalculate_llm_costs": Rpc(ADMIN),
    "reserve_llm_attempt": Rpc(
        USER,
        lambda victim: {
            "p_request_id": victim.request_id,
            "p_attempt": 1,
            "p_provider": "groq",
            "p_model": "m",
            "p_key_source": "user",
        },
    ),
    "release_llm_request": Rpc(USER, lambda victim: {"p_request_id": victim.request_id}),
    "list_llm_quotas": Rpc(USER | ADMIN, lambda victim: {"p_user_id": victim.id}),
    "set_llm_quota": Rpc(
        USER | ADMIN,
        lambda victim: {
            "p_quota": {"limit": 9, "unit": "cost", "period": "day", "enforced": False, "user_id": victim.id}
        },
    ),
    "remove_llm_quota": Rpc(USER | ADMIN, lambda victim: {"p_id": victim.quota_id}),
    "set_llm_user_group": Rpc(ADMIN, lambda victim: {"p_user_id": victim.id, "p_group": "trial"}),
    "list_llm_alerts": Rpc(USER | ADMIN, lambda _: {"p_unread_only": False}),
    "dismiss_llm_alerts": Rpc(USER | ADMIN, lambda victim: {"p_ids": [victim.alert_id]}),
    "get_llm_audit_log": Rpc(
        USER | ADMIN,
        lambda victim: {
            "p_before": victim.audit_id,
            "p_limit": 500,
            "p_user_id": victim.id,
            "p_by": "user",
        },
    ),
    "verify_llm_audit_log": Rpc(
        USER | ADMIN, lambda victim: {"p_user_id": victim.id, "p_after": victim.audit_id}
    ),
    "list_llm_audit_seals": Rpc(ADMIN, lambda victim: {"p_user_id": victim.id}),
    "list_llm_audit_texts": Rpc(ADMIN, lambda victim: {"p_user_id": victim.id}),
    "list_llm_users": Rpc(ADMIN, lambda victim: {"p_ids": [victim.id]}),
    "get_llm_user": Rpc(ADMIN, lambda victim: {"p_user_id": victim.id}),
    "explain_llm_user_route": Rpc(ADMIN, lambda victim: {"p_user_id": victim.id}),
    # An administrator may do both to the victim.
    "set_llm_user_suspended": Rpc(ADMIN, lambda victim: {"p_user_id": victim.key_id, "p_suspended": True}),
    "remove_llm_user_data": Rpc(ADMIN, lambda victim: {"p_user_id": victim.key_id}),
    "list_llm_providers": Rpc(USER | ADMIN),
    "remove_llm_provider": Rpc(ADMIN, lambda _: {"p_provider": "no-provider"}),
    "set_llm_provider": Rpc(ADMIN, lambda _: {"p_provider": {"id": "openai", "name": "OpenAI"}}),
    "list_llm_prices": Rpc(USER | ADMIN, lambda _: {"p_provider": "groq"}),
    "set_llm_price": Rpc(
        USER | ADMIN, lambda _: {"p_provider": "groq", "p_model": "attackers-model", "p_rates": {"input": 0}}
    ),
    "end_llm_price": Rpc(USER | ADMIN, lambda victim: {"p_id": victim.price_id}),
    "sync_llm_prices": Rpc(ADMIN, lambda _: {"p_provider": "groq", "p_entries": []}),
    "get_llm_operator_settings": Rpc(ADMIN),
    "set_llm_operator_settings": Rpc(ADMIN, lambda _: {"p_changes": {}}),
    "get_llm_configuration": Rpc(ADMIN),
    "set_llm_configuration": Rpc(ADMIN, lambda _: {"p_configuration": {"format": 1}}),
    "register_llm_runtime": Rpc(ADMIN, lambda _: {"p_name": unique("attacker")}),
    "list_llm_runtimes": Rpc(ADMIN),
    "rotate_llm_runtime": Rpc(ADMIN, lambda victim: {"p_id": victim.id}),
    "revoke_llm_runtime": Rpc(ADMIN, lambda victim: {"p_id": victim.id}),
}

# Security definer functions in llm_private that an API role may execute because its RPCs call them.
PRIVATE_GRANTS: Mapping[str, frozenset[str]] = {
    "replace_master_key": ADMIN,
    "get_vault": ADMIN,
    "rotate_vault": ADMIN,
    "rotate_ticket_key": ADMIN,
    "get_settings": USER,
    "set_settings": USER,
    "list_teams": USER | ADMIN,
    "create_team": USER | ADMIN,
    "get_team": USER | ADMIN,
    "set_team": USER | ADMIN,
    "remove_team": USER | ADMIN,
    "list_team_members": USER | ADMIN,
    "set_team_member": USER | ADMIN,
    "remove_team_member": USER | ADMIN,
    "create_team_invitation": USER | ADMIN,
    "list_team_invitations": USER | ADMIN,
    "remove_team_invitation": USER | ADMIN,
    "accept_team_invitation": USER,
    "list_keys": USER,
    "set_key": USER,
    "reveal_key": USER,
    "remove_key": USER,
    "begin_key_check": USER,
    "list_team_keys": USER,
    "set_team_key": USER,
    "remove_team_key": USER,
    "record_key_check": USER,
    "list_models": USER | ADMIN,
    "resolve_route": USER,
    "explain_route": USER,
    "record_usage": USER,
    "record_batch": USER | ANYONE | ADMIN,
    "record_refusals": USER,
    "list_refusals": USER | ADMIN,
    "usage_report": USER | ADMIN,
    "list_requests": USER,
    "list_events": USER | ADMIN,
    "forecast": USER,
    "hints": USER,
    "check_usage": ADMIN,
    "run_maintenance": ADMIN,
    "recalculate_costs": ADMIN,
    "list_prices": USER | ADMIN,
    "set_price": USER | ADMIN,
    "end_price": USER | ADMIN,
    "sync_prices": ADMIN,
    "reserve_attempt": USER,
    "release_request": USER,
    "acting_owner": USER | ADMIN,
    "user_id": USER,
    "is_not_estimate": USER,
    "audit_log": USER | ADMIN,
    "verify_audit_log": USER | ADMIN,
    "list_audit_seals": ADMIN,
    "list_audit_texts": ADMIN,
    "list_quotas": USER | ADMIN,
    "set_quota": USER | ADMIN,
    "remove_quota": USER | ADMIN,
    "set_user_group": ADMIN,
    "dismiss_alerts": USER | ADMIN,
    "operator_settings_json": ADMIN,
    "set_operator_settings": ADMIN,
    "configuration": ADMIN,
    "set_configuration": ADMIN,
    "list_users": ADMIN,
    "get_user": ADMIN,
    "explain_user_route": ADMIN,
    "set_user_suspended": ADMIN,
    "remove_user_data": ADMIN,
    "set_provider": ADMIN,
    "remove_provider": ADMIN,
    "register_runtime": ADMIN,
    "list_runtimes": ADMIN,
    "rotate_runtime": ADMIN,
    "revoke_runtime": ADMIN,
    "list_problems": ADMIN,
    "installed_version": ADMIN,
}

# Tables in public, with the column that names a row's owner; None if every signed-in user may read them.
TABLES: Mapping[str, str | None] = {
    "user_llm_settings": "user_id",
    "llm_keys": "owner_id",
    "llm_usage_events": "user_id",
    "llm_usage_totals": "user_id",
    "llm_usage_adjustments": "user_id",
    "llm_alerts": "user_id",
    "llm_audit_log": "user_id",
    "llm_providers": None,
    "llm_tasks": None,
    "llm_prices": None,
}

# Of the tables without an owner column, those in which some rows are private to a user.
SHARED = frozenset({"llm_prices"})
