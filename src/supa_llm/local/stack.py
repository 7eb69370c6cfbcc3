"""The whole stack: bring it up, repair it, take it down."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from supa_llm.errors import LocalError
from supa_llm.local import keys, ports, postgres, state
from supa_llm.local.extras import require
from supa_llm.local.files import locked, private_directory, remove_tree, write_private
from supa_llm.local.install import Progress, cache_directory, install
from supa_llm.local.layout import SERVICES, Layout, former_layouts, layout_for
from supa_llm.local.project_files import find_project
from supa_llm.local.start import Start, stop
from supa_llm.local.state import Settings, StackStatus

DEFAULT_PORT = 54321
_LOCK_SECONDS = 180


def _silent(_: str) -> None:
    """The progress of a caller who asked for none."""


class LocalStack:
    """A Supabase project on this machine.

    Args:
        directory: where it keeps its state; made if missing, readable by its owner only.
        project: the folder that holds `supabase/`; by default the current directory if it has
            `supabase/migrations`, else the SQL that comes with supa-llm.
        port: the port of its URL; PostgreSQL gets the next one, PostgREST the seventh after it. 0 takes free
            ones, and at the next start the same if they are still free. By default the ones of the last
            start, else 54321.
        default_privileges: what new objects in `public` grant to the API roles: `old` is everything, as in
            most projects; `new` is nothing that the API can use, as in projects made since 2026. Fixed until
            the next `reset`. By default the ones of the last start, else `old`.
        throwaway: do not wait for the disk. Faster; a power cut may destroy the data. For tests.
    """

    def __init__(
        self,
        directory: Path,
        *,
        project: Path | None = None,
        port: int | None = None,
        default_privileges: postgres.DefaultPrivileges | None = None,
        throwaway: bool | None = None,
    ) -> None:
        self.directory = directory.absolute()
        self.project = find_project(Path.cwd()) if project is None else project.absolute()
        self._port = port
        self._default_privileges = default_privileges
        self._throwaway = throwaway

    def up(self, progress: Progress = _silent) -> StackStatus:
        """Start what is not running, after installing it if need be, and push pending migrations.

        `progress` is called with a line of text at each step. A failed start leaves nothing running.

        Raises:
            LocalError: the codes are listed in docs/errors.md under `local_`.
        """
        self._require_project()
        with self._locked(progress, create=True) as lock:
            return self._up(lock, progress)

    def down(self) -> None:
        """Stop all services. The data stays. Stopping a stack that is not running is fine."""
        if self.directory.is_dir() and (layout := self._layout()):
            with self._locked():
                stop(layout)

    def reset(self, progress: Progress = _silent) -> StackStatus:
        """Delete the database and start anew with all migrations and the seed. Keys and ports stay.

        Raises:
            LocalError: as `up`.
        """
        self._require_project()
        with self._locked(progress, create=True) as lock:
            return self._up(lock, progress, anew=True)

    def destroy(self) -> None:
        """Stop the stack and delete all that it kept, its secrets included."""
        if not self.directory.is_dir():
            return
        with self._locked():
            if layout := self._layout():
                stop(layout)
                remove_tree(layout.run)
            remove_tree(self.directory)

    def status(self) -> StackStatus:
        """Which services are running."""
        settings = self._settings()
        if settings is None:
            return StackStatus(())
        return state.status(layout_for(self.directory, settings.id), settings)

    def env(self) -> dict[str, str]:
        """URLs and keys, under the names that `supabase status -o env` prints.

        Raises:
            LocalError: `local_not_started`, when the stack was never up; `local_state_broken`.
        """
        settings, secrets = self._known()
        return {
            "API_URL": f"http://127.0.0.1:{settings.api_port}",
            "DB_URL": f"postgresql://postgres:{secrets.postgres_password}@127.0.0.1:{settings.db_port}/postgres",
            "PUBLISHABLE_KEY": secrets.publishable_key,
            "SECRET_KEY": secrets.secret_key,
            "ANON_KEY": secrets.anon_key,
            "SERVICE_ROLE_KEY": secrets.service_role_key,
            "JWT_SECRET": secrets.jwt_secret,
        }

    @property
    def rest_direct_url(self) -> str:
        """PostgREST itself, without the gateway: it wants tokens, not API keys. For benchmarks.

        Raises:
            LocalError: as `env`.
        """
        return f"http://127.0.0.1:{self._known()[0].rest_port}"

    @property
    def superuser_url(self) -> str:
        """The database as `supabase_admin`, for tests that look behind what `postgres` may see.

        Raises:
            LocalError: as `env`.
        """
        settings, secrets = self._known()
        return postgres.superuser_url(settings.db_port, secrets)

    def sign_token(self, claims: dict[str, Any], algorithm: str = "HS256") -> str:
        """Sign a user's token as the project would, with `HS256` or `ES256`, with any claims. For tests.

        Raises:
            LocalError: as `env`.
        """
        return self._known()[1].sign(claims, algorithm)

    def log_files(self) -> dict[str, Path]:
        """The log of each service.

        Raises:
            LocalError: `local_not_started`, when the stack was never up; `local_state_broken`.
        """
        layout = layout_for(self.directory, self._started().id)
        return {name: layout.log(name) for name in SERVICES}

    def _require_project(self) -> None:
        """Before anything is made, started or deleted for a project that is not there."""
        folder = self.project / "supabase"
        if not folder.is_dir():
            raise LocalError(
                f"There is no folder {folder}.",
                code="local_project_missing",
                hint="Name the folder that holds supabase/, with its migrations: --project.",
            )

    def _up(self, lock: int, progress: Progress, *, anew: bool = False) -> StackStatus:
        require("psycopg")
        settings = self._settle(anew=anew)
        layout = layout_for(self.directory, settings.id)
        runtime = install(cache_directory(layout.user), progress)
        secrets = keys.load_or_create(layout.secrets)
        before = self.status().running and not anew
        try:
            if anew:
                progress("Deleting the database …")
                stop(layout)
                remove_tree(layout.data)
            Start(layout, runtime, settings, secrets, self.project, lock, progress).run()
        except BaseException:
            # What was running before a failed migration goes on running.
            if not before:
                stop(layout)
            raise
        return self.status()

    def _settle(self, *, anew: bool) -> Settings:
        """The settings of this start: the remembered ones, with what the caller asks for instead."""
        known = self._settings()
        privileges = self._default_privileges
        if known is None:
            for former in former_layouts(self.directory):
                stop(former)
            api, db, rest_port = _ports(DEFAULT_PORT if self._port is None else self._port)
            return self._save(
                Settings(
                    id=uuid.uuid4().hex[:12],
                    api_port=api,
                    db_port=db,
                    rest_port=rest_port,
                    default_privileges=privileges or "old",
                    throwaway=bool(self._throwaway),
                )
            )
        if privileges not in (None, known.default_privileges):
            if not anew:
                raise LocalError(
                    f"The database was made with {known.default_privileges} default privileges.",
                    code="local_privileges_fixed",
                    hint=f"Make a new one: supa-llm local reset --default-privileges {privileges}",
                )
            known = replace(known, default_privileges=privileges)
        if self._throwaway is not None:
            known = replace(known, throwaway=self._throwaway)
        if self._port in (None, known.api_port):
            return self._save(known)
        running = any(service.running for service in self.status().services)
        if self._port == 0 and (running or self._can_have_ports(known)):
            return self._save(known)
        if running:
            raise LocalError(
                f"The stack is running at port {known.api_port}.",
                code="local_already_running",
                hint="Run `supa-llm local down` first to move it to another port.",
            )
        api, db, rest_port = _ports(self._port or 0)
        return self._save(replace(known, api_port=api, db_port=db, rest_port=rest_port))

    def _can_have_ports(self, settings: Settings) -> bool:
        """Whether the ports of a stack that does not run are free for it to start at."""
        # What has them may be its own: a service whose pid file was lost.
        stop(layout_for(self.directory, settings.id))
        try:
            for name, port in settings.ports().items():
                ports.require_free(port, name)
        except LocalError:
            return False
        return True

    def _settings(self) -> Settings | None:
        return state.load(self.directory)

    def _save(self, settings: Settings) -> Settings:
        return state.save(self.directory, settings)

    def _layout(self) -> Layout | None:
        settings = self._settings()
        return layout_for(self.directory, settings.id) if settings else None

    def _started(self) -> Settings:
        settings = self._settings()
        if settings is None:
            raise LocalError(
                f"There is no stack in {self.directory}.",
                code="local_not_started",
                hint="Run `supa-llm local up` first.",
            )
        return settings

    def _known(self) -> tuple[Settings, keys.Keys]:
        return self._started(), keys.load(self.directory / "secrets.json")

    @contextlib.contextmanager
    def _locked(self, progress: Progress = _silent, *, create: bool = False) -> Iterator[int]:
        if create:
            for path in (self.directory, self.directory / "pids", self.directory / "logs"):
                private_directory(path)
            # Within a repository, so that the secrets are not committed by `git add .`.
            write_private(self.directory / ".gitignore", "*\n")
        with locked(self.directory / "lock", seconds=_LOCK_SECONDS, progress=progress) as lock:
            yield lock


def _ports(port: int) -> tuple[int, int, int]:
    if port == 0:
        api, db, rest_port = ports.pick_free(3)
        return api, db, rest_port
    return port, port + 1, port + 7
