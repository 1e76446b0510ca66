"""The page: made of the folder alone, the same each time, needing nothing, believing nothing it shows."""

import base64
import hashlib
import json
import re
import time
from html.parser import HTMLParser
from pathlib import Path

import pytest

from runner.report.html import render, write_report
from runner.results.schema import ErrorKind, Flag, SkippedRecord, Verdict
from runner.results.store import RunFolder
from tests.synthetic import Model, models, searched, showcase, write_run

HOSTILE = "<img src=x onerror=alert(1)>\"'&{{7*7}}\u202e"
VOID = {"meta", "br", "img"}


class Document(HTMLParser):
    """Elements, attributes and text; fails on an element that is closed in the wrong order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(page)
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += f"{data} "


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return showcase(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def page(folder: RunFolder) -> str:
    return render(folder)


def test_the_same_folder_gives_the_same_bytes(folder: RunFolder) -> None:
    first = write_report(folder).read_bytes()
    assert write_report(RunFolder(folder.path)).read_bytes() == first
    assert not list(folder.path.glob(".report*"))


def test_the_page_is_well_formed_and_needs_nothing_else(page: str) -> None:
    document = Document(page)
    assert not {"script", "link", "img", "iframe", "object"} & set(document.tags)
    assert not [value for name, value in document.attributes if name in ("src", "style") or name.startswith("on")]
    assert all((value or "").startswith("#") for name, value in document.attributes if name == "href")
    assert "http://" not in page.replace("http-equiv", "")
    assert "https://" not in page


def test_every_link_leads_somewhere(page: str) -> None:
    attributes = Document(page).attributes
    ids = [value for name, value in attributes if name == "id"]
    assert len(ids) == len(set(ids))
    assert {(value or "")[1:] for name, value in attributes if name == "href"} <= set(ids)


def test_only_its_own_style_is_allowed(page: str) -> None:
    style = re.search(r"<style>(.*)</style>", page, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    assert f'content="{policy}"' in page


def test_the_answer_comes_first_then_what_went_wrong(page: str) -> None:
    text = Document(page).text.partition("Environment")[2]
    order = ("Highest throughput", "Cells that failed", "expectations broken", "Comparison", "Each cell")
    places = [text.index(words) for words in order]
    assert places == sorted(places)


def test_the_page_shows_what_the_run_was(page: str) -> None:
    text = " ".join(Document(page).text.split())
    for words in (
        "PostgreSQL 15.18",
        "max_connections 200",
        "gunicorn shop.wsgi:application --workers 4 --worker-class sync",
        "DATABASES = {'default': {'ENGINE': 'django.db.backends.pg'",
        "FATAL: sorry, too many clients already",
        "Django's native pool exists for PostgreSQL alone",
        "psycopg3/django 5.2.8",
        "4 processes, each keeps its own = 16",
        "peak 18 is above 16",
    ):
        assert words in text


def test_each_cell_has_its_chart_with_the_bound(page: str) -> None:
    assert page.count('<svg class="chart"') == len(models())
    assert page.count('<line class="bound" x1="30.0"') == len(models())


def test_each_cell_has_a_bar_of_where_its_time_goes_and_the_figures_beside_it(page: str) -> None:
    assert page.count('<svg class="time"') == len(models())
    text = " ".join(Document(page).text.split())
    assert "Outside the app Pool Connecting SQL The rest of the app Together" in text


def test_a_run_that_timed_nothing_inside_the_app(tmp_path: Path) -> None:
    """As runs were before there was any such thing: their attempts know nothing of it."""
    folder = write_run(tmp_path, models()[:1], blocks=1)
    (path,) = folder.path.glob("cells/*/*/attempt.json")
    record = json.loads(path.read_text())
    del record["waterfall_ms"]
    path.write_text(json.dumps(record))
    page = render(folder)
    assert "The app said nothing of it." in page
    assert '<svg class="time"' not in page


def hostile(out: Path) -> RunFolder:
    first = models()[0]
    fields = first.__dict__ | {
        "name": HOSTILE.replace("/", ""),
        "connection": HOSTILE,
        "errors": {HOSTILE: ErrorKind(count=1, example=HOSTILE + "x" * 10_000)},
        "flags": (Flag(code="worker-skew", text=HOSTILE),),
    }
    down = Verdict(status="failed", reason=HOSTILE)
    failed = Model(**{**first.__dict__, "verdicts": {1: down}})
    skipped = SkippedRecord(id=HOSTILE + "2", axes={"database": HOSTILE}, reason=HOSTILE)
    return write_run(
        out,
        [Model(**fields), failed],
        blocks=1,
        skipped=[skipped],
        command=HOSTILE,
        versions={HOSTILE: HOSTILE},
    )


def test_hostile_text_is_shown_as_text(tmp_path: Path) -> None:
    page = render(hostile(tmp_path))
    document = Document(page)
    assert "img" not in document.tags
    assert not [name for name, _ in document.attributes if name.startswith("on")]
    assert document.text.count("<img src=x onerror=alert(1)>") > 10
    assert "49" not in re.sub(r"[\d.]*49[\d.]+|\d+49", "", "".join(re.findall(r"alert\(1\)>(.{0,12})", page)))


def test_half_a_surrogate_pair_does_not_stop_the_report(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner.report.html.render", lambda folder: "a\udcffb")
    assert write_report(folder).read_text() == "a?b"


def test_a_run_of_which_nothing_came_has_a_page(tmp_path: Path) -> None:
    down = Verdict(status="failed", reason="the database did not start")
    cells = [Model(**{**model.__dict__, "verdicts": {1: down}}) for model in models()[:2]]
    text = Document(render(write_run(tmp_path, cells, blocks=1, end=None))).text
    assert "No cell has figures that could be compared." in text
    assert "the database did not start" in text
    assert "The run was interrupted" in text


def test_many_attempts_are_quick_and_small(tmp_path: Path) -> None:
    cells = [Model(**{**model.__dict__, "server": f"{model.server}{n}"}) for n in range(4) for model in models()]
    folder = write_run(tmp_path, cells, blocks=1)
    begun = time.process_time()
    assert len(render(folder)) < 1_500_000
    assert time.process_time() - begun < 10


def test_an_open_load_tells_its_capacity_and_its_arrivals(tmp_path: Path) -> None:
    text = Document(render(write_run(tmp_path, searched(models()[:2], 321.0, failed={1: None})))).text
    assert "capacity at least 321 requests/s kept the service level, 337 missed it." in text
    assert "7 left late, 2 never left." in text
