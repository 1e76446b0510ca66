"""The load hosts of one run: they join at a listener, by hand or started by ssh, and start drivers for whoever asks."""

import contextlib
import os
import queue
import secrets
import shlex
import socket
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

from runner import waiting
from runner.errors import EnvironmentUnfit, LoadHostLost
from runner.load.channel import Channel, Lost, Refused, receive, welcome
from runner.load.entries import HostEntry, parse_host
from runner.load.far import FarDriver
from runner.load.worker import TOKEN_VARIABLE, own_code
from runner.provision.service import Address, Command, OwnService, Provider
from runner.stacks.app import ROOT

LOOK_EVERY = 0.2


class LoadHosts:
    """Listens from the beginning until `close`; `token`, which a host has to know, is this run's alone."""

    def __init__(
        self, hosts: Sequence[str], reach: str, provider: Provider, logs: Path, say: Callable[[str], object]
    ) -> None:
        """`hosts` as the matrix names them; `reach` is the address of this machine at which they find it."""
        self._entries = {entry.name: entry for entry in map(parse_host, hosts)}
        self._provider = provider
        self._logs = logs
        self._say = say
        self._token = secrets.token_urlsafe(24)
        self._code = own_code()
        self._changed = threading.Condition()
        self._joined: dict[str, Channel] = {}
        self._expected: dict[str, queue.SimpleQueue[Channel]] = {}
        self._called: dict[str, OwnService] = {}
        self._closing = False
        try:
            self._listener = socket.create_server((reach, 0))
        except OSError as error:
            raise EnvironmentUnfit(f"load.reach: {reach} is no address of this machine to listen at: {error}") from None
        self.address = Address(*self._listener.getsockname())
        self._thread = threading.Thread(target=self._accept, name="load-hosts", daemon=True)
        self._thread.start()

    @property
    def all_there(self) -> bool:
        """Whether each of them takes part at this moment."""
        return len(self._joined) == len(self._entries)

    def invite(self) -> None:
        """Says how each host is joined, or has ssh do it."""
        for entry in self._entries.values():
            if entry.ssh is None:
                self._say(self._told_by_hand(entry))
            else:
                self._call(entry)

    def wait(self) -> None:
        """Returns when all take part. EnvironmentUnfit if one cannot, or does not come."""
        deadline = monotonic() + waiting.LOAD_HOSTS_JOIN
        with self._changed:
            while missing := [entry for name, entry in self._entries.items() if name not in self._joined]:
                for entry in missing:
                    if why := self._uncalled(entry):
                        raise EnvironmentUnfit(why)
                if monotonic() > deadline:
                    names = ", ".join(entry.name for entry in missing)
                    raise EnvironmentUnfit(f"load hosts did not join in {waiting.LOAD_HOSTS_JOIN:.0f} s: {names}")
                self._changed.wait(LOOK_EVERY)

    def regain(self, go_on: Callable[[], None]) -> None:
        """Waits for those that were lost, a while: ssh starts its own once more. `go_on` raises to call that off."""
        lost = [entry for name, entry in self._entries.items() if name not in self._joined]
        for entry in lost:
            if entry.ssh is not None:
                self._call(entry)

        def settled() -> bool | None:
            go_on()
            return True if all(entry.name in self._joined or self._uncalled(entry) for entry in lost) else None

        waiting.wait_for(settled, waiting.LOAD_HOST_REJOIN, LOOK_EVERY)

    def driver(self, number: int, name: str, record: Path) -> FarDriver:
        """A driver; from one number to the next on one host after the other. LoadHostLost if its host is gone."""
        entry = list(self._entries.values())[number % len(self._entries)]
        title = f"{name} on {entry.name}"
        identifier = secrets.token_hex(8)
        arrived = self._expected[identifier] = queue.SimpleQueue()
        try:
            self._order(entry, {"driver": identifier, "name": title})

            def arrival() -> Channel | None:
                with contextlib.suppress(queue.Empty):
                    return arrived.get_nowait()
                if entry.name not in self._joined:
                    raise LoadHostLost(f"the {title} was lost before it could begin")
                return None

            channel = waiting.wait_for(arrival, waiting.LOAD_START)
        finally:
            del self._expected[identifier]
        if channel is None:
            raise LoadHostLost(f"the {title} was not there within {waiting.LOAD_START:.0f} s")
        return FarDriver(entry.name, channel, title, record)

    def close(self) -> None:
        """Sends them away and listens no more."""
        with self._changed:
            self._closing = True
            joined = list(self._joined.values())
        # A thread that accepts is woken by this, not by the closing.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for channel in joined:
            with contextlib.suppress(Lost):
                channel.tell({"over": True})
            channel.close()
        self._thread.join()

    def _order(self, entry: HostEntry, message: dict[str, Any]) -> None:
        with self._changed:
            channel = self._joined.get(entry.name)
            if channel is not None:
                with contextlib.suppress(Lost):
                    channel.tell(message)
                    return
        # Not the command: the token has no place among the results.
        how = self._uncalled(entry) or "it can join again with the command that was printed for it"
        raise LoadHostLost(f"load host {entry.name} is gone; {how}")

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            # Each on a thread of its own: a stranger that says nothing holds up nobody.
            threading.Thread(target=self._receive, args=(Channel(connection),), daemon=True).start()

    def _receive(self, channel: Channel) -> None:
        try:
            hello = receive(channel, self._token, waiting.LOAD_HOST_GREETING)
            if "driver" in hello:
                self._seat(channel, hello)
            else:
                self._keep(channel, hello)
        except (Refused, Lost) as error:
            if isinstance(error, Refused):
                self._say(f"{channel.peer} wanted to drive load and was refused: {error}")
                with contextlib.suppress(Lost):
                    channel.tell({"refused": str(error)})
            channel.close()

    def _seat(self, channel: Channel, hello: dict[str, Any]) -> None:
        expected = self._expected.get(hello["driver"])
        if expected is None:
            raise Refused("nobody waits for this driver any more")
        welcome(channel, self._token, hello)
        expected.put(channel)

    def _keep(self, channel: Channel, hello: dict[str, Any]) -> None:
        """Has the host take part, until its connection ends."""
        name = str(hello.get("host"))
        with self._changed:
            if why := self._unfit(name, hello):
                raise Refused(why)
            welcome(channel, self._token, hello)
            self._joined[name] = channel
            self._changed.notify_all()
        self._say(f"load host {name} takes part, from {channel.peer}")
        try:
            channel.hear(None)
        except Lost as error:
            with self._changed:
                del self._joined[name]
            if not self._closing:
                entry = self._entries[name]
                how = "" if entry.ssh else f"; {self._told_by_hand(entry)}"
                self._say(f"load host {name} was lost: the connection {error}{how}")
        channel.close()

    def _unfit(self, name: str, hello: dict[str, Any]) -> str:
        if name not in self._entries:
            return f"the matrix has no load host {name}, but {', '.join(self._entries)}"
        if name in self._joined:
            return f"load host {name} takes part already, from {self._joined[name].peer}"
        theirs = hello.get("code")
        code: dict[str, Any] = theirs if isinstance(theirs, dict) else {}
        different = [
            f"{what} ({mine} here and {code.get(what, 'none')} there)"
            for what, mine in self._code.items()
            if code.get(what) != mine
        ]
        return f"load host {name} is unlike the runner in {', '.join(different)}" if different else ""

    def _command(self, entry: HostEntry) -> list[str]:
        return [".venv/bin/connbench", "load-worker", f"tcp://{self.address}", "--name", entry.name]

    def _told_by_hand(self, entry: HostEntry) -> str:
        command = f"{TOKEN_VARIABLE}={self._token} {shlex.join(self._command(entry))}"
        return f"on load host {entry.name}, in connbench's folder: {command}"

    def _call(self, entry: HostEntry) -> None:
        """Over ssh, which hands the token on from its input: a command line is there for everybody to read."""
        assert entry.ssh is not None, "what is joined by hand is not called"
        folder = self._provider.private_folder(f"ssh-{entry.name}-{secrets.token_hex(4)}")
        token = folder / "token"
        token.write_text(f"{self._token}\n")
        steps = [
            f"cd {shlex.quote(entry.ssh.path or str(ROOT))}",
            f"IFS= read -r {TOKEN_VARIABLE}",
            f"export {TOKEN_VARIABLE}",
            f"exec {shlex.join(self._command(entry))}",
        ]
        there = f"exec sh -c {shlex.quote(' && '.join(steps))}"
        ssh = entry.ssh.command(there)
        env = {name: os.environ[name] for name in ("SSH_AUTH_SOCK",) if name in os.environ}
        command = Command(["sh", "-c", 'exec "$@" <"$0"', str(token), *ssh], env)
        self._called[entry.name] = self._provider.start_own(
            f"ssh to {entry.name}", command, self._logs / f"ssh-{entry.name}.log", []
        )

    def _uncalled(self, entry: HostEntry) -> str:
        """Why ssh did not bring the host here; empty while it may."""
        ssh = self._called.get(entry.name)
        if ssh is None or ssh.alive():
            return ""
        return f"load host {entry.name}: ssh {ssh.ending()}; it said:\n{ssh.log_tail()}"
