"""Starts stopped services in order, pushes pending migrations, and registers the stack's runtime."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from pathlib import Path

from supa_llm.errors import LocalError
from supa_llm.local import front, migrate, ports, postgres, processes, rest, runtime, state
from supa_llm.local.config import ProjectConfig, read_config
from supa_llm.local.install import Progress, Runtime
from supa_llm.local.layout import Layout, prepare_run
from supa_llm.local.stack_keys import StackKeys

_ANSWER_SECONDS = 3


@dataclass(frozen=True)
class Start:
    """One start of a stack. `lock` is the descriptor of the lock that it holds."""

    layout: Layout
    runtime: Runtime
    settings: state.Settings
    keys: StackKeys
    project: Path
    lock: int
    progress: Progress

    def run(self) -> None:
        """Start the services that do not run.

        Raises:
            LocalError: a service or migration failed. Services that started before the failure keep running.
        """
        prepare_run(self.layout)
        self.layout.rotate_logs()
        config = read_config(self.project)
        before = state.status(self.layout, self.settings).running
        self._clear()
        found = {
            service.name: service.running for service in state.status(self.layout, self.settings).services
        }
        for name, port in self.settings.ports().items():
            if not found[name]:
                ports.require_free(port, name)
        settings = self.settings
        if not found["postgres"]:
            settings = self._postgres(settings)
        if not found["auth"]:
            self._front(config)
        try:
            self._migrate(settings, config)
            runtime.register(db_port=settings.db_port, keys=self.keys)
        except BaseException:
            if before and processes.read(self.layout.pid_file("rest")) is None:
                with contextlib.suppress(LocalError):
                    self._rest(config)
            raise
        if processes.read(self.layout.pid_file("rest")) is None:
            self._rest(config)

    def _clear(self) -> None:
        """Stop services that do not respond or have no pid file, so that they start again."""
        settings, layout = self.settings, self.layout
        found = processes.read(layout.pid_file("postgres"))
        # A server with an incomplete cluster is the leftover of a killed start.
        whole = found is not None and postgres.complete(layout)
        if not whole or not postgres.answers(settings.db_port, self.keys):
            stop(layout)
            return
        found = processes.read(layout.pid_file("rest"))
        if found is None or not rest.answers(settings.rest_port, seconds=_ANSWER_SECONDS):
            rest.stop(layout)
        found = processes.read(layout.pid_file("auth"))
        if found is None or not front.answers(settings.api_port, seconds=_ANSWER_SECONDS):
            front.stop(layout)

    def _postgres(self, settings: state.Settings) -> state.Settings:
        self.progress("Starting PostgreSQL …")
        port, throwaway = settings.db_port, settings.throwaway
        fresh = postgres.ensure_cluster(
            self.layout, self.runtime, port=port, keys=self.keys, throwaway=throwaway
        )
        postgres.start(self.layout, self.runtime)
        if fresh:
            self.progress("Setting up roles and schemas …")
            settings = state.save(self.layout.directory, replace(settings, seeded=False))
            postgres.bootstrap(self.layout, port=port, keys=self.keys, privileges=settings.default_privileges)
        return settings

    def _front(self, config: ProjectConfig) -> None:
        self.progress("Starting Supabase Auth …")
        front.start(
            self.layout,
            self.runtime,
            keys=self.keys,
            config=config,
            port=self.settings.api_port,
            db_port=self.settings.db_port,
            rest_port=self.settings.rest_port,
        )
        front.wait_ready(self.layout, self.settings.api_port)

    def _migrate(self, settings: state.Settings, config: ProjectConfig) -> None:
        """Push pending migrations. The front must run, because migrations refer to the tables of auth."""
        missing = migrate.pending(self.project, db_port=settings.db_port, keys=self.keys)
        seed = config.seed and not settings.seeded
        if not missing and not seed:
            return
        count = f"{len(missing)} migration{'' if len(missing) == 1 else 's'}"
        self.progress(f"Pushing {count} …" if missing else "Seeding …")
        # PostgREST reads the schema when it starts, so it must not serve the old one.
        rest.stop(self.layout)
        migrate.push(
            self.layout,
            self.runtime,
            self.project,
            db_port=settings.db_port,
            keys=self.keys,
            seed=seed,
            lock=self.lock,
        )
        state.save(self.layout.directory, replace(settings, seeded=True))

    def _rest(self, config: ProjectConfig) -> None:
        self.progress("Starting PostgREST …")
        rest.start(
            self.layout,
            self.runtime,
            keys=self.keys,
            config=config,
            port=self.settings.rest_port,
            db_port=self.settings.db_port,
            api_port=self.settings.api_port,
        )
        rest.wait_ready(self.layout, self.settings.rest_port)


def stop(layout: Layout) -> None:
    """Stop all services, dependent ones first."""
    front.stop(layout)
    rest.stop(layout)
    postgres.stop(layout)
