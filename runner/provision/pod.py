"""Where a run's containers live: one network that they share as the containers of a pod do, and one volume.

To each other the services are on loopback, as they are natively, so that a connection between them has the same life
and the same cost, and one pair of eyes in that network sees them all (`runner.provision.agent`). The runner reaches
them at the pod's address on the engine's bridge; where that is another machine's, through published ports. Where the
parts of a stack are on several hosts, each pod is on its host's own network: no translation of addresses is then
between app and database, and the database sees the app's own ports.
"""

import base64
import contextlib
import json
import random
import secrets
import socket
import sys
import threading
from collections import deque
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

import docker

from runner import waiting
from runner.errors import EnvironmentUnfit, StackError
from runner.provision import agent, engine
from runner.provision.commands import PYTHON
from runner.provision.engine import LABEL, engine_words
from runner.provision.native import PORTS
from runner.provision.seen import from_plain
from runner.provision.service import Address, Belongs, Held

PACKAGE = Path(__file__).resolve().parents[1]
CODE = Path("/connbench")
#: What the agent imports, all of it on the standard library alone.
MODULES = (
    "__init__.py",
    "errors.py",
    *(f"provision/{name}.py" for name in ("__init__", "service", "seen", "wire", "agent")),
)
#: Ports that are published where the bridge is out of reach: enough for a group's stacks and their databases.
PUBLISHED = 64
# Seconds until the bridge is known to be out of reach.
BRIDGE_REPLY = 2.0


class Pod:
    """The network, the volume, and the container that holds both. Everything in it carries the run's label."""

    def __init__(
        self, client: docker.DockerClient, run: str, folder: Path, name: str = "", *, on_host: bool = False
    ) -> None:
        """`folder` is where services see the volume, `name` the engine's; `on_host`: on the host's own network."""
        self.client = client
        self._engine = name
        self._on_host = on_host
        self.run = run
        self.folder = folder
        self.labels = {LABEL: run}
        self._token = secrets.token_hex(16)
        self._image = engine.find_image(client, PYTHON)
        with engine_words("a network and a volume for the run could not be made"):
            if not on_host:
                client.networks.create(run, driver="bridge", labels=self.labels)
            client.volumes.create(run, labels=self.labels)
        self._open()

    def _open(self) -> None:
        """On the bridge where the runner reaches that; else, made again, with published ports."""
        local = sys.platform == "linux" and engine.is_local(self._engine)
        if (local or self._on_host) and self._hold(()):
            return
        if self._on_host or not self._hold(random.sample(PORTS, PUBLISHED)):
            raise EnvironmentUnfit(
                f"the containers of this engine cannot be reached, at {self._host} neither: "
                "ports of that machine must be open to this one"
            )

    def _hold(self, published: Sequence[int]) -> bool:
        """Starts the holder; whether its agent can be reached."""
        self._host = engine.ip_of(self._engine)
        self._agent_port = random.choice(PORTS) if self._on_host else agent.PORT
        interface = "127.0.0.1" if self._host in ("127.0.0.1", "localhost") else "0.0.0.0"
        public = [agent.PORT, *published] if published else []
        with engine_words("the container that holds the run's network could not be started"):
            self.holder = self.client.containers.create(
                self._image.id,
                entrypoint=["python3", "-m", "runner.provision.agent"],
                name=f"{self.run}-network",
                environment={
                    agent.TOKEN: self._token,
                    agent.LISTEN: f"{self._host if self._on_host else ''}:{self._agent_port}",
                    "PYTHONPATH": str(CODE),
                    "PYTHONDONTWRITEBYTECODE": "1",
                },
                network=None if self._on_host else self.run,
                network_mode="host" if self._on_host else None,
                ports={f"{port}/tcp": (interface, port) for port in public},
                volumes={self.run: {"bind": str(self.folder), "mode": "rw"}},
                labels=self.labels,
                init=True,
                # To watch packets, and to read what services have kept to themselves.
                cap_drop=["ALL"],
                cap_add=["NET_RAW", "DAC_OVERRIDE"],
                security_opt=["no-new-privileges"],
            )
            code = {CODE / "runner" / name: (PACKAGE / name).read_bytes() for name in MODULES}
            self.holder.put_archive("/", engine.tar(code))
            self.holder.start()
            self.holder.reload()
        networks = self.holder.attrs["NetworkSettings"]["Networks"]
        self.ip = self._host if self._on_host else str(networks[self.run]["IPAddress"])
        self._published = bool(published)
        self._free = deque(published or random.sample(PORTS, len(PORTS)))
        self.agent_at = (self._host if published else self.ip, self._agent_port)
        limit = waiting.AGENT_START if published or self._on_host else BRIDGE_REPLY
        channel = self._reach(self.agent_at, limit)
        if channel is None:
            self.holder.remove(force=True, v=True)
            return False
        self.eyes = Eyes(channel, self._token)
        return True

    def _reach(self, place: tuple[str, int], limit: float) -> socket.socket | None:
        with engine_words("the agent in the run's network does not start"):
            said = waiting.wait_for(self._first_words, waiting.AGENT_START)
        if said is None or agent.READY not in said:
            raise EnvironmentUnfit(f"the agent in the run's network did not start; it said:\n{said or '(nothing)'}")
        try:
            channel = socket.create_connection(place, timeout=limit)
        except OSError:
            return None
        channel.settimeout(waiting.AGENT_REPLY)
        return channel

    def _first_words(self) -> str | None:
        """What the agent has said once it is ready or has ended."""
        self.holder.reload()
        said: str = self.holder.logs().decode(errors="replace")
        return said if agent.READY in said or self.holder.status == "exited" else None

    @property
    def network(self) -> str:
        """As the engine has it: what containers of the pod are started on."""
        return "host" if self._on_host else f"container:{self.holder.id}"

    def free_address(self) -> Address:
        """A port of the pod, which has its ports to itself."""
        # The one that has rested longest: there are not enough for a whole run.
        self._free.rotate(-1)
        port = self._free[-1]
        return Address(self._host, port, self.ip) if self._published else Address(self.ip, port)


