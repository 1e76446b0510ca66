"""The workers of a Dask cluster that may measure: one a host, and all hosts alike."""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from distributed import Client, Future

from runner.errors import EnvironmentUnfit, UsageError
from runner.results.schema import HostRecord
from runner.spread import task
from runner.spread.order import Description, Order, differences

#: Building the environments of an app for the first time takes minutes at most.
DESCRIBE = 900.0
#: How a worker is started, where a message has to say so.
START = "dask worker {scheduler} --nthreads 1 --resources connbench=1"


class Hosts:
    """`fit` has each worker that may measure, by address, with what it says of itself."""

    def __init__(self, client: Client, address: str, order: Order) -> None:
        """`order` is any of the run: it says what a host has to have."""
        self._client = client
        self._address = address
        self._order = order
        self._asked: dict[str, Future[bytes]] = {}
        self._known: dict[str, Description] = {}
        #: What the others are held against: the first host that answered, or the one that began a resumed run.
        self.norm: Description | None = None

    @property
    def fit(self) -> Mapping[str, Description]:
        """Those of them that are there now."""
        present = self._present()
        return {address: found for address, found in self._known.items() if address in present}

    @property
    def ever(self) -> list[HostRecord]:
        """Every host that took part, whether it is there still or not."""
        return [found.host for found in self._known.values()]

    def gather(self) -> None:
        """Asks all that are there now; UsageError where one is unlike the others, or there is none."""
        present = self._present()
        if not present:
            start = START.format(scheduler=self._address)
            raise UsageError(f"--scheduler {self._address}: no worker of it offers connbench; on each host: {start}")
        self._ask(present)
        for address in present:
            try:
                found = Description.model_validate_json(self._asked[address].result(timeout=DESCRIBE))
            except task.BlockFailed as error:
                raise EnvironmentUnfit(f"the host of {address} cannot run it: {error}") from error
            except TimeoutError:
                raise EnvironmentUnfit(f"the host of {address} did not describe itself in {DESCRIBE:.0f} s") from None
            if why := self._unfit(found):
                raise UsageError(f"--scheduler {self._address}: {address} cannot take part: {why}")
            self._admit(address, found)

    def welcome(self) -> list[str]:
        """Asks whoever has come since, and admits who has answered and is like the others; says of each what became."""
        said = []
        present = self._present()
        self._ask([address for address in present if address not in self._asked])
        for address, future in self._asked.items():
            if address in self._known or not future.done():
                continue
            with contextlib.suppress(KeyError):
                if future.status != "finished":
                    continue
            found = Description.model_validate_json(future.result())
            why = self._unfit(found)
            if not why:
                self._admit(address, found)
            said.append(f"{address} cannot take part: {why}" if why else f"{address} takes part")
        return said

    def _present(self) -> Sequence[str]:
        workers: Mapping[str, Any] = self._client.scheduler_info()["workers"]
        return [address for address, told in workers.items() if task.RESOURCE in (told.get("resources") or {})]

    def _ask(self, addresses: Sequence[str]) -> None:
        text = self._order.model_dump_json()
        for address in addresses:
            self._asked[address] = self._client.submit(
                task.describe,
                text,
                key=f"connbench-describe-{address}",
                workers=[address],
                allow_other_workers=False,
                resources={task.RESOURCE: 1},
                pure=False,
            )

    def _unfit(self, found: Description) -> str:
        if self.norm is None:
            return ""
        if different := differences(self.norm, found):
            return f"its host is another than the first one's in {', '.join(different)}"
        for address, other in self.fit.items():
            if other.host.fingerprint == found.host.fingerprint:
                return (
                    f"it is on the same host as {address}, and two would measure each other; where they are two hosts "
                    "with one machine id, give each its own name in CONNBENCH_HOST"
                )
        return ""

    def _admit(self, address: str, found: Description) -> None:
        self.norm = self.norm or found
        self._known[address] = found
