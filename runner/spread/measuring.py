"""`python -m runner.spread.measuring describe|measure`: a worker's own process for one order.

The order is the first line of stdin, the answer is stdout: JSON for `describe`, a parcel for `measure`. It is a process
of its own because a run wants the main thread, for signals. It leaves in good order when stdin ends, which is what
happens when its worker is killed; so nothing is measured for nobody.
"""

import os
import signal
import sys
import tempfile
import threading
from pathlib import Path

from rich.console import Console

from runner.bench import this_machine
from runner.errors import ConnbenchError
from runner.interrupts import terminate_like_interrupt
from runner.progress import Lines
from runner.results.store import RunFolder
from runner.run import Run
from runner.site import site_of_many
from runner.spread.order import Description, Order, source_hash
from runner.spread.parcel import pack
from runner.turn import own_turn


def describe(order: Order, messages: Console) -> Description:
    """This host; builds what the plan needs, so that the first block takes no longer than the others."""
    plan = order.plan()
    site = site_of_many(order.provider)
    site.require(plan)
    machine = this_machine(plan, site.environments(plan.cells.values(), messages), site)
    return Description(host=machine.host, versions=machine.versions, source=source_hash(order.app))


def measure(order: Order, messages: Console, folder: Path) -> bytes:
    """Runs the block when this host has nothing else to measure; all that came of it, as a parcel."""
    plan = order.plan()
    site = site_of_many(order.provider)
    site.require(plan)
    environments = site.environments(plan.cells.values(), messages)
    apps = dict.fromkeys(plan.cells, order.app)
    lines = Lines(messages, plan.planned_seconds)
    with own_turn(wait=True, say=messages.print):
        Run(plan, apps, environments, RunFolder(folder), lines, site.provider).execute()
    return pack(folder)


def main(what: str) -> None:
    """Answers one order; the exit code is that of a command, the reason is on stderr."""
    # What anything else prints is no part of the answer.
    answer = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    messages = Console(stderr=True)
    with terminate_like_interrupt():
        # Unbuffered: the thread that waits for the end must hold no lock when this process ends.
        orders = os.fdopen(sys.stdin.fileno(), "rb", buffering=0, closefd=False)
        order = Order.model_validate_json(orders.readline())
        threading.Thread(target=_leave_with_the_worker, daemon=True).start()
        try:
            if what == "describe":
                answer.write(describe(order, messages).model_dump_json().encode())
            else:
                with tempfile.TemporaryDirectory(prefix="connbench-block-") as folder:
                    answer.write(measure(order, messages, Path(folder)))
        except ConnbenchError as error:
            messages.print(str(error), markup=False, highlight=False, soft_wrap=True)
            sys.exit(error.exit_code)
        except KeyboardInterrupt:
            sys.exit(130)
    answer.close()


def _leave_with_the_worker() -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main(sys.argv[1])
