"""A reader's terminal: one bash for all commands, so that variables and the folder carry over."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import termios
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx

from tests.support import wait_until

_SECONDS = 120


class Shell:
    """A terminal in `folder`."""

    def __init__(self, folder: Path, environment: Mapping[str, str], scratch: Path) -> None:
        self._folder = folder
        self._environment = environment
        self._scratch = scratch
        self._count = 0
        self._open = ExitStack()
        # Commands ask only at a terminal. Nobody reads what it shows, so it does not echo.
        self._keyboard, self._terminal = os.openpty()
        modes = termios.tcgetattr(self._terminal)
        modes[3] &= ~termios.ECHO
        termios.tcsetattr(self._terminal, termios.TCSANOW, modes)
        self._process = subprocess.Popen(
            ["bash", "--norc", "--noprofile"],
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, command: str) -> tuple[int, str]:
        """Run a command, and answer its questions with "y". Return its exit code and its output."""
        self._count += 1
        script, output = (self._scratch / f"{self._count}.{suffix}" for suffix in ("sh", "out"))
        script.write_text(command + "\n")
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        termios.tcflush(self._terminal, termios.TCIFLUSH)
        os.write(self._keyboard, b"y\ny\n")
        # `source` keeps what the command exports, and where it goes to.
        terminal = os.ttyname(self._terminal)
        self._process.stdin.write(f"source {script} > {output} 2>&1 < {terminal}; echo $?\n")
        self._process.stdin.flush()
        responded, _, _ = select.select([self._process.stdout], [], [], _SECONDS)
        assert responded, f"Not finished within {_SECONDS} s: {command}\n{output.read_text()}"
        status = self._process.stdout.readline()
        text = output.read_text()
        assert status, f"The shell ended: {command}\n{text}"
        return int(status), text

    def variables(self) -> dict[str, str]:
        """The project's variables that the reader has exported."""
        _, output = self.run("env")
        named = (line.partition("=") for line in output.splitlines())
        return {name: value for name, _, value in named if name.startswith("SUPA")}

    def start(self, command: str, url: str) -> None:
        """Run a server in a second terminal with the same folder and variables. Wait until it responds."""
        _, variables = self.run("declare -px; pwd")
        script = self._scratch / f"server-{self._count}.sh"
        *exports, folder = variables.rstrip().splitlines()
        script.write_text("\n".join([*exports, f"cd {folder}", command, ""]))
        log = self._open.enter_context((self._scratch / f"server-{self._count}.log").open("w+"))
        server = subprocess.Popen(
            ["bash", "-e", script], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
        self._open.callback(_end, server)

        def responds() -> bool:
            log.seek(0)
            assert server.poll() is None, f"{command} ended:\n{log.read()}"
            try:
                httpx.get(url, timeout=2)
            except httpx.TransportError:
                return False
            return True

        wait_until(responds, seconds=60)

    def close(self) -> None:
        self._open.close()
        _end(self._process)
        os.close(self._keyboard)
        os.close(self._terminal)


def _end(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.wait(10)
            break
        except subprocess.TimeoutExpired:
            continue
    if process.stdin is not None:
        process.stdin.close()
    if process.stdout is not None:
        process.stdout.close()


@contextmanager
def terminal(folder: Path, environment: Mapping[str, str], scratch: Path) -> Iterator[Shell]:
    shell = Shell(folder, environment, scratch)
    try:
        yield shell
    finally:
        shell.close()
