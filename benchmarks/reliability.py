"""`python -m benchmarks.reliability`: the counts of docs/reliability.md, made of benchmarks/faults.jsonl."""

import json
from collections import Counter
from pathlib import Path

FAULTS = Path(__file__).with_name("faults.jsonl")
PAGE = Path(__file__).parents[1] / "docs" / "reliability.md"
BEGIN, END = "<!-- counts -->\n", "<!-- end of counts -->\n"


def counts(faults: Path = FAULTS) -> str:
    """A table, one row a fault: how often it was put in, and how often all was as it should be; and what was lost."""
    rows = [json.loads(line) for line in faults.read_text("utf-8").splitlines()] if faults.exists() else []
    injected = Counter(row["fault"] for row in rows if "fault" in row)
    survived = Counter(row["fault"] for row in rows if row.get("survived"))
    lines = ["| fault | injected | survived |", "|---|---|---|"]
    lines += [f"| {fault} | {number} | {survived[fault]} |" for fault, number in injected.items()]
    lines.append(f"| **all** | **{injected.total()}** | **{survived.total()}** |")
    lost, left = (sum(row.get(what, 0) for row in rows) for what in ("lost", "left"))
    lines += ["", f"Files of finished attempts lost: {lost}. Processes, folders and journals left behind: {left}."]
    return "\n".join(lines) + "\n"


def page_with(table: str, page: str) -> str:
    """The page with its table replaced."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{table}{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page_with(counts(), PAGE.read_text("utf-8")), "utf-8")
