"""The server: to whom it answers, what it hands out, and how a run that goes on is followed."""

import http.client
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.errors import UsageError
from runner.report.live import newest_run, progress_of
from runner.report.serve import Server
from runner.results.store import write_json
from tests.synthetic import models, write_run


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    folder = tmp_path / "site"
    (folder / "runs").mkdir(parents=True)
    (folder / "index.html").write_text("<p>the site")
    (folder / "runs" / "page.html").write_text("<p>a run")
    (folder / "runs" / "#1?.log").write_text("a log")
    (folder / ".secret").write_text("hidden")
    (tmp_path / "outside.txt").write_text("outside")
    (folder / "link.txt").symlink_to(tmp_path / "outside.txt")
    with Server(folder, 0, tmp_path / "results") as made:
        thread = threading.Thread(target=made.serve_forever, daemon=True)
        thread.start()
        yield made
        made.shutdown()
        thread.join(30)


def ask(server: Server, path: str, host: str | None = None, method: str = "GET") -> tuple[int, dict[str, str], str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=30)
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("Host", host or f"127.0.0.1:{server.server_port}")
    connection.endheaders()
    answer = connection.getresponse()
    found = answer.status, dict(answer.getheaders()), answer.read().decode()
    connection.close()
    return found


def test_pages_of_the_site_with_a_policy(server: Server) -> None:
    status, headers, body = ask(server, "/")
    assert (status, body) == (200, "<p>the site")
    assert headers["Content-Type"].startswith("text/html")
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert ask(server, "/runs/page.html")[2] == "<p>a run"
    assert ask(server, "/", method="HEAD")[2] == ""


def test_it_listens_on_loopback_alone(server: Server) -> None:
    assert server.server_address[0] == "127.0.0.1"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1", "127.0.0.1.evil.example"])
def test_a_foreign_host_is_refused(server: Server, host: str) -> None:
    status, _, body = ask(server, "/", host)
    assert status == 421
    assert "the site" not in body


def test_localhost_is_its_name_too(server: Server) -> None:
    assert ask(server, "/", f"localhost:{server.server_port}")[0] == 200


@pytest.mark.parametrize(
    "path",
    [
        *("/../outside.txt", "/%2e%2e/outside.txt", "/runs/../../outside.txt", "/..%2foutside.txt", "//outside.txt"),
        *("/.secret", "/runs/../.secret", "/link.txt", "/nothing.html", "/%00", "/runs/%2e%2e/%2e%2e/outside.txt"),
    ],
)
def test_nothing_outside_and_nothing_hidden(server: Server, path: str) -> None:
    status, _, body = ask(server, path)
    assert status == 404
    assert "outside" not in body
    assert "hidden" not in body


def test_a_folder_without_a_page_is_listed(server: Server) -> None:
    status, headers, _ = ask(server, "/runs")
    assert (status, headers["Location"]) == (303, "/runs/")
    body = ask(server, "/runs/")[2]
    assert 'href="page.html"' in body
    assert 'href="%231%3F.log"' in body
    assert ask(server, "/runs/%231%3F.log")[2] == "a log"


def test_an_address_never_sends_elsewhere(server: Server) -> None:
    status, headers, _ = ask(server, "//runs")
    assert (status, headers["Location"]) == (303, "/runs/")


def test_a_taken_port_is_said(server: Server) -> None:
    with pytest.raises(UsageError, match="--port"):
        Server(server.folder, server.server_port, server.results)


def test_progress_of_a_run_that_goes_on(server: Server) -> None:
    assert json.loads(ask(server, "/progress.json")[2]) == {"run": None}
    folder = write_run(server.results, models()[:2], blocks=1, end=None)
    cells = [model.id for model in models()[:2]]
    folder.write_plan([{"block": 1, "cell": cell, "attempt": 0} for cell in cells])
    for cell in cells:
        folder.event("started", cell=cell, block=1, attempt=0)
    folder.event("ok", cell=cells[0], block=1, attempt=0)
    with (folder.path / "events.jsonl").open("a") as events:
        events.write('{"event": "half')
    now = json.loads(ask(server, "/progress.json")[2])
    assert (now["run"], now["status"], now["done"], now["planned"]) == (folder.path.name, "under way", 1, 2)
    assert now["under_way"] == [cells[1]]
    assert now["events"][0]["event"] == "ok"
    write_json(folder.path / "end.json", {"status": "interrupted"})
    assert progress_of(folder.path)["status"] == "interrupted"
    assert progress_of(folder.path)["under_way"] == []


def test_the_live_page_allows_its_own_script_and_its_own_server(server: Server) -> None:
    status, headers, body = ask(server, "/live")
    assert status == 200
    assert "connect-src 'self'" in headers["Content-Security-Policy"]
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert "progress.json" in body


def test_results_without_a_site_show_what_is_under_way(tmp_path: Path) -> None:
    assert newest_run(tmp_path) is None
    first = write_run(tmp_path, models()[:1], blocks=1)
    (tmp_path / "zz").symlink_to(first.path)
    assert newest_run(tmp_path) == first.path
    assert newest_run(first.path) == first.path
