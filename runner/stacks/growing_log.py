"""A server's log that is read as it grows."""

from collections.abc import Iterator
from pathlib import Path


class GrowingLog:
    """Hands out each whole line once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def lines(self) -> Iterator[bytes]:
        """The whole lines that have been written since the last call, without their ends."""
        with self._path.open("rb") as log:
            log.seek(self._offset)
            data = log.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        return iter(whole.splitlines())
