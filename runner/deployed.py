"""A cell's command line without what the harness needs of it: as one would deploy it."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

from runner.matrix.cells import Cell
from runner.provision.service import Address
from runner.stacks.app import AppDescription
from runner.stacks.servers.base import Launch

#: The options that serve the measuring alone, with how many values each has; by the server's kind.
MEASURING: Mapping[str, Mapping[str, int]] = {
    # Its hooks are among its `files`, where it finds them by itself.
    "gunicorn": {
        "--worker-tmp-dir": 1,
        "--access-logfile": 1,
        "--access-logformat": 1,
        "--no-control-socket": 0,
        "--config": 1,
    },
    "uwsgi": {"--home": 1, "--req-logger": 1, "--log-format": 1},
    "uvicorn": {"--log-config": 1},
    "granian": {"--log-config": 1, "--access-log": 0, "--access-log-fmt": 1},
    "daphne": {"--access-log": 1},
}
#: Behind a proxy on the same host; nothing is bound here.
BEHIND_PROXY = Address("127.0.0.1", 8000)


def deployed_command(cell: Cell, app: AppDescription) -> list[str]:
    """The server's command line with everything in it that bears on its speed or its connections.

    What has no command line of its own (Apache) is given as the directive that says the same.
    """
    if cell.server.kind == "mod_wsgi":
        processes, threads = cell.server.process_count, cell.server.threads_per_process
        return ["WSGIDaemonProcess", "app", f"processes={processes}", f"threads={threads}"]
    with tempfile.TemporaryDirectory(prefix="connbench-deployed-") as scratch:
        launch = Launch(
            bin=Path("/nowhere"),
            project=Path(),
            wsgi=app.wsgi,
            asgi=app.asgi,
            address=BEHIND_PROXY,
            access_log=Path("access.log"),
            scratch=Path(scratch),
            env={},
        )
        argv = list(cell.server.command(launch).argv)
    measuring = dict(MEASURING.get(cell.server.kind, {}))
    if "graceful_timeout" not in cell.server.model_fields_set:
        measuring["--graceful-timeout"] = 1
    return _without([argv[0].rpartition("/")[2], *argv[1:]], measuring)


def _without(argv: list[str], options: Mapping[str, int]) -> list[str]:
    kept: list[str] = []
    words = iter(argv)
    for word in words:
        if word not in options:
            kept.append(word)
            continue
        for _ in range(options[word]):
            next(words)
    return kept
