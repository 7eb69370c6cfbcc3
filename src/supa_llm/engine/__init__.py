"""Route → attempts → record, over the OpenAI chat format.

``flow`` decides and does no I/O, ``drivers`` does the I/O and decides nothing, ``failures`` says what went
wrong.
"""

from supa_llm.engine.drivers import AsyncEngine, Engine
from supa_llm.engine.effects import (
    Answer,
    AsyncPolicy,
    Books,
    ModelCall,
    Opened,
    Policy,
    Timeouts,
)
from supa_llm.engine.ids import uuid7

__all__ = [
    "Answer",
    "AsyncEngine",
    "AsyncPolicy",
    "Books",
    "Engine",
    "ModelCall",
    "Opened",
    "Policy",
    "Timeouts",
    "uuid7",
]
