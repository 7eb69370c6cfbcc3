"""Runs one request: route → attempts → record, in the OpenAI chat format.

``flow`` decides and does no I/O, ``drivers`` does the I/O and decides nothing, ``failures`` describes what
went wrong.
"""

from supa_llm.engine.drivers import POOL, AsyncEngine, Engine
from supa_llm.engine.effects import (
    Answer,
    AsyncAccount,
    Limits,
    ModelCall,
    Opened,
    Retries,
    SyncAccount,
    Timeouts,
)
from supa_llm.engine.ids import uuid7

__all__ = [
    "POOL",
    "Answer",
    "AsyncAccount",
    "AsyncEngine",
    "Engine",
    "Limits",
    "ModelCall",
    "Opened",
    "Retries",
    "SyncAccount",
    "Timeouts",
    "uuid7",
]
