"""The Python blocks of the guide to libraries run, in order, as a reader would run them."""

from __future__ import annotations

import pytest

from tests.docs.blocks import blocks
from tests.support import ROOT
from tests.unit.engine_support import AsyncMemoryUser, MemoryUser

for library in ("instructor", "llama_index.llms.openai_like"):
    pytest.importorskip(library, reason="run by make test-libraries")


def test_its_python_runs(llm: MemoryUser, async_llm: AsyncMemoryUser) -> None:
    guide = ROOT / "docs" / "libraries.md"
    names = {"llm": llm, "async_llm": async_llm}
    for block in blocks(guide):
        if block.language == "python":
            exec(compile("\n" * (block.line - 1) + block.source, guide, "exec"), names)
    assert {it.outcome for it in llm.account.attempts} == {"succeeded"}
    assert [it.outcome for it in async_llm.account.attempts] == ["succeeded"]
