"""report.html: one page that needs nothing else. The same run folder gives the same bytes."""

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from runner.analysis.summary import Summary
from runner.report import wording
from runner.report.page import build_page, latency, timeline, times
from runner.report.page.comparison import FOREST_HEIGHT, FOREST_WIDTH
from runner.report.page.data import Database
from runner.report.page.samples import STATES
from runner.results.store import RunFolder

STYLES = ("uplot/uPlot.min.css", "page.css", "report.css")
SCRIPTS = ("uplot/uPlot.iife.min.js", "report.js")


def write_report(folder: RunFolder, summary: Summary) -> Path:
    """Writes the page anew from the folder's own files and its summary; returns where it is."""
    path = folder.path / "report.html"
    write_page(path, render(folder, summary))
    return path


def write_page(path: Path, page: str) -> None:
    """Whole or not at all. Half of a surrogate pair, in a name or a log, is a question mark: never a failed report."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(page.encode("utf-8", "replace"))
    partial.replace(path)


def render(folder: RunFolder, summary: Summary, *, with_raw: bool = True, home: str = "") -> str:
    """The page as text. What the run says is escaped; style and script are allowed by their hashes, nothing else.

    `with_raw`: links to the attempts' folders beside it. `home`: the address of the site it is part of.
    """
    page = build_page(folder.path, summary, folder.attempts(), with_raw=with_raw)
    return render_template(
        "report.html.j2",
        styles=STYLES,
        scripts=SCRIPTS,
        page=page,
        states=STATES,
        timeline=timeline,
        times=times,
        latency=latency,
        forest_width=FOREST_WIDTH,
        forest_height=FOREST_HEIGHT,
        home=home,
    )


def render_template(
    name: str, styles: Sequence[str], scripts: Sequence[str] = (), *, connect: bool = False, **context: object
) -> str:
    """A page of ours with its style and script inside, and a policy that lets in nothing but these."""
    # Both are ours, not the run's.
    own = {"style": Markup(_together(styles)), "script": Markup(_together(scripts))}
    policy = page_policy(styles, scripts, connect=connect)
    return environment().get_template(name).render(w=wording, policy=policy, **own, **context)


def page_policy(styles: Sequence[str], scripts: Sequence[str], *, connect: bool = False) -> str:
    """The page's own style and script by their hashes, and nothing else; `connect`: its own server's answers too."""
    allowed = [f"style-src '{_hash(_together(styles))}'"]
    allowed += [f"script-src '{_hash(_together(scripts))}'"] if scripts else []
    allowed += ["connect-src 'self'"] if connect else []
    return f"default-src 'none'; {'; '.join(allowed)}; img-src data:; base-uri 'none'; form-action 'none'"


def environment() -> Environment:
    """Jinja2 with escaping on and misspelt names an error."""
    made = Environment(
        loader=PackageLoader("runner.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters["cell_index"] = cell_index
    return made


def cell_index(databases: Sequence[Database]) -> list[list[object]]:
    """What the page's script knows of each cell, in the order of their numbers: by what it is filtered."""
    return [
        [database.number, database.name, cell.server, cell.setting, cell.summary.status]
        for database in databases
        for cell in database.cells
    ]


def _together(names: Sequence[str]) -> str:
    return "\n".join(_static(each) for each in names)


def _static(name: str) -> str:
    return files("runner.report").joinpath("static", name).read_text("utf-8")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
