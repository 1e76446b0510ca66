"""`connbench publish`: from run folders to a site of static files. The same runs give the same bytes.

What the site knew before stays: a nightly job has the last run's folder alone, and the pages of those before it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.analysis.claims import JudgedClaim, KeptClaims
from runner.analysis.history import read_history, series_of
from runner.analysis.summary import summarise
from runner.errors import UsageError
from runner.report.claims import measured
from runner.report.html import render, render_template, write_page
from runner.report.site.badge import badge
from runner.report.site.courses import courses
from runner.report.site.feed import feed
from runner.report.site.manifest import Manifest, merged, published, read_manifest, write_manifest
from runner.results.store import RunFolder, open_run, read_json, write_json

STYLES = ("page.css", "site.css")
#: Beside the runs' folders.
HISTORY, CLAIMS = "history", "claims/claims.json"


@dataclass(frozen=True)
class Published:
    """What `publish` did: the site's first page, and how many runs of it are new and there in all."""

    index: Path
    new: int
    runs: int


def publish(results: Path, site: Path) -> Published:
    """Adds the runs and the history in `results` to the site; `results` may be one run's folder, too."""
    folders = find_runs(results)
    known = read_manifest(site)
    if not folders and not known.runs:
        raise UsageError(f"{results}: no run in it, and {site} has none yet; connbench run makes one")
    site.mkdir(parents=True, exist_ok=True)
    runs = []
    for folder in folders:
        summary = summarise(folder)
        page = render(folder, summary, with_raw=False, home="../../index.html")
        target = site / "runs" / folder.path.name
        target.mkdir(parents=True, exist_ok=True)
        write_page(target / "index.html", page)
        runs.append(published(summary))
    manifest = merged(known, runs, read_history(results / HISTORY))
    _write_pages(site, manifest, _claims(results, site))
    write_manifest(site, manifest)
    new = {run.folder for run in runs} - {run.folder for run in known.runs}
    return Published(site / "index.html", len(new), len(manifest.runs))


def find_runs(results: Path) -> list[RunFolder]:
    """The run folders in `results`, or `results` itself where it is one. `latest` is one of the others."""
    if not results.exists():
        raise UsageError(f"{results}: there is no such folder")
    if (results / "run.json").is_file():
        return [open_run(results)]
    return [open_run(path.parent) for path in sorted(results.glob("*/run.json")) if not path.parent.is_symlink()]


def _write_pages(site: Path, manifest: Manifest, claims: Sequence[JudgedClaim]) -> None:
    drawn = courses(series_of(manifest.nights))
    write_page(site / "index.html", render_template("site/index.html.j2", STYLES, manifest=manifest, claims=claims))
    write_page(site / "history.html", render_template("site/history.html.j2", STYLES, manifest=manifest, courses=drawn))
    write_page(site / "claims.html", render_template("site/claims.html.j2", STYLES, claims=claims, measured=measured))
    write_page(site / "feed.xml", feed(manifest))
    _write_badges(site / "badges", manifest)


def _write_badges(folder: Path, manifest: Manifest) -> None:
    """Of the newest run: how it went, and each database's quickest cell where that is known."""
    folder.mkdir(exist_ok=True)
    for run in manifest.runs[:1]:
        colour = {"passing": "good", "cut off": "quiet"}.get(run.verdict, "bad")
        write_page(folder / "latest.svg", badge("connbench", run.verdict, colour))
        for best in run.best:
            if best.metric == "throughput_rps" and best.is_known:
                level = f" and {best.level_with} level" if best.level_with else ""
                text = badge(f"{best.database}: quickest", f"{best.cell}{level}", "good")
                write_page(folder / f"{safe_name(best.database)}.svg", text)


def safe_name(name: str) -> str:
    """A name as a file may be called."""
    return "".join(sign if sign.isalnum() or sign in "-_" else "-" for sign in name) or "unnamed"


def _claims(results: Path, site: Path) -> Sequence[JudgedClaim]:
    """The claims beside the runs, or those that the site kept; it keeps a copy."""
    source, kept = results / CLAIMS, site / Path(CLAIMS).name
    if source.is_file():
        read = read_json(source, KeptClaims)
        write_json(kept, read)
        return read.claims
    return read_json(kept, KeptClaims).claims if kept.is_file() else []
