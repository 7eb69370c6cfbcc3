"""How the code of the guides is read, and its output compared."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.blocks import Block, Command, commands
from tests.docs.reader import has_columns, is_like


def block(language: str, source: str) -> Block:
    return Block(Path("page.md"), 1, language, None, source, None, "")


def test_a_consoles_commands_have_their_output() -> None:
    source = "$ echo one\none\n$ echo two \\\n    three\ntwo three\n"
    assert commands(block("console", source)) == [
        Command("echo one", "one"),
        Command("echo two \\\n    three", "two three"),
    ]


def test_a_scripts_lines_are_commands() -> None:
    source = "# A comment.\ncat <<EOF > it's\nas it's\nEOF\necho 'one\ntwo'  # isn't more\n"
    assert [it.line for it in commands(block("sh", source))] == [
        "cat <<EOF > it's\nas it's\nEOF",
        "echo 'one\ntwo'  # isn't more",
    ]


@pytest.mark.parametrize(
    ("real", "shown", "same"),
    [
        ("Quota 7: $12.50 per month.", "Quota 1: $5 per month.", True),
        ("Quota 7: $12.50 per month.", "Quota 1: $5 a month.", False),
        ('{"text": "Hello", "provider": "groq"}', '{"text": "…", "provider": "…"}', True),
        ('{"text": "Hello", "model": "groq"}', '{"text": "…", "provider": "…"}', False),
        ("", "Done.", False),
    ],
)
def test_messages_have_the_same_words(real: str, shown: str, same: bool) -> None:
    assert is_like(real, shown) is same


@pytest.mark.parametrize(
    ("real", "same"),
    [
        ("email   id", True),
        ("email   group   id", True),
        ("id   email", False),
        ("email   name   id", False),
        ("", False),
    ],
)
def test_tables_have_columns_of_the_shown_one(real: str, same: bool) -> None:
    assert has_columns(real, "email            group     id") is same
