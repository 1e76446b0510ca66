"""report.html: one page that needs nothing else. The same run folder gives the same bytes."""

import base64
import hashlib
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from runner.analysis.soundness import why_unsound
from runner.analysis.summary import summarise
from runner.report import chart, waterfall, wording
from runner.report.page import build_page
from runner.report.phase_lines import phase_lines
from runner.results.store import RunFolder


def write_report(folder: RunFolder) -> Path:
    """Writes the page anew from the folder's own files; returns where it is."""
    path = folder.path / "report.html"
    partial = path.with_name(".report.html.partial")
    # A name or a log line may hold half of a surrogate pair: shown as a question mark, never a failed report.
    partial.write_bytes(render(folder).encode("utf-8", "replace"))
    partial.replace(path)
    return path


def render(folder: RunFolder) -> str:
    """The page as text. What the run says is escaped; the style is allowed by its hash, scripts never."""
    style = files("runner.report").joinpath("templates/style.css").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    page = build_page(summarise(folder), folder.attempts())
    return (
        environment()
        .get_template("page.html.j2")
        .render(
            page=page,
            style=Markup(style),
            style_hash=digest,
            chart=chart,
            waterfall=waterfall,
            w=wording,
            phase_lines=phase_lines,
        )
    )


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
    made.filters["figure"] = wording.figure
    made.filters["why_unsound"] = why_unsound
    return made
