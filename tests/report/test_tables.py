"""The tables: everything fits, everything agrees, nothing that a server said can break them."""

import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from runner.analysis.model import Summary
from runner.analysis.summary import summarise
from runner.errors import UsageError
from runner.matrix.cells import Prediction
from runner.report.tables import print_tables, table_text
from runner.report.wording import product_of
from runner.results.schema import DatabaseRecord, SkippedRecord, Verdict
from tests.synthetic import Model, models, pooled, searched, showcase, write_run


@pytest.fixture(scope="module")
def summary(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    return summarise(showcase(tmp_path_factory.mktemp("runs")))


def printed(summary: Summary, width: int = 120, *, terminal: bool = False) -> str:
    console = Console(
        file=io.StringIO(),
        width=width,
        force_terminal=terminal,
        color_system="truecolor" if terminal else None,
    )
    print_tables(summary, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def widest(text: str) -> int:
    return max(cell_len(re.sub(r"\x1b\[[0-9;]*m", "", line)) for line in text.splitlines())


@pytest.mark.parametrize("terminal", [True, False])
def test_it_fits_in_120_columns_with_one_row_a_cell(summary: Summary, terminal: bool) -> None:
    text = printed(summary, 120, terminal=terminal)
    assert widest(text) <= 120
    assert len(re.findall(r"(?m)^.*per-request +\d+ .* \d+ ", text)) == 6


def test_a_pipe_gets_the_full_width_whatever_rich_guesses(summary: Summary) -> None:
    assert printed(summary, 80) == printed(summary, 120)


def test_a_narrow_terminal_gets_several_tables_and_loses_nothing(summary: Summary) -> None:
    text = printed(summary, 80, terminal=True)
    assert widest(text) <= 80
    assert text.count("uwsgi  per-request") == 2 * printed(summary, 120).count("uwsgi  per-request")
    assert text.count("2.20×") == printed(summary, 120, terminal=True).count("2.20×")
    assert "…" not in text


def test_long_names_fold(tmp_path: Path) -> None:
    first = models()[0]
    long = Model(**{**first.__dict__, "server": "g" * 41, "connection": "c" * 41})
    text = printed(summarise(write_run(tmp_path, [first, long], blocks=1)))
    assert widest(text) <= 120


def test_it_says_what_went_wrong_and_where_the_time_went(summary: Summary) -> None:
    text = " ".join(printed(summary).split())
    for words in (
        "my-gevent-forever: failed: gunicorn did not come up within 10 s",
        "pg-uwsgi-pooled: expected connections.peak at most 16, measured 18",
        "pg-gevent-persistent: expected errors.total at most 0, measured 12",
        "pg-uwsgi-pooled: peak 18 is above 16",
        "worker skew in pg-gevent-persistent",
        "my-sync-pooled, my-gevent-pooled, my-uwsgi-pooled: Django's native pool",
        "2 of 28 expectations broken.",
        "Took 9 min 35 s, of it 8 min 08 s measuring (85 %); the rest: bringing stacks up",
    ):
        assert words in text


def test_the_best_stand_out_and_only_they(summary: Summary) -> None:
    green = re.findall(r"\x1b\[1;32m *([^\x1b]+)\x1b", printed(summary, terminal=True))
    best = {answer.cell for answer in summary.answers} | {
        name for answer in summary.answers for name in answer.level_with
    }
    assert len(green) >= len(summary.answers)
    assert len(green) == sum(1 + len(answer.level_with) for answer in summary.answers)
    assert "pg-gevent-persistent" not in best


def test_one_block_claims_no_certainty(tmp_path: Path) -> None:
    text = printed(summarise(write_run(tmp_path, models()[:3], blocks=1, quick=True)))
    assert "A quick run" in text
    assert "2.2" in text
    assert "ratios without interval" in text
    assert "not distinguishable" not in text


def test_few_blocks_say_that_they_are_too_few(tmp_path: Path) -> None:
    text = " ".join(printed(summarise(write_run(tmp_path, models()[:4], blocks=2))).split())
    assert "u. p. (" in text
    assert "fewer than 3 blocks" in text
    assert "underpowered against" in text
    assert "n. d. (" not in text


def test_a_difference_that_sign_flips_do_not_confirm_is_worth_knowing(summary: Summary) -> None:
    doubted = [ratio.model_copy(update={"sign_flip_p": 0.2}) for ratio in summary.ratios[:1]]
    assert doubted[0].verdict == "distinguishable"
    text = " ".join(printed(summary.model_copy(update={"ratios": doubted})).split())
    assert "does not confirm throughput_rps of pg-sync-persistent" in text


def test_a_run_of_which_nothing_came_is_still_told(tmp_path: Path) -> None:
    down = Verdict(status="failed", reason="the database did not start")
    cells = [Model(**{**model.__dict__, "verdicts": {1: down}}) for model in models()[:3]]
    text = printed(summarise(write_run(tmp_path, cells, blocks=1, end="interrupted")))
    assert text.count("failed: the database did not start") == 3
    assert "The run was interrupted" in text


def test_no_cell_at_all_is_no_error(tmp_path: Path) -> None:
    reason = SkippedRecord(id="x", axes={"database": "my"}, reason="cannot be")
    text = printed(summarise(write_run(tmp_path, [], skipped=[reason], blocks=1)))
    assert "x: cannot be" in text


def test_markdown_csv_and_json_agree(summary: Summary) -> None:
    rows = json.loads(table_text(summary, "json"))["cells"]
    from_csv = list(csv.DictReader(io.StringIO(table_text(summary, "csv"))))
    markdown = [line for line in table_text(summary, "md").splitlines() if line.startswith("|")]
    headers = [name.strip() for name in markdown[0].strip("|").split("|")]
    assert [row["id"] for row in rows] == [row["id"] for row in from_csv] == [c.id for c in summary.cells]
    for row, line, text in zip(rows, from_csv, markdown[2:], strict=False):
        shown = dict(zip(headers, (part.strip() for part in text.strip("|").split("|")), strict=True))
        assert shown["id"] == row["id"]
        for name, value in row.items():
            if isinstance(value, float):
                assert float(line[name]) == pytest.approx(value)
                assert float(shown[name.replace("_", " ")]) == pytest.approx(value, rel=0.01, abs=0.1)
            elif value is None:
                assert line[name] == ""
            else:
                assert line[name] == str(value)


def test_the_tables_hold_the_summarys_medians(summary: Summary) -> None:
    row = json.loads(table_text(summary, "json"))["cells"][1]
    metrics = summary.cells[1].metrics
    assert metrics is not None
    assert metrics.throughput_rps is not None
    assert row["throughput_rps"] == metrics.throughput_rps.value
    assert row["app_peak_mb"] == 210
    assert (row["predicted"], row["as_predicted"]) == ("1–4", True)


def test_csv_has_the_ratios_beside_their_cells(summary: Summary) -> None:
    rows = {row["id"]: row for row in csv.DictReader(io.StringIO(table_text(summary, "csv")))}
    assert rows["pg-sync-persistent"]["reference"] == "pg-sync-per-request"
    assert re.fullmatch(r"2\.\d\d× \(.*–.*\)", rows["pg-sync-persistent"]["throughput ratio"])
    assert rows["pg-sync-per-request"]["reference"] == ""


def test_an_unknown_format_is_refused(summary: Summary) -> None:
    with pytest.raises(UsageError, match="unknown format 'xml'; known: md, csv, json"):
        table_text(summary, "xml")


def test_hostile_text_stays_text_and_in_its_place(tmp_path: Path) -> None:
    nasty = "a|b\n[red]x[/red] <b>\x1b[2J\u202e" + "y" * 10_000
    down = Verdict(status="failed", reason=nasty)
    broken = Model(**{**models()[0].__dict__, "verdicts": {1: down}, "connection": "[bold]|x"})
    summary = summarise(write_run(tmp_path, [broken], blocks=1))
    text = printed(summary)
    assert "[red]x[/red]" in text
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert widest(text) <= 120
    assert len(text) < 5000
    markdown = table_text(summary, "md").split("\n\n")[1].splitlines()
    assert len(markdown) == 3
    assert len(re.findall(r"(?<!\\)\|", markdown[2])) == len(re.findall(r"\|", markdown[0]))


def test_no_bound_is_shown_as_such(tmp_path: Path) -> None:
    free = Prediction(
        min=1,
        max=None,
        formula="without bound",
        opened_per_request=None,
        opened_max=None,
        lingering_min=0,
        lingering_max=None,
    )
    model = Model(**{**models()[0].__dict__, "prediction": free})
    assert "≥ 1 ✓" in printed(summarise(write_run(tmp_path, [model], blocks=1)))


def test_an_open_load_has_its_columns_and_a_closed_one_has_not(summary: Summary, tmp_path: Path) -> None:
    opened = summarise(write_run(tmp_path, searched(models()[:4], 321.0, failed={1: None})))
    text = printed(opened)
    assert widest(text) <= 120
    assert "≥ 321" in text
    assert "Capacity: the highest rate" in text
    columns = ["capacity_rps", "capacity_at_least", "service_p95_ms", "due", "late", "dropped"]
    rows = json.loads(table_text(opened, "json"))["cells"]
    assert [rows[0][name] for name in columns[:2]] == [321.0, True]
    assert (rows[0]["late"], rows[0]["dropped"]) == (7, 2)
    assert rows[0]["service_p95_ms"] < rows[0]["p95_ms"]
    assert not set(columns) & set(json.loads(table_text(summary, "json"))["cells"][0])
    assert "Capacity" not in printed(summary)


def test_both_sides_of_a_pooler(summary: Summary, tmp_path: Path) -> None:
    assert "waiting" not in printed(summary)
    assert "client_peak" not in table_text(summary, "csv")
    behind = summarise(write_run(tmp_path, pooled(models()[:2]), blocks=1))
    text = printed(behind)
    assert widest(text) <= 120
    assert "waiting" in text
    rows = list(csv.DictReader(io.StringIO(table_text(behind, "csv"))))
    assert [(row["peak"], row["client_peak"], row["client_predicted"]) for row in rows] == [("4.0", "12.0", "1–12")] * 2
    assert [cell.metrics and cell.metrics.connections.as_predicted for cell in behind.cells] == [True, True]


def test_clients_that_are_not_as_predicted_are_told(tmp_path: Path) -> None:
    (model,) = pooled(models()[:1])
    assert model.clients is not None
    behind = summarise(write_run(tmp_path, [replace(model, clients=model.clients + 1)], blocks=1))
    assert "clients: peak 13 is above 12" in printed(behind)


def test_a_database_on_another_host_is_told_with_its_distance(summary: Summary) -> None:
    near = DatabaseRecord(name="pg", product="PostgreSQL 15.18", settings={})
    far = near.model_copy(update={"round_trip_ms": 2.0468})
    told = [
        product_of(summary.model_copy(update={"run": summary.run.model_copy(update={"databases": [one]})}), "pg")
        for one in (near, far)
    ]
    assert told == ["PostgreSQL 15.18", "PostgreSQL 15.18, on a host 2.05 ms from the app's"]
