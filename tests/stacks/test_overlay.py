"""What is put into the app's process, in the process of each server."""

import json
import re
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
import requests

from runner import waiting
from runner.load.recorder import server_timing
from runner.provision.commands import run_command
from runner.provision.service import Command
from runner.stacks.app import load_app, make_overlay
from runner.stacks.environment import build_environment
from runner.stacks.servers.base import PROBE_QUERY, ServerSpec
from runner.stacks.servers.gunicorn import GunicornSpec
from runner.stacks.servers.uwsgi import UwsgiSpec
from runner.stacks.versions import Recipe
from tests.processes import ROOT, connbench
from tests.shops import Served, seeded, serving

pytestmark = pytest.mark.server

SERVERS: dict[str, ServerSpec] = {
    "sync": GunicornSpec(workers=2),
    "gthread": GunicornSpec(worker_class="gthread", workers=1, threads=4),
    "gevent": GunicornSpec(worker_class="gevent", workers=1),
    "uwsgi": UwsgiSpec(processes=2, threads=2),
}


@pytest.fixture(scope="module", params=list(SERVERS))
def shop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    database = seeded(tmp_path_factory.getbasetemp())
    with serving(SERVERS[request.param], database, tmp_path_factory.mktemp(request.param)) as served:
        yield served


def timing(answer: requests.Response) -> tuple[int, int, float]:
    """Worker, thread or greenlet, and milliseconds, as the header has them."""
    header = answer.headers["Server-Timing"]
    times = "".join(rf"{name};dur=\d+\.\d{{3}}, " for name in ("app", "pool", "connect", "sql"))
    assert re.fullmatch(rf"{times}opened;desc=\d+, worker;desc=\d+\.\d+", header), header
    return server_timing(header)[:3]


def test_each_answer_says_who_gave_it_and_how_long_it_took(shop: Served) -> None:
    workers = {process.pid for process in shop.service.processes()} - {shop.service.pid}
    answer = shop.get("/hold/?ms=50")
    assert answer.status_code == 200
    pid, thread, milliseconds = timing(answer)
    assert pid in workers
    assert thread > 0
    assert 50 <= milliseconds < 5000


def test_contexts_of_one_process_are_told_apart(shop: Served) -> None:
    with ThreadPoolExecutor(4) as clients:
        answers = list(clients.map(lambda _: shop.get("/hold/?ms=100"), range(4)))
    timings = [timing(answer) for answer in answers]
    workers = {process.pid for process in shop.service.processes()}
    assert {pid for pid, *_ in timings} <= workers
    assert len({(pid, thread) for pid, thread, _ in timings}) >= 2


def test_an_error_is_timed_too(shop: Served) -> None:
    missing = shop.get("/products/10001/")
    assert missing.status_code == 404
    assert timing(missing)[0] > 0


def test_the_token_is_for_probes_alone(shop: Served) -> None:
    assert "X-Connbench-Token" not in shop.get("/health/").headers
    assert "X-Connbench-Token" not in shop.get("/products/?page=2").headers
    assert re.fullmatch("[0-9a-f]{32}", shop.get(f"/health/?{PROBE_QUERY}").headers["X-Connbench-Token"])
    assert "X-Connbench-Token" in shop.get(f"/products/?page=2&{PROBE_QUERY}").headers


def test_the_apps_own_settings_are_kept(shop: Served) -> None:
    """Its middleware, its templates, its debug switch; the hosts are the overlay's."""
    page = shop.get("/products/1/")
    assert page.headers["X-Frame-Options"] == "DENY"
    assert "<h1>Modern Cork Carafe</h1>" in page.text
    assert shop.get("/products/", headers={"Host": "elsewhere.example"}).status_code == 400
    assert "Traceback" not in shop.get("/hold/?ms=").text


def test_each_request_is_one_line_of_the_access_log(shop: Served) -> None:
    for path in ("/products/?page=3&seen", "/products/10001/?seen", f"/health/?seen&{PROBE_QUERY}"):
        shop.get(path)

    def lines() -> list[str]:
        return [line for line in shop.access_log.read_text().splitlines() if "seen" in line]

    # A server writes it when the answer has gone.
    waiting.wait_for(lambda: len(lines()) >= 3 or None, limit=60)
    assert sorted(lines()) == [
        f"200 /health/?seen&{PROBE_QUERY}",
        "200 /products/?page=3&seen",
        "404 /products/10001/?seen",
    ]


def test_the_environment_of_the_runner_stays_outside(shop: Served) -> None:
    """The app runs with its own interpreter and packages."""
    worker = psutil.Process(shop.service.pid)
    assert "envs/psycopg3-" in " ".join(worker.cmdline())
    assert sys.prefix not in " ".join(worker.environ().values())


_ASYNCHRONOUS = """
import asyncio

import django
from django.conf import settings
from django.http import HttpResponse
from django.test import AsyncClient
from django.urls import path

django.setup()
settings.ROOT_URLCONF = __name__
settings.MIDDLEWARE = ["connbench_timing.timing_middleware", "django.middleware.common.CommonMiddleware"]
settings.ALLOWED_HOSTS = ["*"]


async def view(request):
    return HttpResponse(str(id(asyncio.current_task())))


async def main():
    answer = await AsyncClient().get("/")
    print(int(answer.content) == id(asyncio.current_task()), answer["Server-Timing"])


urlpatterns = [path("", view)]
asyncio.run(main())
"""


def test_an_asynchronous_app_stays_so(tmp_path: Path) -> None:
    """A synchronous middleware would have each view wait in a thread, and run as a task of its own."""
    script = tmp_path / "asynchronous.py"
    script.write_text(_ASYNCHRONOUS)
    python = build_environment(Recipe("psycopg3")).bin / "python"
    env = make_overlay(load_app("shop"), {}, "127.0.0.1").env
    same_task, _, header = run_command(Command([str(python), str(script)], env), limit=60, what="a view").partition(" ")
    assert same_task == "True"
    worker, thread, app_ms, *_ = server_timing(header.strip())
    assert worker > 0
    assert thread > 0
    assert app_ms > 0


def test_psycogreen_makes_psycopg2_give_way(tmp_path: Path) -> None:
    """One worker, eight users, a hundred milliseconds in the database each: one at a time is ten a second."""
    log = tmp_path / "log"
    matrix = ROOT / "tests" / "matrices" / "psycopg2.yaml"
    assert connbench(["run", "-m", str(matrix), "--out", str(tmp_path / "out")], log).wait(500) == 0, log.read_text()
    summary = json.loads((tmp_path / "out" / "latest" / "summary.json").read_text())
    assert summary["run"]["versions"]["psycopg2/psycogreen"]
    metrics = {cell["id"]: cell["metrics"] for cell in summary["cells"]}
    plain, green = metrics["pg-plain-per-request"], metrics["pg-green-per-request"]
    assert plain["throughput_rps"]["value"] <= 10
    assert green["throughput_rps"]["value"] > 2 * plain["throughput_rps"]["value"]
    assert plain["connections"]["peak"]["value"] < green["connections"]["peak"]["value"] == 8
