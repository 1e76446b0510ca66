"""Containers as services: the contract of `runner.provision.service`, kept by a real engine."""

import os
import signal
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.context import ContextAPI

from runner import ssh, waiting
from runner.errors import EnvironmentUnfit, StackError
from runner.provision import engine
from runner.provision.commands import PYTHON
from runner.provision.container import usage_of
from runner.provision.docker import DockerProvider
from runner.provision.engine import LABEL, EngineApi
from runner.provision.pod import MODULES, PACKAGE
from runner.provision.roles import Roles
from runner.provision.service import Address, Command, Kit, Service, Usage
from tests.engines import running_engine

# The first of them makes an engine and an image, out of Debian's packages.
pytestmark = pytest.mark.timeout(1800)

NOWHERE = Address("", 0)
ECHO = """
import signal, socket, sys
print("starting", flush=True)
server = socket.create_server((sys.argv[1], int(sys.argv[2])))
signal.signal(signal.SIGTERM, lambda *_: (print("leaving", flush=True), sys.exit(7)))
print("ready", flush=True)
kept = []
while True:
    kept.append(server.accept()[0])
"""
DIALLING = """
import socket, sys, time
for _ in range(int(sys.argv[3])):
    with socket.create_connection((sys.argv[1], int(sys.argv[2]))):
        pass
held = [socket.create_connection((sys.argv[1], int(sys.argv[2]))) for _ in range(3)]
print("holding", flush=True)
time.sleep(600)
"""


# --- without an engine ---


def test_the_engines_statistics_under_both_versions_of_control_groups() -> None:
    cpu = {"cpu_usage": {"total_usage": 2_500_000_000}}
    first = {"usage": 900, "stats": {"total_inactive_file": 300, "inactive_file": 1}}
    second = {"usage": 900, "stats": {"inactive_file": 200, "anon": 700}}
    assert usage_of({"cpu_stats": cpu, "memory_stats": first}) == Usage(2.5, 600)
    assert usage_of({"cpu_stats": cpu, "memory_stats": second}) == Usage(2.5, 700)
    assert usage_of({"cpu_stats": {"cpu_usage": {"total_usage": 0}}, "memory_stats": {}}) is None


def test_where_no_engine_answers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody.sock")
    with pytest.raises(EnvironmentUnfit, match=r"no Docker engine answers \(unix://.*: start Docker"):
        DockerProvider()
    assert not engine.answers()


def test_where_published_ports_are(monkeypatch: pytest.MonkeyPatch) -> None:
    for given, local, host in (
        ("", True, "127.0.0.1"),
        ("unix:///run/docker.sock", True, "127.0.0.1"),
        ("ssh://me@far.example", False, "far.example"),
        ("tcp://10.1.2.3:2376", False, "10.1.2.3"),
    ):
        monkeypatch.setenv("DOCKER_HOST", given)
        assert (engine.is_local(), engine.host()) == (local, host)


