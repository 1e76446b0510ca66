"""The pages in a real browser: what can be done with them, in light and dark, wide and narrow, without scripts."""

import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from runner.analysis.summary import summarise
from runner.report.html import write_report
from runner.report.serve import Server
from runner.report.site.publish import publish
from runner.results.store import RunFolder
from tests.report.browser import PATIENCE, is_wider_than_the_screen, launch, opened, violations
from tests.report.test_html import HOSTILE, hostile
from tests.synthetic import models, showcase

pytestmark = pytest.mark.server

expect.set_options(timeout=PATIENCE)
#: A run's pictures, for whoever looks at the test's output.
PICTURES = Path(os.environ.get("CONNBENCH_SCREENSHOTS", "results/screenshots"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        made = launch(playwright)
        yield made
        made.close()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return showcase(tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="module")
def report(run: RunFolder) -> str:
    return write_report(run, summarise(run)).as_uri()


def rows(page: Page, table: str = "figures-1") -> list[str]:
    """The visible rows of a table, as `server setting`."""
    found = page.locator(f"#{table} tbody tr:visible")
    return [" ".join(row.locator("th, td").all_inner_texts()[:2]) for row in found.all()]


def choose(page: Page, name: str, value: str) -> None:
    page.locator(f'#filter select[name="{name}"]').select_option(value)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(1600, 1000), (360, 740)])
def test_it_fits_is_accessible_and_says_the_answer_first(
    browser: Browser, report: str, width: int, height: int, scheme: str
) -> None:
    with opened(browser, report, width=width, height=height, color_scheme=scheme) as page:
        assert not is_wider_than_the_screen(page)
        for database in ("pg", "my"):
            verdict = page.get_by_role("article", name=database)
            expect(verdict).to_contain_text("Choose")
            expect(verdict).to_contain_text("95 % interval")
            box = verdict.locator("h2").bounding_box()
            assert box is not None
            assert box["y"] + box["height"] < height, "on the first screen"
        PICTURES.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=PICTURES / f"report-{width}-{scheme}.png")
        assert violations(page) == []


def test_dark_is_dark(browser: Browser, report: str) -> None:
    with opened(browser, report, color_scheme="dark") as page:
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert max(int(part) for part in re.findall(r"\d+", colour)[:3]) < 60


def test_filtering_is_in_the_address_and_comes_back_with_it(browser: Browser, report: str) -> None:
    with opened(browser, report) as page:
        choose(page, "server", "uwsgi")
        choose(page, "setting", "persistent")
        assert rows(page) == ["uwsgi persistent"]
        expect(page.locator("#filter output")).to_have_text("2 of 21 cells")
        address = page.url
    with opened(browser, address) as page:
        assert rows(page) == ["uwsgi persistent"]
        page.get_by_role("button", name="Show all").click()
        assert len(rows(page)) == 12
        choose(page, "database", "my")
        assert rows(page) == []
        assert len(rows(page, "figures-2")) == 9
        choose(page, "status", "failed")
        assert rows(page, "figures-2") == ["gevent forever"]


def test_sorting_is_in_the_address_and_comes_back_with_it(browser: Browser, report: str) -> None:
    with opened(browser, report) as page:
        before = rows(page)
        head = page.locator("#figures-1 .names th").nth(2)
        head.get_by_role("button").click()
        expect(head).to_have_attribute("aria-sort", "ascending")
        upwards = rows(page)
        assert upwards != before
        assert sorted(upwards) == sorted(before)
        second = "#figures-1 tbody tr td:nth-child(3)"
        figures = [float(text) for text in page.locator(second).all_inner_texts()]
        assert figures == sorted(figures)
        head.get_by_role("button").click()
        assert [
            float(text) for text in page.locator("#figures-1 tbody tr td:nth-child(3)").all_inner_texts()
        ] == sorted(figures, reverse=True)
        address = page.url
        head.get_by_role("button").click()
        assert rows(page) == before
    with opened(browser, address) as page:
        expect(page.locator("#figures-1 .names th").nth(2)).to_have_attribute("aria-sort", "descending")


