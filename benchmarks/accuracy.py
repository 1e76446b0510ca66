"""docs/accuracy.md: what was measured of connbench itself, from benchmarks/*.json and nothing else."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.keeping import FOLDER, Measurement, read_kept
from benchmarks.registry import BENCHMARKS
from runner.report.comparison import escaped, markdown_table

PAGE = FOLDER.parent / "docs" / "accuracy.md"
HEAD = """# What connbench costs, and what its verdicts are worth

Made by `python -m benchmarks accuracy` from the JSON files in `benchmarks/`, which have every figure in full; do not
edit. Each section was measured by the command that it names, and says on which machine. Another machine, other
figures: run the command again.
"""


def write_page(folder: Path = FOLDER, page: Path = PAGE) -> None:
    """Makes the page again."""
    page.write_text(accuracy_page(folder), "utf-8")


def accuracy_page(folder: Path = FOLDER) -> str:
    """The page's text: a section a benchmark, in the registry's order; unknown files come last."""
    kept = read_kept(folder)
    names = [*BENCHMARKS, *(name for name in kept if name not in BENCHMARKS)]
    return "\n".join([HEAD, *(_section(name, kept.get(name)) for name in names)])


def _section(name: str, kept: Measurement | None) -> str:
    title = _title(name)
    if kept is None:
        return f"## {title}\n\nNot measured yet: `python -m benchmarks {name}`.\n"
    host = kept.host
    where = f"{escaped(host.cpu)}, {host.cores} cores, {host.memory_bytes / 2**30:.0f} GiB, {escaped(host.system)}"
    said = f"Measured on {kept.measured_at[:10]} by `{kept.command}` on {where}."
    page = getattr(BENCHMARKS.get(name), "page", None)
    return "\n\n".join([f"## {title}", said, page(kept.results) if page else plain_page(kept.results)]) + "\n"


def _title(name: str) -> str:
    """The first sentence of the module's docstring."""
    text = (BENCHMARKS[name].__doc__ or name) if name in BENCHMARKS else name
    return text.strip().split("\n")[0].split(". ")[0].rstrip(".")


def plain_page(results: Mapping[str, Any]) -> str:
    """Single values as one table, each list of rows as a table of its own."""
    return "\n\n".join(_parts(results))


def _parts(results: Mapping[str, Any]) -> Iterator[str]:
    flat = pd.json_normalize({name: value for name, value in results.items() if not _is_table(value)}).astype(object)
    if not flat.empty:
        rows = [{"figure": _words(str(name)), "value": shown(flat[name].iloc[0])} for name in flat.columns]
        yield markdown_table(pd.DataFrame(rows))
    for name, value in results.items():
        if _is_table(value):
            table = pd.json_normalize(list(value)).astype(object).rename(columns=lambda column: _words(str(column)))
            yield f"{_words(name)}:\n\n{markdown_table(table.map(shown))}"


def _is_table(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and all(isinstance(v, Mapping) for v in value)


def _words(name: str) -> str:
    return name.replace("_", " ").replace(".", ": ")


def shown(value: object) -> str:
    """Numbers with three digits that count; whole ones as they are."""
    if isinstance(value, float):
        if pd.isna(value):
            return "–"
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return "–" if value is None else str(value)
