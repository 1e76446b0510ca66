"""The site: what is in it, what stays, and that nothing of a run is believed."""

import shutil
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from runner.analysis.claims import JudgedClaim, KeptClaims
from runner.analysis.history import Night, NightRatio, add_night
from runner.errors import UsageError
from runner.report.site.badge import badge
from runner.report.site.manifest import read_manifest
from runner.report.site.publish import publish, safe_name
from runner.results.store import RunFolder, write_json
from tests.synthetic import models, showcase, write_run

HOSTILE = "<script>alert(1)</script>\"'&"


def night(number: int, value: float) -> Night:
    date = f"2025-11-{number:02}"
    sides = {"cell": "pg-sync-persistent", "reference": "pg-sync-per-request"}
    ratio = NightRatio(**sides, metric="throughput_rps", value=value, spread=0.1, n=3)
    known = {"run": f"run-{number}", "name": "nightly", "matrix_hash": "ab", "host": "f00d"}
    return Night(date=date, **known, versions={}, databases={}, ratios=[ratio])


def a_run(results: Path, stamp: str) -> RunFolder:
    """A small run in a folder of its own name: made-up runs all start in the same second."""
    made = write_run(results.parent / "made", models()[:2], blocks=1, started_at=f"{stamp}T02:00:00.000+00:00")
    target = results / f"{stamp.replace('-', '')}T020000Z-default"
    shutil.move(made.path, target)
    shutil.rmtree(results.parent / "made")
    return RunFolder(target)


def contents(site: Path) -> dict[str, bytes]:
    return {str(path.relative_to(site)): path.read_bytes() for path in sorted(site.rglob("*")) if path.is_file()}


def test_a_site_of_one_run(tmp_path: Path) -> None:
    run = showcase(tmp_path / "results")
    done = publish(tmp_path / "results", tmp_path / "site")
    assert (done.new, done.runs) == (1, 1), "`latest` is no run of its own"
    page = (tmp_path / "site" / "runs" / run.path.name / "index.html").read_text()
    assert 'href="../../index.html"' in page
    assert 'href="cells/' not in page, "the raw data is not in the site"
    index = done.index.read_text()
    assert f"runs/{run.path.name}/index.html" in index
    assert "1 cell failed, 2 of 28 expectations broken" in index
    assert "1 failed, 2 broken" in (tmp_path / "site" / "badges" / "latest.svg").read_text()
    badges = {path.name for path in (tmp_path / "site" / "badges").iterdir()}
    assert badges == {"latest.svg", "pg.svg", "my.svg"}


def test_publishing_again_changes_nothing(tmp_path: Path) -> None:
    a_run(tmp_path / "results", "2025-11-20")
    publish(tmp_path / "results", tmp_path / "site")
    first = contents(tmp_path / "site")
    again = publish(tmp_path / "results", tmp_path / "site")
    assert again.new == 0
    assert contents(tmp_path / "site") == first


def test_what_the_site_had_stays_when_the_run_is_gone(tmp_path: Path) -> None:
    """A nightly job has a clean checkout, the site of yesterday, and tonight's run."""
    first = a_run(tmp_path / "monday", "2025-11-17")
    for number in range(1, 8):
        add_night(tmp_path / "monday" / "history", night(number, 1.8))
    publish(tmp_path / "monday", tmp_path / "site")
    second = a_run(tmp_path / "tuesday", "2025-11-18")
    for number in range(8, 15):
        add_night(tmp_path / "tuesday" / "history", night(number, 1.2))
    done = publish(tmp_path / "tuesday", tmp_path / "site")
    assert (done.new, done.runs) == (1, 2)
    manifest = read_manifest(tmp_path / "site")
    assert [run.folder for run in manifest.runs] == [second.path.name, first.path.name]
    assert len(manifest.nights) == 14
    for run in manifest.runs:
        assert (tmp_path / "site" / "runs" / run.folder / "index.html").is_file()
    history = (tmp_path / "site" / "history.html").read_text()
    assert "from 2025-11-08 on 1.20× instead of 1.80× (-33 %)" in history
    assert '<path class="change"' in history


def test_one_run_can_be_published_by_itself(tmp_path: Path) -> None:
    run = a_run(tmp_path / "results", "2025-11-20")
    assert publish(run.path, tmp_path / "site").runs == 1


def test_the_feed_is_an_atom_feed_with_the_newest_first(tmp_path: Path) -> None:
    for stamp in ("2025-11-18", "2025-11-20"):
        a_run(tmp_path / "results", stamp)
    publish(tmp_path / "results", tmp_path / "site")
    name = "{http://www.w3.org/2005/Atom}"
    feed = ET.fromstring((tmp_path / "site" / "feed.xml").read_text())
    assert feed.tag == f"{name}feed"
    dates = [entry.findtext(f"{name}updated") for entry in feed.iter(f"{name}entry")]
    assert dates == ["2025-11-20T02:00:00.000+00:00", "2025-11-18T02:00:00.000+00:00"]
    assert all(feed.findtext(f"{name}{part}") for part in ("id", "title", "updated"))


def test_claims_are_shown_and_kept(tmp_path: Path) -> None:
    run = a_run(tmp_path / "results", "2025-11-20")
    known = {"number": 1, "says": HOSTILE, "page": "folklore", "url": "javascript:alert(1)", "how": "", "condition": ""}
    judged = {"verdict": "does not hold", "findings": [], "versions": ["django 5.2"], "run": run.path.name}
    claim = JudgedClaim.model_validate({**known, **judged, "measured_at": "2025-11-20T02:00:00", "wall_seconds": 1.0})
    kept = tmp_path / "results" / "claims" / "claims.json"
    kept.parent.mkdir()
    write_json(kept, KeptClaims(host=run.run().host, claims=[claim]))
    publish(tmp_path / "results", tmp_path / "site")
    page = (tmp_path / "site" / "claims.html").read_text()
    assert "does not hold" in page
    assert "<script>alert" not in page
    assert "javascript:" not in page
    kept.unlink()
    publish(tmp_path / "results", tmp_path / "site")
    assert (tmp_path / "site" / "claims.html").read_text() == page


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    write_run(tmp_path / "results", models()[:1], blocks=1, name=HOSTILE.replace("/", ""), command=HOSTILE)
    publish(tmp_path / "results", tmp_path / "site")
    pages = {
        name: text for name, text in contents(tmp_path / "site").items() if name.endswith((".html", ".xml", ".svg"))
    }
    assert not [name for name, text in pages.items() if b"<script>alert" in text]
    ET.fromstring(badge(HOSTILE, HOSTILE, "bad"))
    assert safe_name("../a b") == "---a-b"


def test_nothing_to_publish_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no run in it"):
        publish(tmp_path, tmp_path / "site")
    with pytest.raises(UsageError, match="no such folder"):
        publish(tmp_path / "nowhere", tmp_path / "site")