def test_another_metric_is_in_the_address(browser: Browser, report: str) -> None:
    with opened(browser, report) as page:
        page.locator('label[for="metric-latency-ms-p95"]').click()
        expect(page.locator("#matrix .panel:visible")).to_contain_text("p95, ms; less is better")
        address = page.url
    with opened(browser, address) as page:
        expect(page.locator("#matrix .panel:visible")).to_contain_text("p95, ms; less is better")


def test_a_link_opens_its_cell_and_keeps_what_was_chosen(browser: Browser, report: str) -> None:
    with opened(browser, report) as page:
        choose(page, "database", "pg")
        page.locator("#figures-1").get_by_role("link", name="persistent").first.click()
        details = page.locator("details.cell[open]")
        expect(details).to_have_count(1)
        expect(details).to_contain_text("DATABASES = {")
        expect(page.locator("#figures-2")).to_be_hidden()
        assert "database=pg" in page.url
        details.get_by_role("button", name="Copy").first.click()
        expect(details.get_by_role("button", name=re.compile("Copied|Selected"))).to_be_visible()


def test_zooming_draws_the_series(browser: Browser, report: str) -> None:
    with opened(browser, report) as page:
        page.get_by_role("button", name="Zoom uwsgi · persistent").first.click()
        expect(page.locator("#zoom canvas")).to_have_count(2)
        page.screenshot(path=PICTURES / "report-zoom.png")
        page.get_by_role("button", name="Close").click()
        expect(page.locator("#zoom canvas")).to_have_count(0)


def test_without_scripts_everything_can_be_read(browser: Browser, report: str) -> None:
    with opened(browser, report, java_script_enabled=False) as page:
        expect(page.locator("#figures-1 tbody tr")).to_have_count(12)
        expect(page.locator("#connections figure svg.chart")).to_have_count(len(models()))
        expect(page.locator("#filter")).to_be_hidden()
        page.locator("details.cell summary").first.click()
        expect(page.locator("details.cell[open]")).to_contain_text("Predicted peak")
        page.locator('label[for="metric-connections-peak"]').click()
        expect(page.locator("#matrix .panel:visible")).to_contain_text("Peak, connections; less is better")


def test_hostile_text_runs_nothing(browser: Browser, tmp_path: Path) -> None:
    folder = hostile(tmp_path)
    address = write_report(folder, summarise(folder)).as_uri()
    with opened(browser, address, width=360, height=740) as page:
        page.on("dialog", lambda dialog: pytest.fail(f"ran: {dialog.message}"))
        for details in page.locator("details").all():
            details.evaluate("element => { element.open = true; }")
        assert not is_wider_than_the_screen(page)
        assert page.locator("img").count() == 0
        shown = page.locator("body").inner_text()
        assert HOSTILE.partition('"')[0] in shown


def test_the_site_and_a_run_under_way(browser: Browser, run: RunFolder, tmp_path: Path) -> None:
    publish(run.path, tmp_path / "site")
    with Server(tmp_path / "site", 0, run.path) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            for name in ("", "history.html", "claims.html"):
                with opened(browser, f"{server.url}{name}", width=360, height=740) as page:
                    assert not is_wider_than_the_screen(page)
                    assert violations(page) == []
            with opened(browser, server.url) as page:
                page.get_by_role("link", name=re.compile("default, 2025")).click()
                expect(page.get_by_role("article", name="my")).to_contain_text("Choose")
                page.get_by_role("link", name="connbench").click()
                expect(page.get_by_role("heading", name="All runs")).to_be_visible()
            with opened(browser, f"{server.url}live") as page:
                expect(page.locator("#run")).to_have_text(run.path.name)
                run.event("started", cell="<b>pg</b>", block=9, attempt=0)
                expect(page.locator("#events")).to_contain_text("<b>pg</b>")
                assert violations(page) == []
        finally:
            server.shutdown()
            thread.join(30)
