"""A Docker engine over ssh: a socket file here, from which an ssh of its own leads each connection to the engine.

The engine's end is the same as with Docker's own client (`docker system dial-stdio`). The Python client's two ways are
not taken. One starts an ssh for every question and leaves it to the garbage collector. The other puts them all into one
ssh, in which sshd has room for ten (MaxSessions), and there are as many containers whose end is waited for.
"""

import atexit
import contextlib
import functools
import shutil
import socket
import subprocess
import tempfile
import threading
from pathlib import Path

from runner import waiting
from runner.errors import EnvironmentUnfit
from runner.ssh import parse_engine

DIAL = "docker system dial-stdio"


class Door:
    """Is open as long as this process lives, or until `close`; `folder` goes with it."""

    def __init__(self, address: str) -> None:
        """EnvironmentUnfit where `address` is none for ssh."""
        try:
            target = parse_engine(address)
        except ValueError as error:
            raise EnvironmentUnfit(f"the Docker engine {address}: {error}, allowed: ssh://user@host:port") from None
        self._command = target.command(DIAL)
        # To nobody else: who gets in there is the user on the other machine.
        self.folder = Path(tempfile.mkdtemp(prefix="connbench-ssh-"))
        atexit.register(self.close)
        self._words = self.folder / "words"
        self._led: list[subprocess.Popen[bytes]] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.folder / "engine"))
        self._listener.listen()
        threading.Thread(target=self._admit, name=f"to {address}", daemon=True).start()

    @property
    def url(self) -> str:
        """As the engine's address on this machine."""
        return f"unix://{self.folder}/engine"

    def _admit(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client, self._words.open("wb") as words:
                ends = client.fileno()
                try:
                    # An interrupt is for the runner, which still has to clear up over there.
                    process = subprocess.Popen(
                        self._command, stdin=ends, stdout=ends, stderr=words, start_new_session=True
                    )
                except OSError as error:
                    words.write(str(error).encode())
                else:
                    self._led = [*(one for one in self._led if one.poll() is None), process]

    def words(self) -> str:
        """What the last ssh said, on one line."""
        with contextlib.suppress(OSError):
            return " ".join(self._words.read_text(errors="replace").split())
        return ""

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for process in self._led:
            process.terminate()
        for process in self._led:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(waiting.STOP_TERM)
        shutil.rmtree(self.folder, ignore_errors=True)


@functools.cache
def door_to(address: str) -> Door:
    """One for all who ask the engine."""
    return Door(address)
