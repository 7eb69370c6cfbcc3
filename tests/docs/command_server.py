"""Runs `supa-llm` for the guides' commands in forked processes, since importing it anew each time is slow.

`python command_server.py SOCKET` serves; the program that :func:`client` writes runs one command.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import traceback
from pathlib import Path

_CLIENT = """\
#!{python} -SE
import json, os, socket, sys
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
command = json.dumps([sys.argv, os.getcwd(), dict(os.environ)]).encode()
socket.send_fds(server, [len(command).to_bytes(4, "big")], [0, 1, 2])
server.sendall(command)
sys.exit(int(server.recv(8) or 255))
"""


def client(address: Path) -> str:
    """The program that runs its arguments in the server."""
    return _CLIENT.format(python=sys.executable, address=str(address))


def serve(address: str) -> None:
    """Answer clients until the process is terminated."""
    from supa_llm_cli.main import main

    import supa_llm.client
    import supa_llm.local

    supa_llm.Admin  # noqa: B018 - imports it
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            connection.sendall(str(_run(connection, main)).encode())
            os._exit(0)
        connection.close()


def _run(connection: socket.socket, main: object) -> int:
    size, descriptors, _, _ = socket.recv_fds(connection, 4, 3)
    command = b""
    while len(command) < int.from_bytes(size, "big"):
        command += connection.recv(65_536)
    arguments, folder, environment = json.loads(command)
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["supa-llm", *arguments[1:]]
    try:
        assert callable(main)
        main()
        return 0
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


if __name__ == "__main__":
    serve(sys.argv[1])
