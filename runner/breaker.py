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

        Failures are alike if their first lines are, names and numbers aside: it says what happened, and why where
        that is known. The last lines of a log come in any order.
        """
        lines = [line.strip() for line in reason.replace(who, "…").splitlines() if line.strip()] or [""]
        alike = _VARYING.sub("#", lines[0])
        if alike != self._alike:
            self._who, self._alike = [], alike
        if who not in self._who:
            self._who.append(who)
        if len(self._who) >= IN_A_ROW and not self.finding:
            names = ", ".join(self._who)
            last = f" {lines[-1]}" if len(lines) > 1 else ""
            self.finding = f"{IN_A_ROW} in a row failed alike ({names}), so the run was stopped: {lines[0]}{last}"

    def worked(self) -> None:
        """A cell got through: what failed before it was not everybody's fault."""
        self._who, self._alike = [], ""
