"""The page: made of the folder alone, the same each time, needing nothing, believing nothing it shows."""

import base64
import hashlib
import json
import re
import time
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

from runner.analysis.summary import summarise
from runner.report import html
from runner.report.html import write_report
from runner.results.schema import ErrorKind, Flag, SkippedRecord, Verdict
from runner.results.store import RunFolder
from tests.synthetic import Model, models, searched, showcase, write_run

HOSTILE = "<img src=x onerror=alert(1)>\"'&{{7*7}}\u202e"
VOID = {"meta", "br", "img", "input"}
#: Whose end is left out in tables with a row a cell.
WITHOUT_END = {"td", "th", "tr"}


def render(folder: RunFolder) -> str:
    return html.render(folder, summarise(folder))


def write(folder: RunFolder) -> Path:
    return write_report(folder, summarise(folder))


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
        if tag not in VOID | WITHOUT_END:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert tag in WITHOUT_END or self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += f"{data} "


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return showcase(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def page(folder: RunFolder) -> str:
    return render(folder)


def test_the_same_folder_gives_the_same_bytes(folder: RunFolder) -> None:
    first = write(folder).read_bytes()
    assert write(RunFolder(folder.path)).read_bytes() == first
    assert not list(folder.path.glob(".report*"))


def test_the_page_is_well_formed_and_needs_nothing_else(page: str) -> None:
    document = Document(page)
    assert not {"link", "img", "iframe", "object"} & set(document.tags)
    assert not [value for name, value in document.attributes if name in ("src", "style") or name.startswith("on")]
    links = [value or "" for name, value in document.attributes if name == "href"]
    assert all(link.startswith(("#", "cells/")) for link in links)


def test_every_link_leads_somewhere(folder: RunFolder, page: str) -> None:
    attributes = Document(page).attributes
    ids = [value for name, value in attributes if name == "id"]
    assert len(ids) == len(set(ids))
    links = {value or "" for name, value in attributes if name == "href"}
    assert {link[1:] for link in links if link.startswith("#")} <= set(ids)
    raw = [link for link in links if not link.startswith("#")]
    assert raw
    assert all((folder.path / unquote(link)).is_dir() for link in raw)


def hash_of(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def test_only_its_own_style_and_script_are_allowed(page: str) -> None:
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    script = re.search(r"<script>(.*?)</script>", page, re.DOTALL)
    assert style is not None
    assert script is not None
    allowed = f"style-src {hash_of(style[1])}; script-src {hash_of(script[1])}"
    policy = f"default-src 'none'; {allowed}; img-src data:; base-uri 'none'; form-action 'none'"
    assert ("content", policy) in Document(page).attributes


def test_the_answer_comes_first_then_what_went_wrong(page: str) -> None:
    text = Document(page).text
    order = (
        *("1 cell failed", "Choose", "Highest throughput", "Cells that failed", "connections.peak"),
        *(
            "Which settings are better",
            "How sure each difference is",
            "Speed and CPU were measured",
            "How many connections",
        ),
        *("Where a request's time goes", "How slow the slow requests are", "Its parameters", "Noise"),
    )
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
        "psycopg3 django 5.2.8",
        "4 processes, each keeps its own = 16",
        "peak 18 is above 16",
    ):
        assert words in text


def test_each_cell_has_its_chart_with_the_bound(page: str) -> None:
    drawn = re.findall(r"<figure data-c.*?</figure>", page, re.DOTALL)
    assert len(drawn) == len(models())
    assert all('<path class="bound"' in figure and "Mean sessions" in figure for figure in drawn)


def test_each_cell_has_a_bar_of_where_its_time_goes_and_the_figures_beside_it(page: str) -> None:
    assert page.count('<svg class="time"') == len(models())
    text = " ".join(Document(page).text.split())
    assert "Outside the app Pool Connecting SQL The rest of the app Together, ms" in text


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
    monkeypatch.setattr("runner.report.html.render", lambda *_: "a\udcffb")
    assert write(folder).read_text() == "a?b"


def test_a_run_of_which_nothing_came_has_a_page(tmp_path: Path) -> None:
    down = Verdict(status="failed", reason="the database did not start")
    cells = [Model(**{**model.__dict__, "verdicts": {1: down}}) for model in models()[:2]]
    text = Document(render(write_run(tmp_path, cells, blocks=1, end=None))).text
    assert "No cell of this database has figures that could be compared." in text
    assert "the database did not start" in text
    assert "The run was interrupted" in text


def test_five_hundred_attempts_are_quick_and_small(tmp_path: Path) -> None:
    """The worst shape: as many cells, each with 2,000 samples of its own that are drawn."""
    cells = [Model(**{**model.__dict__, "server": f"{model.server}{n}"}) for n in range(23) for model in models()][:500]
    folder = write_run(tmp_path, cells, blocks=1)
    summary = summarise(folder)
    begun = time.process_time()
    assert len(html.render(folder, summary).encode()) < 3_000_000
    assert time.process_time() - begun < 60  # 5 s by itself; the machine may be busy


def test_an_open_load_tells_its_capacity_and_its_arrivals(tmp_path: Path) -> None:
    text = Document(render(write_run(tmp_path, searched(models()[:2], 321.0, failed={1: None})))).text
    assert "capacity at least 321 requests/s kept the service level, 337 missed it." in text
    assert "7 left late, 2 never left." in text
