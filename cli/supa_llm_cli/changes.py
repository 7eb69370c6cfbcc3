"""What a command changes, in one line per object."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Return the fields that differ: `field old → new`, or `field value` if only one of them has it."""
    parts = []
    for name in [*old, *(name for name in new if name not in old)]:
        if name not in old or name not in new:
            parts.append(f"{name} {short(old.get(name, new.get(name)))}")
        elif old[name] != new[name]:
            parts.append(f"{name} {short(old[name])} → {short(new[name])}")
    return ", ".join(parts)


def short(value: object) -> str:
    """Return a value in one line: text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