def test_the_engine_of_the_clients_context(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("DOCKER_HOST")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    assert engine.address() == "unix:///var/run/docker.sock"
    (tmp_path / "config.json").write_text('{"currentContext": "far"}')
    assert engine.address() == "unix:///var/run/docker.sock", "a context that was deleted"
    ContextAPI.create_context("far", host="ssh://me@far.example")
    assert (engine.address(), engine.host()) == ("ssh://me@far.example:22", "far.example")
    monkeypatch.setenv("DOCKER_HOST", "unix:///run/near.sock")
    assert engine.address() == "unix:///run/near.sock"


def test_an_engine_by_its_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An address or a context, whatever DOCKER_HOST says."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(EnvironmentUnfit, match=r"Docker has no context 'far': .* no config.json: echo '{}' > "):
        engine.connect("far")
    (tmp_path / "config.json").write_text("{}")
    assert engine.address("ssh://me@far.example") == "ssh://me@far.example"
    ContextAPI.create_context("far", host="tcp://127.0.0.1:9", skip_tls_verify=True)
    assert (engine.host("far"), engine.ip_of("far"), engine.is_local("far")) == ("127.0.0.1", "127.0.0.1", False)
    with pytest.raises(EnvironmentUnfit, match=r"Docker has no context 'near': docker context ls$"):
        engine.connect("near")
    with pytest.raises(
        EnvironmentUnfit, match=r"no Docker engine answers on 127\.0\.0\.1 \(far, http://127\.0\.0\.1:9: "
    ):
        engine.connect("far")
    with pytest.raises(EnvironmentUnfit, match=r"the host nowhere\.invalid of the Docker engine .* is not known"):
        engine.ip_of("ssh://me@nowhere.invalid")
    with pytest.raises(
        EnvironmentUnfit, match=r"the Docker engine ssh://me:secret@far: found .*, allowed: ssh://user@"
    ):
        engine.connect("ssh://me:secret@far")


def test_an_engines_own_authority_goes_before_the_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/network.pem")
    with closing(EngineApi(base_url="tcp://127.0.0.1:9", version="1.41")) as api:
        asked: tuple[Any, ...] = ("https://127.0.0.1:9", {}, None, None, None)
        assert api.merge_environment_settings(*asked)["verify"] == "/network.pem"
        api.verify = "/own.pem"
        assert api.merge_environment_settings(*asked)["verify"] == "/own.pem"


@pytest.mark.parametrize(
    ("program", "port", "words"),
    [
        (f"ssh -F {os.devnull}", 9, "[Cc]onnection refused"),
        ("no-such-ssh", 7, "No such file or directory: 'no-such-ssh'"),
    ],
)
def test_ssh_that_gets_nowhere_says_why(monkeypatch: pytest.MonkeyPatch, program: str, port: int, words: str) -> None:
    monkeypatch.setenv(ssh.VARIABLE, program)
    whole = rf"answers on 127\.0\.0\.1 \(ssh://me@127\.0\.0\.1:{port}: .*; ssh said: .*{words}"
    with pytest.raises(EnvironmentUnfit, match=whole):
        engine.connect(f"ssh://me@127.0.0.1:{port}")


def test_the_agent_gets_all_that_it_imports_and_needs_nothing_more(tmp_path: Path) -> None:
    """The image has Python and its standard library; whatever else the runner has is not there."""
    for name in MODULES:
        (tmp_path / "runner" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "runner" / name).write_bytes((PACKAGE / name).read_bytes())
    source = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from runner.provision import agent; print(agent.READY)"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", source], capture_output=True, text=True, check=False)
    assert done.stdout == "ready\n", done.stderr


def test_what_no_process_reads_stays_behind(tmp_path: Path) -> None:
    left = ("shop/__pycache__/views.pyc", ".git/HEAD", ".venv/pyvenv.cfg", ".venv/lib/a")
    for name in ("manage.py", "shop/views.py", *left):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    with tarfile.open(fileobj=engine.tree([tmp_path], owner=65534)) as archive:
        files = {Path("/", entry.name) for entry in archive if entry.isfile()}
    assert files == {tmp_path / "manage.py", tmp_path / "shop" / "views.py"}


# --- with one ---


@pytest.fixture(scope="module")
def host() -> Iterator[Path]:
    with running_engine(["python"]) as folder:
        yield folder


@pytest.fixture(scope="module")
def provider(host: Path) -> Iterator[DockerProvider]:
    with closing(DockerProvider()) as made:
        yield made


def start(provider: DockerProvider, folder: Path, source: str, *arguments: str, **more: Any) -> Service:
    address = provider.free_address()
    inside = address.inside
    argv = ["python3", "-c", source, *(arguments or (inside.host, str(inside.port)))]
    return provider.start("echo", Command(argv, kit=PYTHON, **more), address, folder / "logs" / "echo.log")


def said(service: Service, text: str) -> None:
    found = waiting.wait_for(lambda: text in service.log_tail() or None, 60)
    assert found, service.log_tail()


