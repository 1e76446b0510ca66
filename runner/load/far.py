"""The runner's end of one driver on another host: told and heard as one beside the runner is."""

import contextlib
import hashlib
import json
from pathlib import Path
from typing import Any

from runner import waiting
from runner.errors import LoadHostLost, StackError
from runner.load.channel import Channel, Lost
from runner.load.clocks import ClockReading, read_clock
from runner.results.schema import LoadHostRecord
from runner.stacks.app import ROOT

#: In a driver's answer these are moments of its own clock.
MOMENTS = ("begun", "start", "end", "stopped")


class FarDriver:
    """A driver that a load host has started, and a record here of all that it has sent of its own.

    The host sends what its record has gained ahead of each answer, so that a host that is lost takes one stretch with
    it at most. Moments are put from the one clock to the other by what was measured when the driver was ready; measured
    again at the end, it says how wrong that can be.
    """

    def __init__(self, host: str, channel: Channel, name: str, record: Path) -> None:
        self.host = host
        self.name = name
        self.record = record
        self._channel = channel
        self._address = channel.peer
        self._clock: ClockReading | None = None
        self._idle = False
        self._requests = 0
        record.write_bytes(b"")

    @property
    def round_trip(self) -> float:
        return self._known_clock.round_trip

    @property
    def told(self) -> LoadHostRecord | None:
        """What an attempt's record says of it; None where its clock was never read."""
        if self._clock is None:
            return None
        return LoadHostRecord(
            host=self.host,
            address=self._address,
            workers=1,
            requests=self._requests,
            clock_offset_ms=self._clock.offset * 1000,
            clock_error_ms=self._clock.error * 1000,
            round_trip_ms=self._clock.round_trip * 1000,
        )

    def configure(self, locustfile: Path, profile: dict[str, Any]) -> None:
        """The host has the file too: at the same place of its checkout, or at the same path where it is outside."""
        within = locustfile.relative_to(ROOT) if locustfile.is_relative_to(ROOT) else locustfile
        try:
            digest = hashlib.sha256(locustfile.read_bytes()).hexdigest()
        except OSError as error:
            raise StackError(f"the traffic profile cannot be read: {error}") from None
        self.tell({**profile, "locustfile": str(within), "locustfile_digest": digest})

    def ready(self, limit: float) -> None:
        self.hear(limit)
        self._clock = self._read_clock()
        self._idle = True

    def tell(self, message: dict[str, Any]) -> None:
        """One line to the driver. LoadHostLost if it is gone."""
        if message.get("at"):
            message = {**message, "at": self._known_clock.to_other(message["at"])}
        self._idle = False
        try:
            self._channel.tell(message)
        except Lost as error:
            raise self._lost(error) from None

    def hear(self, limit: float) -> dict[str, Any]:
        """Its next answer. LoadHostLost if it is silent or gone."""
        try:
            reply = self._channel.hear(limit)
            while "bytes" in reply:
                self._keep(reply, self._channel.take(reply["bytes"], limit))
                reply = self._channel.hear(limit)
        except Lost as error:
            raise self._lost(error) from None
        if "failed" in reply:
            raise (LoadHostLost if reply["lost"] else StackError)(reply["failed"])
        if "stopped" in reply:
            self._requests += reply["requests"]
            self._idle = True
            reply |= {moment: self._known_clock.to_ours(reply[moment]) for moment in MOMENTS}
        return reply

    def hang_up(self) -> None:
        """Reads the clock again if the driver is idle; closes the connection: the host ends the driver then."""
        if self._clock is not None and self._idle:
            with contextlib.suppress(LoadHostLost):
                self._clock = self._clock.confirmed_by(self._read_clock())
        self._channel.close()

    def end(self) -> None:
        """The host sees to it."""

    @property
    def _known_clock(self) -> ClockReading:
        assert self._clock is not None, "ready() comes first"
        return self._clock

    def _read_clock(self) -> ClockReading:
        def ask() -> float:
            self._channel.tell({"clock": True})
            return float(self._channel.hear(waiting.LOAD_REPLY)["clock"])

        try:
            return read_clock(ask)
        except Lost as error:
            raise self._lost(error) from None

    def _keep(self, message: dict[str, Any], payload: bytes) -> None:
        if message["of"] == "record":
            with self.record.open("ab") as file:
                file.write(payload)
            return
        names = {**json.loads(payload), "clock_offset": self._known_clock.offset}
        self.record.with_suffix(".json").write_text(json.dumps(names))

    def _lost(self, error: Lost) -> LoadHostLost:
        return LoadHostLost(f"the {self.name} was lost: the connection to {self._address or self.host} {error}")


def together(told: list[LoadHostRecord]) -> list[LoadHostRecord]:
    """Of each host once: all that its workers drove, and the clock of the one that knew it least."""
    hosts: dict[str, LoadHostRecord] = {}
    for one in sorted(told, key=lambda record: -record.clock_error_ms):
        first = hosts.setdefault(one.host, one)
        if first is not one:
            both = {"workers": first.workers + 1, "requests": first.requests + one.requests}
            hosts[one.host] = first.model_copy(update=both)
    return [hosts[name] for name in sorted(hosts)]
