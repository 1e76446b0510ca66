"""A run that fails the same way again and again is stopped: the night is better spent on mending it."""

import re

# Two cells may share a fault of their settings; the third in a row says that it is everybody's.
IN_A_ROW = 3
_VARYING = re.compile(r"0x[0-9a-f]+|\d+", re.IGNORECASE)


class Breaker:
    """Counts failures in a row that are alike. `finding` is empty until there are as many as it takes."""

    def __init__(self) -> None:
        self._who: list[str] = []
        self._alike = ""
        self.finding = ""

    def failed(self, who: str, reason: str) -> None:
        """`who` failed: a cell, or a block's group where it was the database that all its cells share.

        Failures are alike if their first and last lines are, names and numbers aside: the first says what happened,
        the last of a log's tail why.
        """
        alike = _gist(reason.replace(who, "…"))
        if _VARYING.sub("#", alike) != self._alike:
            self._who, self._alike = [], _VARYING.sub("#", alike)
        if who not in self._who:
            self._who.append(who)
        if len(self._who) >= IN_A_ROW and not self.finding:
            names = ", ".join(self._who)
            self.finding = f"{IN_A_ROW} in a row failed alike ({names}), so the run was stopped: {alike}"

    def worked(self) -> None:
        """A cell got through: what failed before it was not everybody's fault."""
        self._who, self._alike = [], ""


def _gist(reason: str) -> str:
    lines = [line.strip() for line in reason.splitlines() if line.strip()] or [""]
    return lines[0] if len(lines) == 1 else f"{lines[0]} {lines[-1]}"
