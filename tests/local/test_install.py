"""The first installation: without a network, interrupted, and concurrent. It downloads the packages."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from supa_llm.errors import LocalError
from supa_llm.local.install import Runtime, install
from tests.local.support import environment


def test_a_first_install_without_a_network_fails_with_a_hint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:1/")
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "npm"))
    cache = tmp_path / "cache"
    started = time.monotonic()
    with pytest.raises(LocalError) as caught:
        install(cache, lambda _: None)
    assert time.monotonic() - started < 30
    assert caught.value.code == "local_install_offline"
    assert "cannot reach its registry" in str(caught.value)
    assert "internet" in caught.value.hint
    assert [path.suffix for path in cache.iterdir()] == [".lock"], "nothing is left half-done"


def test_a_killed_install_is_repeated_and_concurrent_installs_run_once(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    script = (
        "from pathlib import Path; from supa_llm.local.install import install; "
        f"install(Path({str(cache)!r}), print)"
    )
    with subprocess.Popen(
        [sys.executable, "-u", "-c", script], stdout=subprocess.PIPE, text=True, env=environment()
    ) as installing:
        assert installing.stdout is not None
        assert "Installing" in installing.stdout.readline()
        time.sleep(1)
        installing.kill()
    [half] = cache.glob("*.installing")
    # The leftovers of an earlier installation in the final directory, without its marker.
    unmarked = cache / half.stem / "node_modules"
    unmarked.mkdir(parents=True)

    steps: list[str] = []
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: install(cache, steps.append), range(2))

    assert first == second == Runtime(cache / half.stem)
    assert first.complete()
    assert len([step for step in steps if step.startswith("Installing PostgreSQL")]) == 1
    assert any(step.startswith("Waiting") for step in steps)
    assert not half.exists()
    assert (first.postgres / "lib" / "libpq.so.5").is_symlink()

    # Deleting a part of the cache makes it incomplete, so the next start installs again.
    first.postgrest.unlink()
    assert not first.complete()


def test_an_unwritable_cache_is_reported(tmp_path: Path) -> None:
    cache = tmp_path / "file" / "cache"
    cache.parent.touch()
    with pytest.raises(LocalError) as caught:
        install(cache, lambda _: None)
    assert caught.value.code == "local_directory_unwritable"
    assert "XDG_CACHE_HOME" in caught.value.hint


def test_everyone_can_run_the_installed_programs_and_only_their_owner_can_change_them(tmp_path: Path) -> None:
    from supa_llm.local.install import cache_directory
    from supa_llm.local.layout import layout_for

    runtime = install(cache_directory(layout_for(tmp_path, "none").user), lambda _: None)
    for program in (runtime.node, runtime.postgres / "bin" / "postgres", runtime.postgrest, runtime.supabase):
        mode = program.stat().st_mode & 0o777
        assert mode == 0o755, (program, oct(mode))
        assert program.stat().st_uid == os.getuid()
