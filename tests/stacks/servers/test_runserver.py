"""Django's own server: what is started and what it can hold."""

from runner.stacks.servers.runserver import RunserverSpec
from tests.stacks.servers.launching import LAUNCH


def test_a_thread_for_each_client() -> None:
    spec = RunserverSpec()
    assert (spec.process_count, spec.threads_per_process, spec.client_limit) == (1, None, None)
    assert (spec.context, spec.keeps_clients_alive, spec.opened_at_start) == ("client", True, 1)
    assert spec.title == "runserver"


def test_no_threads_at_all() -> None:
    spec = RunserverSpec(threading=False)
    assert (spec.threads_per_process, spec.context, spec.keeps_clients_alive) == (1, "thread", False)
    assert spec.title == "runserver --nothreading"


def test_what_is_started() -> None:
    command = RunserverSpec().command(LAUNCH)
    assert command.argv == ["/env/bin/python", "manage.py", "runserver", "--noreload", "127.0.0.1:15001"]
    assert command.env["CONNBENCH_RUNSERVER_LOG"] == "/logs/access.log"
    assert "--nothreading" in RunserverSpec(threading=False).command(LAUNCH).argv
    assert command.cwd == LAUNCH.project
