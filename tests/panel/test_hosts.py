"""The guides' pages work as they stand: plain HTML with a client, plain HTML with an address, and React."""

from __future__ import annotations

import json
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from supa_llm.local.extras import node_binary
from tests.support import PASSWORD, ROOT, Stack, User

_PANEL = ROOT / "panel"
_VITE = """
import {{ build }} from "vite";
const out = {{ outDir: "out", emptyOutDir: false, target: "es2022" }};
const common = {{ root: {root}, logLevel: "error", build: out }};
await build({{ ...common, build: {{ ...common.build,
  lib: {{ entry: "supabase-js.js", formats: ["es"], fileName: () => "supabase-js.js" }} }} }});
await build({{ ...common, resolve: {{ alias: {{ "supa-llm-settings": {library} }} }},
  build: {{ ...common.build, rollupOptions: {{ input: {root} + "/react.html" }} }} }});
"""
_SHELL = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Settings</title></head>
<body><div id="root"></div><script type="module" src="./react.tsx"></script></body></html>"""


@dataclass(frozen=True)
class Hosts:
    """A server of the guides' pages."""

    url: str

    def show(self, browser: Browser, page: str) -> Page:
        shown = browser.new_page(locale="en-US")
        shown.goto(f"{self.url}/{page}")
        return shown


def guide(name: str, language: str, stack: Stack) -> list[str]:
    """The code of a guide, for this project."""
    text = (ROOT / "docs" / "panel" / f"{name}.md").read_text()
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    filled = [block.replace("SUPABASE_URL", stack.api_url) for block in blocks]
    return [block.replace("SUPABASE_PUBLISHABLE_KEY", stack.publishable_key) for block in filled]


@pytest.fixture(scope="module")
def hosts(stack: Stack) -> Iterator[Hosts]:
    # Below the panel's packages, so that they are found.
    root = _PANEL / "node_modules" / ".hosts"
    out = root / "out"
    out.mkdir(parents=True, exist_ok=True)
    with_client, with_address = guide("plain", "html", stack)
    (out / "client.html").write_text(with_client)
    (out / "address.html").write_text(with_address)
    (root / "react.html").write_text(_SHELL)
    (root / "react.tsx").write_text(guide("react", "tsx", stack)[0])
    umd = _PANEL / "node_modules" / "@supabase" / "supabase-js" / "dist" / "umd" / "supabase.js"
    (out / "supabase.js").write_bytes(umd.read_bytes())
    (out / "index.html").write_text(_SHELL)
    (root / "supabase-js.js").write_text('export * from "@supabase/supabase-js";\n')
    library = _PANEL / "dist" / "supa-llm-settings.js"
    build = root / "build.mjs"
    build.write_text(_VITE.format(root=json.dumps(str(root)), library=json.dumps(str(library))))
    subprocess.run([node_binary(), build], cwd=_PANEL, check=True)

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(out))

        def translate_path(self, path: str) -> str:
            if path.startswith("/supa-llm/"):
                return str(_PANEL / "dist" / Path(path).name)
            # As a host of a single page does: its own page, whatever is asked for.
            return super().translate_path("/index.html" if path.startswith("/llm/") else path)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Hosts(f"http://127.0.0.1:{server.server_port}")
    server.shutdown()
    server.server_close()


@pytest.fixture
def session(stack: Stack, user: User) -> Callable[[Page], None]:
    """Signs the user in where the page's supabase-js keeps its session, as the app's own sign-in would."""

    def sign_in(page: Page) -> None:
        page.evaluate(
            """async ([url, key, email, password]) => {
                const { createClient } = await import("/supabase-js.js");
                await createClient(url, key).auth.signInWithPassword({ email, password });
            }""",
            [stack.api_url, stack.publishable_key, user.email, PASSWORD],
        )
        page.reload()

    return sign_in


@pytest.mark.parametrize("page", ["client.html", "address.html", "react.html"])
def test_a_guides_page_works(
    hosts: Hosts, browser: Browser, session: Callable[[Page], None], page: str
) -> None:
    shown = hosts.show(browser, page)
    errors: list[str] = []
    shown.on("pageerror", lambda error: errors.append(str(error)))
    expect(shown.get_by_text("Sign in to see your LLM settings.")).to_be_visible()
    session(shown)
    expect(shown.get_by_role("tab", name="Providers")).to_be_visible()
    # There is no server behind runtime="/llm" here, and the panel does without.
    shown.get_by_role("button", name="Add key for Groq").click()
    expect(shown.get_by_label("Your Groq key")).to_be_focused()
    shown.keyboard.press("Escape")
    for tab, first in (
        ("Order", "Provider order"), ("Tasks", "Tasks"), ("Team", "No team yet"),
        ("Usage", "No usage in this period"), ("Activity", "No activity yet"),
    ):  # fmt: skip
        shown.get_by_role("tab", name=tab).click()
        expect(shown.get_by_role("tabpanel")).to_contain_text(first)
    assert errors == []
    shown.close()


def test_what_a_page_loads_is_small() -> None:
    """60 KB gzipped without charts, and without the client that an app has of its own."""
    import gzip

    dist = _PANEL / "dist"
    waiting = ["supa-llm-settings.js", *(path.name for path in dist.glob("sortable*.js"))]
    needed: set[str] = set()
    while waiting:
        needed.add(name := waiting.pop())
        statically = re.findall(r'(?:from|import)\s*"\./([^"]+)"', (dist / name).read_text())
        waiting += set(statically) - needed
    assert len(needed) > 2
    assert sum(len(gzip.compress((dist / name).read_bytes())) for name in needed) <= 60 * 1024
