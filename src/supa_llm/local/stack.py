"""Starts, repairs and stops the whole stack."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from supa_llm.errors import LocalError
from supa_llm.local import ports, postgres, stack_keys, state
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
    """Ignore progress."""


class LocalStack:
    """A Supabase project on this machine.

    Args:
        directory: directory of the stack's state. Created if missing, readable by its owner only.
        project: folder that contains `supabase/`. Default: the current directory if it contains
            `supabase/migrations`, else the SQL that supa-llm ships.
        port: port of the API. PostgreSQL uses the next port, PostgREST `port + 7`. 0 picks free ports, and
            reuses them at the next start if they are still free. Default: the ports of the last start, else
            54321.
        default_privileges: default grants to the API roles on new objects in `public`. `old` grants
            everything, as in most projects; `new` grants nothing that the API can use, as in projects created
            since 2026. Fixed until the next `reset`. Default: those of the last start, else `old`.
        throwaway: do not wait for the disk. Faster, but a power cut may destroy the data. For tests.
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
        """Start stopped services and push pending migrations. The first start also installs the services.

        Calls `progress` with a line of text at each step. A failed start leaves nothing running.

        Raises:
            LocalError: docs/errors.md lists the codes, which start with `local_`.
        """
        self._require_project()
        with self._locked(progress, create=True) as lock:
            return self._up(lock, progress)

    def down(self) -> None:
        """Stop all services, if any run. Keeps the data."""
        if self.directory.is_dir() and (layout := self._layout()):
            with self._locked():
                stop(layout)

    def reset(self, progress: Progress = _silent) -> StackStatus:
        """Recreate the database with all migrations and the seed. Keeps keys and ports.

        Raises:
            LocalError: as `up`.
        """
        self._require_project()
        with self._locked(progress, create=True) as lock:
            return self._up(lock, progress, recreate=True)

    def destroy(self) -> None:
        """Stop the stack and delete its data, secrets and logs."""
        if not self.directory.is_dir():
            return
        with self._locked():
            if layout := self._layout():
                stop(layout)
                remove_tree(layout.run)
            remove_tree(self.directory)

    def status(self) -> StackStatus:
        """Return which services run."""
        settings = self._settings()
        if settings is None:
            return StackStatus(())
        return state.status(layout_for(self.directory, settings.id), settings)

    def env(self) -> dict[str, str]:
        """Return URLs, keys (named as by `supabase status -o env`) and the runtime's secret.

        Raises:
            LocalError: `local_not_started` if no stack exists, or `local_state_broken`.
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
            "SUPA_LLM_RUNTIME_SECRET": secrets.runtime_secret,
        }

    @property
    def rest_direct_url(self) -> str:
        """URL of PostgREST without the gateway, which takes tokens instead of API keys. For benchmarks.

        Raises:
            LocalError: as `env`.
        """
        return f"http://127.0.0.1:{self._known()[0].rest_port}"

    @property
    def superuser_url(self) -> str:
        """URL of the database as the superuser `supabase_admin`. For tests.

        Raises:
            LocalError: as `env`.
        """
        settings, secrets = self._known()
        return postgres.superuser_url(settings.db_port, secrets)

    def sign_token(self, claims: dict[str, Any], algorithm: str = "HS256") -> str:
        """Sign a user's token with any claims, with `HS256` or `ES256`. For tests.

        Raises:
            LocalError: as `env`.
        """
        return self._known()[1].sign(claims, algorithm)

    def log_files(self) -> dict[str, Path]:
        """Return the path of each service's log.

        Raises:
            LocalError: `local_not_started` if no stack exists, or `local_state_broken`.
        """
        layout = layout_for(self.directory, self._started().id)
        return {name: layout.log(name) for name in SERVICES}

    def _require_project(self) -> None:
        """Check the project before any file or service changes."""
        folder = self.project / "supabase"
        if not folder.is_dir():
            raise LocalError(
                f"Folder not found: {folder}.",
                code="local_project_missing",
                hint="Pass the folder that contains supabase/ with --project.",
            )

    def _up(self, lock: int, progress: Progress, *, recreate: bool = False) -> StackStatus:
        require("psycopg")
        settings = self._settle(recreate=recreate)
        layout = layout_for(self.directory, settings.id)
        runtime = install(cache_directory(layout.user), progress)
        secrets = stack_keys.load_or_create(layout.secrets)
        before = self.status().running and not recreate
        try:
            if recreate:
                progress("Deleting the database …")
                stop(layout)
                remove_tree(layout.data)
            Start(layout, runtime, settings, secrets, self.project, lock, progress).run()
        except BaseException:
            # A failed migration does not stop a running stack.
            if not before:
                stop(layout)
            raise
        return self.status()

    def _settle(self, *, recreate: bool) -> Settings:
        """The settings of this start: the stored ones, changed by the caller's arguments."""
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
            if not recreate:
                raise LocalError(
                    f"The database has the {known.default_privileges} default privileges.",
                    code="local_privileges_fixed",
                    hint=f"Recreate it: supa-llm local reset --default-privileges {privileges}",
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
                f"The stack is already running on port {known.api_port}.",
                code="local_already_running",
                hint="To change its port, stop it first: supa-llm local down",
            )
        api, db, rest_port = _ports(self._port or 0)
        return self._save(replace(known, api_port=api, db_port=db, rest_port=rest_port))

    def _can_have_ports(self, settings: Settings) -> bool:
        """Return whether a stopped stack can start on its ports."""
        # The stack's own services may use the ports, if their pid files are missing.
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
                f"No local stack in {self.directory}.",
                code="local_not_started",
                hint="Start one: supa-llm local up",
            )
        return settings

    def _known(self) -> tuple[Settings, stack_keys.StackKeys]:
        return self._started(), stack_keys.load(self.directory / "secrets.json")

    @contextlib.contextmanager
    def _locked(self, progress: Progress = _silent, *, create: bool = False) -> Iterator[int]:
        if create:
            self._require_own()
            private_directory(self.directory)
        # The lock is the first file: it marks the directory as a stack's.
        with locked(self.directory / "lock", seconds=_LOCK_SECONDS, progress=progress) as lock:
            if create:
                for name in ("pids", "logs"):
                    private_directory(self.directory / name)
                # Keeps `git add .` from committing the secrets.
                write_private(self.directory / ".gitignore", "*\n")
            yield lock

    def _require_own(self) -> None:
        """Raise if the directory has other files: git would ignore them, and destroy() would delete them."""
        if not self.directory.is_dir() or (self.directory / "lock").exists():
            return
        if any(self.directory.iterdir()):
            raise LocalError(
                f"The directory {self.directory} has files that are not a stack's.",
                code="local_directory_taken",
                hint="Choose an empty or a new one. The folder of your Supabase project is --project.",
            )


def _ports(port: int) -> tuple[int, int, int]:
    if port == 0:
        api, db, rest_port = ports.pick_free(3)
        return api, db, rest_port
    return port, port + 1, port + 7
