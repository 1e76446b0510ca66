"""An attempt's pooler beside its database: started with it, looked at, counted and stopped."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runner.errors import StackError
from runner.evidence import Evidence
from runner.provision.service import Address, Provider, Service
from runner.sampling.pooler import PoolerSampler
from runner.stacks.databases.base import Account
from runner.stacks.poolers import Pooler, make_pooler


class PooledSide:
    """What it sees goes into the attempt's evidence. In a cell without a pooler each step does nothing."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._pooler: Pooler | None = None
        self._sampler: PoolerSampler | None = None

    @property
    def address(self) -> Address | None:
        """Where the app connects to; None: to the database itself."""
        return None if self._pooler is None else self._pooler.service.address

    def start(
        self,
        provider: Provider,
        account: Account,
        database: Address,
        log_folder: Path,
        looks_per_second: float,
    ) -> None:
        """Puts it in front of the account's database.

        Fresh for each attempt: a pooler keeps its connections to the database, and its books, while it lives.
        """
        cell = self._evidence.cell
        if cell.pooler is None:
            return
        pooler = make_pooler(cell.pooler)
        pooler.start(provider.at("pooler"), account, cell.database, database, log_folder)
        self._pooler = pooler
        self._sampler = PoolerSampler(pooler, looks_per_second)

    def services(self) -> dict[str, Service]:
        """The component, by its name."""
        return {} if self._pooler is None else {"pooler": self._pooler.service}

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Looks at it meanwhile; StackError if it ended."""
        if self._pooler is None or self._sampler is None:
            yield
            return
        self._sampler.focus()
        try:
            yield
        finally:
            self._sampler.look_away()
        service = self._pooler.service
        if not service.alive():
            raise StackError(f"the pooler ended under load; its log ends:\n{service.log_tail()}")

    def mark_peak(self) -> None:
        if self._pooler is not None:
            self._pooler.mark_peak()

    def read_peak(self) -> None:
        if self._pooler is not None:
            self._evidence.client_peak = self._pooler.read_peak()

    def read_books(self) -> None:
        if self._pooler is not None:
            self._evidence.client_books = self._pooler.books()

    def stop(self, provider: Provider) -> None:
        """After the app server, and before the books are read for good: what it holds goes with it."""
        if self._sampler is not None:
            self._sampler.close()
            self._evidence.pooler_rows = self._sampler.rows()
        if self._pooler is not None:
            self._pooler.close()
            provider.at("pooler").stop(self._pooler.service)