class Eyes:
    """The runner's end of the agent. See `runner.provision.service.Wire`."""

    def __init__(self, channel: socket.socket, token: str) -> None:
        self._channel = channel
        self._lines = channel.makefile("rw", encoding="utf-8")
        self._lock = threading.Lock()
        self._lines.write(token + "\n")

    def ask(self, question: str, **arguments: Any) -> dict[str, Any]:
        """StackError where the agent is gone, or cannot answer."""
        with self._lock:
            try:
                self._lines.write(json.dumps({"ask": question, **arguments}) + "\n")
                self._lines.flush()
                line = self._lines.readline()
            except (OSError, ValueError) as error:
                raise StackError(f"the agent in the run's network is gone ({error})") from error
        if not line:
            raise StackError("the agent in the run's network has ended")
        reply: dict[str, Any] = json.loads(line)
        if "failed" in reply:
            raise StackError(f"the agent in the run's network: {reply['failed']}")
        return reply

    def copy(self, source: Path, target: Path, offset: int) -> int:
        """Appends to `target` what `source` has from `offset` on; returns where it ends now."""
        while data := base64.b64decode(self.ask("read", path=str(source), offset=offset)["data"]):
            with target.open("ab") as file:
                file.write(data)
            offset += len(data)
        return offset

    def room(self, folder: Path) -> int:
        """Bytes that services can still write there."""
        return int(self.ask("room", path=str(folder))["bytes"])

    def network(self) -> str:
        """The same where another agent sees the same packets."""
        return str(self.ask("network")["network"])

    def round_trip(self, other: tuple[str, int]) -> float:
        """Seconds that a packet to the agent at that address, and its answer, take at least."""
        host, port = other
        return float(self.ask("round_trip", host=host, port=port)["seconds"])

    def established(self, port: int) -> frozenset[int]:
        return frozenset(self.ask("established", port=port)["ports"])

    def watch(self, port: int, host: str = "") -> "FarWatch":  # noqa: ARG002  whichever way leads there
        return FarWatch(self, self.ask("watch", port=port)["watch"])

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._lines.close()
        self._channel.close()


class FarWatch:
    """A watch in the pod. See `runner.provision.service.Watch`."""

    def __init__(self, eyes: Eyes, number: int) -> None:
        self._eyes = eyes
        self._number: int | None = number

    def close(self) -> None:
        if self._number is not None:
            number, self._number = self._number, None
            self._seen = from_plain(self._eyes.ask("close", watch=number)["seen"])

    def held(self, first: AbstractSet[int], belongs: Belongs) -> Held:
        return self._seen.held(first, belongs)
