"""`make site`: the guides as a site that is complete, searchable, and loads nothing from other servers."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.blocks import PAGES
from tests.support import ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", folder],
        cwd=ROOT,
        env={"NO_MKDOCS_2_WARNING": "1", "PATH": ""},
        capture_output=True,
        text=True,
    )
    # Strict: a broken link or anchor, or a page outside the navigation, fails.
    assert done.returncode == 0, done.stderr
    return folder


def test_every_guide_is_a_page_that_can_be_found(site: Path) -> None:
    index = json.loads((site / "search" / "search_index.json").read_text())
    titles = {entry["title"] for entry in index["docs"]}
    for page in PAGES:
        heading = re.search(r"^# (.+)$", page.read_text(), re.MULTILINE)
        assert heading
        assert heading[1].replace("`", "") in titles, page


def test_pages_load_nothing_from_other_servers(site: Path) -> None:
    loaded = re.compile(r'<(?:script|img|iframe|source)[^>]* src="(https?:[^"]+)"')
    styles = re.compile(r'<link[^>]* rel="(?:stylesheet|preload|preconnect|icon)"[^>]* href="(https?:[^"]+)"')
    styles_reversed = re.compile(r'<link[^>]* href="(https?:[^"]+)"[^>]* rel="(?:stylesheet|preload|icon)"')
    pages = list(site.rglob("*.html"))
    assert len(pages) >= len(PAGES)
    for page in pages:
        html = re.sub(r"<pre>.*?</pre>", "", page.read_text(), flags=re.DOTALL)
        found = [*loaded.findall(html), *styles.findall(html), *styles_reversed.findall(html)]
        assert found == [], page


def test_links_to_the_repositorys_files_lead_somewhere(site: Path) -> None:
    assert 'href="supabase/schemas/90_api.sql"' in (site / "database.html").read_text()
    assert (site / "supabase" / "schemas" / "90_api.sql").is_file()
