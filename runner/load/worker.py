"""A load host's end: `connbench load-worker` joins a run and starts drivers for it, until the run is over.

A connection of its own to the runner carries each driver's lines; between the two the record is read and sent along.
When the connection ends, so does the driver; when this process dies without a word, its provider's guard ends them.
"""

import contextlib
import hashlib
import platform
import select
import threading
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

from runner import waiting
from runner.errors import ConnbenchError, EnvironmentUnfit, StackError, UsageError
from runner.load.channel import Channel, Lost, Refused, introduce
from runner.load.process import DriverProcess
from runner.provision.native import NativeProvider
from runner.provision.service import Address, Provider
from runner.source import CODE, code_digest
from runner.stacks.app import ROOT

#: Where the token is: a command line is there for everybody to read.
TOKEN_VARIABLE = "CONNBENCH_LOAD_TOKEN"
#: How much of a record is sent at once.
CHUNK = 1 << 20
# What has to be the same on all hosts, beside the code.
PACKAGES = ("locust", "gevent", "geventhttpclient")


class RunLost(ConnbenchError):
    """The connection to the run broke off before the run was over."""


def own_code() -> dict[str, str]:
    """All that bears on the load that this host drives, by what it is called."""
    versions = {name: version(name) for name in PACKAGES}
    return {"connbench's code": code_digest(CODE), "Python": platform.python_version(), **versions}


def join(url: str, name: str, token: str, say: Callable[[str], object]) -> None:
    """Drives what the run at `url` (tcp://HOST:PORT) asks for, until that is over. RunLost if it is gone before.

    EnvironmentUnfit where the run cannot be reached, UsageError where it does not want this host.
    """
    if not token:
        raise UsageError(f"{TOKEN_VARIABLE} is not set: use the command as the run has printed it")
    runner = _address(url)
    try:
        channel = Channel.to(runner.host, runner.port, waiting.LOAD_HOST_GREETING)
        introduce(channel, token, {"host": name, "code": own_code()}, waiting.LOAD_HOST_GREETING)
    except Refused as error:
        raise UsageError(f"tcp://{runner}: {error}") from None
    except Lost as error:
        raise EnvironmentUnfit(f"tcp://{runner}: the connection {error}: is a run waiting there?") from None
    say(f"{name} takes part in the run at {runner}; Ctrl-C leaves it")
    provider = NativeProvider()
    with contextlib.closing(provider), contextlib.closing(channel):
        try:
            while "over" not in (order := channel.hear(None)):
                seat = _Seat(provider, runner, token, order["driver"], order["name"])
                threading.Thread(target=seat.serve, name=seat.name, daemon=True).start()
        except Lost as error:
            raise RunLost(f"tcp://{runner}: the run was lost: the connection {error}") from None
    say("the run is over")


def _address(url: str) -> Address:
    with contextlib.suppress(ValueError):
        parts = urlsplit(url)
        if parts.scheme == "tcp" and parts.hostname and parts.port:
            return Address(parts.hostname, parts.port)
    raise UsageError(f"found {url!r}, allowed: tcp://HOST:PORT, as the run has printed it")


class _Seat:
    """One driver, and its connection to the runner."""

    def __init__(self, provider: Provider, runner: Address, token: str, identifier: str, name: str) -> None:
        self.name = name
        self._runner = runner
        self._token = token
        self._identifier = identifier
        self._folder = provider.private_folder(f"driver-{identifier}")
        self._driver = DriverProcess(provider, name, self._folder / "requests.raw", self._folder / "load.log")
        self._sent = 0

    def serve(self) -> None:
        """Carries lines both ways until either end is gone; then the driver is ended."""
        try:
            channel = Channel.to(self._runner.host, self._runner.port, waiting.LOAD_HOST_GREETING)
            with contextlib.closing(channel):
                introduce(channel, self._token, {"driver": self._identifier}, waiting.LOAD_HOST_GREETING)
                try:
                    self._carry(channel)
                except StackError as error:
                    channel.tell({"failed": str(error), "lost": not self._driver.service.alive()})
        except (Lost, Refused):
            # The runner has gone, or has given this driver up: it is told by the connection's end.
            pass
        finally:
            self._driver.hang_up()
            self._driver.end()
            # The runner has it all, and a long run would fill this host's temporary folder.
            for path in (self._driver.record, self._driver.record.with_suffix(".json")):
                path.unlink(missing_ok=True)

    def _carry(self, channel: Channel) -> None:
        while True:
            # What the channel has read already would not wake it.
            told, answered = (True, False) if channel.has_line else self._either(channel)
            if answered:
                reply = self._driver.hear(waiting.LOAD_REPLY)
                self._send_record(channel)
                channel.tell(reply)
            if told:
                self._obey(channel, channel.hear(waiting.LOAD_REPLY))

    def _either(self, channel: Channel) -> tuple[bool, bool]:
        """Waits for the two; whether the runner has said something, and whether the driver has."""
        ready, _, _ = select.select([channel.fileno(), self._driver.fileno()], [], [])
        return channel.fileno() in ready, self._driver.fileno() in ready

    def _obey(self, channel: Channel, message: dict[str, Any]) -> None:
        if "clock" in message:
            channel.tell({"clock": monotonic()})
            return
        if "locustfile" in message:
            path = _same_file(Path(message["locustfile"]), message.pop("locustfile_digest"))
            message |= {"locustfile": str(path), "record": str(self._driver.record)}
        self._driver.tell(message)

    def _send_record(self, channel: Channel) -> None:
        """What the driver has written since: it writes at the end of a stretch, before it answers."""
        record = self._driver.record
        size = record.stat().st_size if record.exists() else 0
        if size == self._sent:
            return
        with record.open("rb") as file:
            file.seek(self._sent)
            while self._sent < size:
                part = file.read(min(CHUNK, size - self._sent))
                channel.tell({"of": "record", "bytes": len(part)}, part)
                self._sent += len(part)
        names = record.with_suffix(".json").read_bytes()
        channel.tell({"of": "names", "bytes": len(names)}, names)


def _same_file(path: Path, digest: str) -> Path:
    """The traffic profile as the runner has it; StackError where this host's is another, or there is none."""
    found = ROOT / path
    try:
        content = found.read_bytes()
    except OSError as error:
        raise StackError(f"this host cannot read the traffic profile: {error}") from None
    if hashlib.sha256(content).hexdigest() != digest:
        raise StackError(f"this host has another {found} than the runner")
    return found
