"""A matrix says `kind`, and that decides which server it is."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from runner.stacks.servers import SERVERS as KINDS
from runner.stacks.servers import AnyServerSpec, ServerSpec
from runner.stacks.servers.base import worker_environment
from runner.stacks.servers.daphne import DaphneSpec
from runner.stacks.servers.granian import GranianSpec
from runner.stacks.servers.gunicorn import GunicornSpec
from runner.stacks.servers.mod_wsgi import ModWsgiSpec
from runner.stacks.servers.runserver import RunserverSpec
from runner.stacks.servers.uvicorn import UvicornSpec
from runner.stacks.servers.uwsgi import UwsgiSpec
from tests.stacks.servers.launching import LAUNCH

SERVERS: TypeAdapter[ServerSpec] = TypeAdapter(AnyServerSpec)


@pytest.mark.parametrize(
    ("written", "made"),
    [
        ({"kind": "gunicorn", "workers": 2}, GunicornSpec(workers=2)),
        ({"kind": "uwsgi", "threads": 2}, UwsgiSpec(threads=2)),
        ({"kind": "runserver", "threading": False}, RunserverSpec(threading=False)),
        ({"kind": "uvicorn", "workers": 2}, UvicornSpec(workers=2)),
        ({"kind": "daphne"}, DaphneSpec()),
        ({"kind": "granian", "interface": "asgi"}, GranianSpec(interface="asgi")),
        ({"kind": "mod_wsgi", "threads": 2}, ModWsgiSpec(threads=2)),
    ],
)
def test_the_kind_decides(written: dict[str, Any], made: ServerSpec) -> None:
    assert SERVERS.validate_python(written) == made


@pytest.mark.parametrize(
    "written",
    [{"workers": 2}, {"kind": "tomcat"}, {"kind": "gunicorn", "processes": 2}, {"kind": "uwsgi", "workers": 2}],
)
def test_what_is_no_server_or_not_this_ones_parameter_is_refused(written: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SERVERS.validate_python(written)


@pytest.mark.parametrize("spec", [kind.model_validate({}) for kind in KINDS])
def test_specs_are_values(spec: ServerSpec) -> None:
    """They are compared, and never changed."""
    assert SERVERS.validate_json(spec.model_dump_json()) == spec
    with pytest.raises(ValidationError):
        setattr(spec, "kind", "other")  # noqa: B010  by an assignment, mypy would not let it


def test_a_workers_environment() -> None:
    env = worker_environment(LAUNCH)
    assert env["PATH"].startswith("/env/bin:")
    assert env["PYTHONUNBUFFERED"] == "1"
    assert LAUNCH.env.items() <= env.items()