@pytest.mark.docker
@pytest.mark.server
def test_a_container_lives_as_a_service_does(provider: DockerProvider, tmp_path: Path) -> None:
    service = start(provider, tmp_path, ECHO, stop_signal=signal.SIGTERM)
    said(service, "ready")
    assert service.alive()
    assert service.exit_code is None
    assert service.usage().cpu_seconds > 0
    assert service.usage().memory_bytes > 1 << 20
    service.suspend()
    service.resume()
    spent = service.cpu_seconds()
    provider.stop(service)
    provider.stop(service)
    assert not service.alive()
    assert service.exit_code == 7
    assert service.log_path.read_text().splitlines() == ["starting", "ready", "leaving"]
    provider.start_again(service)
    said(service, "leaving\nstarting\nready")
    assert service.cpu_seconds() >= spent
    service.signal(signal.SIGKILL)
    assert service.wait(30)
    assert service.ending() == "was ended by SIGKILL"
    provider.stop(service)


HUNGRY = """
import os
print("on", sorted(os.sched_getaffinity(0)), flush=True)
held = [b"x" * 1_000_000 for _ in range(500)]
print("has it all", flush=True)
"""


@pytest.mark.docker
@pytest.mark.server
def test_a_role_has_what_is_allotted_to_it_and_no_more(host: Path, tmp_path: Path) -> None:
    roles = Roles.model_validate({"app": {"cpuset": 0, "memory": "64MB"}})
    with closing(DockerProvider(roles)) as provider:
        app = start(provider, tmp_path / "app", HUNGRY, "-", role="app")
        assert app.wait(60)
        assert app.ending() == "was killed for want of memory (the limit is 64 MB)"
        assert app.log_tail().startswith("on [0]\n")
        database = start(provider, tmp_path / "database", HUNGRY, "-", role="database")
        assert database.wait(60)
        assert "has it all" in database.log_tail()


PARENT = """
import os, subprocess, sys, time
subprocess.run([sys.executable, "-c", "held = [b'x' * 1_000_000 for _ in range(500)]"], check=False)
print("goes on", flush=True)
time.sleep(600)
"""


@pytest.mark.docker
@pytest.mark.server
def test_a_process_inside_is_killed_for_want_of_memory(host: Path, tmp_path: Path) -> None:
    """As a server's worker may be, which its master replaces."""
    roles = Roles.model_validate({"app": {"memory": "64MB"}})
    with closing(DockerProvider(roles)) as provider:
        app = start(provider, tmp_path, PARENT, "-", role="app")
        said(app, "goes on")
        assert app.alive()
        assert app.starved()
        remark = "(echo lives; a process of it was killed for want of memory (the limit is 64 MB))"
        assert app.log_tail().splitlines() == ["goes on", remark]


@pytest.mark.docker
@pytest.mark.server
def test_the_wire_is_watched_inside(provider: DockerProvider, tmp_path: Path) -> None:
    """Forty connections one after the other, then three at once: never four."""
    server = start(provider, tmp_path / "server", ECHO)
    said(server, "ready")
    port = server.address.port
    watch = provider.wire.watch(port)
    inside = server.address.inside
    client = start(provider, tmp_path / "client", DIALLING, inside.host, str(inside.port), "40")
    said(client, "holding")
    assert len(provider.wire.established(port)) == 3
    watch.close()
    held = watch.held(frozenset(), lambda _: True)
    assert (held.peak, held.opened, held.doubt) == (3, 43, "")
    provider.stop(client)
    assert provider.wire.established(port) == frozenset()
    provider.stop(server)


@pytest.mark.docker
@pytest.mark.server
def test_files_go_in_and_come_out(provider: DockerProvider, tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "words.py").write_text("WORD = 'carried'\n")
    private = provider.private_folder("private", unprivileged=True)
    (private / "secret").write_text("kept")
    wanted = tmp_path / "out" / "written.log"
    inside = provider.output(wanted)
    source = (
        "import os, sys, words; from pathlib import Path\n"
        f"Path({str(inside)!r}).write_text(words.WORD + Path({str(private / 'secret')!r}).read_text())\n"
        f"print(os.getuid(), oct(os.stat({str(private)!r}).st_mode & 0o777))"
    )
    command = Command(
        ["python3", "-c", source], {"PYTHONPATH": str(tmp_path / "code")}, kit=PYTHON, reads=[tmp_path / "code"]
    )
    assert provider.run(command, limit=30, what="a command").split() == ["65534", "0o700"]
    provider.bring(wanted)
    provider.bring(wanted)
    assert wanted.read_text() == "carriedkept"


