"""Malformed request bodies for set_llm_key."""

from __future__ import annotations

import json
from collections.abc import Mapping


def malformed_bodies(secret: str) -> Mapping[str, str | bytes]:
    """Return bodies that set_llm_key must refuse. Nearly all contain `secret` (letters and digits)."""
    key = f"gsk_{secret}"
    good = body(key)

    def within(text: str) -> str:
        return good.replace("gsk_", f"gsk_{text}")

    def instead(json_text: str) -> str:
        return good.replace(json.dumps(key), json_text)

    return {
        "of another provider": body(f"sk-{secret}"),
        "of another provider with the same prefix": body(f"sk-ant-{secret}", "openai"),
        "with a space": body(f"gsk_ {secret}"),
        "with a trailing space": body(f"{key} "),
        "with a trailing line break": within("").replace(secret, f"{secret}\\n"),
        "with a tab": within("\\t"),
        "with a raw control character": within("\x01"),
        "with a delete character": within("\x7f"),
        "with NUL": within("\\u0000"),
        "with a lone high surrogate": within("\\ud800"),
        "with a lone low surrogate": within("\\udc00"),
        "with a truncated escape": within("\\u12"),
        "with an unknown escape": within("\\x"),
        "with a Latin lookalike letter": good.replace("gsk_", "\N{LATIN SMALL LETTER SCRIPT G}sk_"),
        "with an emoji": body(f"{key}🔑"),
        "with a zero-width space": body(f"{key}\u200b"),
        "of 600 characters": body("gsk_" + (secret * 600)[:596]),
        "of 10 KB": body("gsk_" + (secret * 10_240)[:10_236]),
        "of 10 MB": body("gsk_" + (secret * 500_000)[:10_000_000]),
        "empty": body(""),
        "too short": body("gsk_7"),
        "null": instead("null"),
        "a number": instead("7"),
        "in a list": instead(f'["{key}"]'),
        "in an object": instead(f'{{"{key}": "{key}"}}'),
        "swapped with the provider": body("groq", key),
        "without a provider": json.dumps({"key": key}),
        "under another name": json.dumps({"p_provider": "groq", "p_key": key}),
        "as the name of a field": json.dumps({"provider": "groq", "key": key, key: 1}),
        "for a provider that does not exist": body(key, "gorq"),
        "alone": json.dumps(key),
        "in a list of bodies": f"[{good}]",
        "alone in a list": json.dumps([key]),
        "in truncated JSON": good[:-2],
        "in JSON with a trailing comma": good[:-1] + ",}",
        "not in JSON": key,
        "in bytes that are not UTF-8": good.encode()[:-2] + b'\xff\xfe"}',
        "in UTF-16": good.encode("utf-16"),
    }


def body(key: str, provider: str = "groq") -> str:
    """Return a body for set_llm_key, without escaping non-ASCII characters."""
    return json.dumps({"provider": provider, "key": key}, ensure_ascii=False)