@pytest.mark.docker
@pytest.mark.server
@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="no /dev/shm on this machine to read from")
def test_what_lies_in_memory_goes_in_too(provider: DockerProvider) -> None:
    """A container has a /dev of its own over it."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        words = Path(folder) / "words"
        words.write_text("carried")
        Path(folder).chmod(0o755)
        for reads in ([words], [words.parent]):
            command = Command(["cat", str(words)], kit=PYTHON, reads=reads)
            assert provider.run(command, limit=30, what="cat") == "carried"


@pytest.mark.docker
@pytest.mark.server
def test_failures_are_told_in_words(provider: DockerProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = Command(["python3", "-c", "print('last words'); raise SystemExit(4)"], kit=PYTHON)
    with pytest.raises(StackError, match=r"the attempt failed with exit code 4:\nlast words"):
        provider.run(failing, limit=30, what="the attempt")
    with pytest.raises(EnvironmentUnfit, match=r"the image .* has no program initdb"):
        provider.program(PYTHON, "initdb")
    missing = Kit("missing", "connbench-standin/nowhere:1", lambda name: name)
    with pytest.raises(EnvironmentUnfit, match=r"nowhere:1 is not on this engine and cannot be pulled .*: docker pull"):
        provider.program(missing, "anything")
    service = provider.start("gone", Command(["no-such-program"], kit=PYTHON), NOWHERE, tmp_path / "gone.log")
    assert service.wait(30)
    assert "not found" in service.log_tail()
    provider.stop(service)


@pytest.mark.docker
@pytest.mark.server
def test_tear_down_takes_the_runs_own_and_nothing_else(host: Path, tmp_path: Path) -> None:
    client = docker.from_env()
    stranger = client.containers.run(
        os.environ["CONNBENCH_PYTHON_IMAGE"], ["sleep", "600"], detach=True, labels={LABEL: "somebody-else"}
    )
    try:
        with closing(DockerProvider()) as provider:
            start(provider, tmp_path, ECHO)
            assert len(of_run(client, provider.run_name)) == 4, "network, volume, holder, service"
        assert of_run(client, provider.run_name) == []
        stranger.reload()
        assert stranger.status == "running"
    finally:
        stranger.remove(force=True)
        client.close()


KILLED = """
import sys, time
from pathlib import Path
from runner.provision.docker import DockerProvider
from runner.provision.commands import PYTHON
from runner.provision.service import Address, Command
provider = DockerProvider()
provider.start("sleeper", Command(["sleep", "600"], kit=PYTHON), Address("", 0), Path(sys.argv[1]) / "log")
print(provider.run_name, flush=True)
time.sleep(600)
"""


@pytest.mark.docker
@pytest.mark.server
def test_a_killed_runner_leaves_nothing(host: Path, tmp_path: Path) -> None:
    client = docker.from_env()
    with (
        closing(client),
        subprocess.Popen(
            [sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True, start_new_session=True
        ) as runner,
    ):
        assert runner.stdout is not None
        run = runner.stdout.readline().strip()
        assert len(of_run(client, run)) == 4
        runner.kill()
        runner.wait()
        assert waiting.wait_for(lambda: not of_run(client, run) or None, 60, every=0.5)


def of_run(client: docker.DockerClient, run: str) -> list[Any]:
    own: dict[str, Any] = {"label": f"{LABEL}={run}"}
    containers = client.containers.list(all=True, filters=own, ignore_removed=True)
    return [*containers, *client.networks.list(filters=own), *client.volumes.list(filters=own)]
