"""`connbench run --scheduler` and `connbench resume --scheduler`, as a list of steps."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from distributed import Client
from rich.console import Console

from runner.apps import for_app
from runner.bench import Machine, Options, run_record, stop_rule
from runner.errors import UsageError
from runner.matrix.expansion import expand
from runner.matrix.reading import read_matrix
from runner.plan import Plan, make_plan
from runner.progress import reporter
from runner.results import repair
from runner.results.merge import common_host
from runner.results.schema import RunEnd, RunRecord
from runner.results.store import RunFolder
from runner.site import site_of_many
from runner.spread.coordinator import Block, Coordinator
from runner.spread.hosts import Hosts
from runner.spread.order import Description, Order, source_hash
from runner.stacks.app import load_app

CONNECT = 5.0


def measure(options: Options, scheduler: str, messages: Console) -> tuple[RunFolder, RunEnd]:
    """Runs the matrix on the scheduler's hosts into one folder here."""
    if options.shard is not None:
        raise UsageError("--scheduler and --shard: a scheduler deals out the blocks by itself; use one of the two")
    matrix = read_matrix(options.matrix)
    if matrix.hosts is not None:
        raise UsageError("--scheduler and hosts: each block would be measured on the same hosts; use one of the two")
    expansion = expand(matrix, options.most_cells)
    seed = random.SystemRandom().randrange(2**32) if options.seed is None else options.seed
    planned = make_plan(expansion, matrix, seed, options.only, options.quick, options.blocks)
    plan = for_app(planned, load_app(matrix.app))
    if hosted := sorted({cell.database_name for cell in plan.cells.values() if cell.database.hosted}):
        raise UsageError(
            f"databases: {hosted[0]} is one server (url_from), which one host at a time measures: leave out --scheduler"
        )
    order = Order(
        matrix=matrix.model_dump(mode="json"),
        seed=seed,
        only=options.only,
        quick=options.quick,
        blocks=options.blocks,
        provider=options.provider,
        block=1,
    )
    with _connected(scheduler) as client:
        hosts = _gathered(client, scheduler, order, None, messages)
        record = run_record(options, matrix, expansion, plan, _machine(hosts, options.provider))
        record = record.model_copy(update={"hosts": hosts.ever})
        folder = RunFolder.create(options.out, record)
        folder.write_plan(plan.rows())
        messages.print(f"{len(plan.cells)} cells, results in {folder.path}", highlight=False, soft_wrap=True)
        return folder, _execute(client, hosts, folder, plan, _blocks(plan, order), messages)


def finish(folder: RunFolder, record: RunRecord, plan: Plan, scheduler: str, messages: Console) -> RunEnd | None:
    """Measures the blocks of a spread run of which anything is missing, each whole; None where nothing is."""
    order = Order(
        matrix=record.matrix,
        seed=record.seed,
        only=record.only,
        quick=record.quick,
        blocks=None if record.adaptive else record.blocks,
        provider=record.provider,
        block=1,
    )
    blocks = [found for block in _blocks(plan, order) if (found := _again(block, plan, folder)) is not None]
    enough = stop_rule(plan, folder)
    if not blocks or enough(blocks[0].order.block - 1):
        return None
    began_on = Description(host=record.hosts[0], versions=record.versions, source=source_hash(order.app))
    with _connected(scheduler) as client:
        hosts = _gathered(client, scheduler, order, began_on, messages)
        folder.event("resumed", attempts=sum(len(block.planned) for block in blocks))
        return _execute(client, hosts, folder, plan, blocks, messages)


def _gathered(client: Client, scheduler: str, order: Order, norm: Description | None, messages: Console) -> Hosts:
    if order.matrix["load"].get("hosts"):
        raise UsageError(
            "--scheduler and load.hosts: a block's host is known too late to be joined; use one of the two"
        )
    hosts = Hosts(client, scheduler, order)
    hosts.norm = norm
    with messages.status("asking the hosts what they are (the first time they build the app's environment)"):
        hosts.gather()
    assert hosts.norm is not None, "somebody has answered"
    if hosts.norm.source != source_hash(order.app):
        raise UsageError(f"--scheduler {scheduler}: its hosts have another connbench or another app than this checkout")
    return hosts


def _machine(hosts: Hosts, provider: str) -> Machine:
    assert hosts.norm is not None, "somebody has answered"
    return Machine(common_host(hosts.ever), hosts.norm.versions, site_of_many(provider).kind)


def _execute(
    client: Client, hosts: Hosts, folder: RunFolder, plan: Plan, blocks: Sequence[Block], messages: Console
) -> RunEnd:
    with reporter(messages, sum(block.seconds for block in blocks)) as progress:
        coordinator = Coordinator(client, hosts, folder, progress)
        return coordinator.execute(_waves(plan, blocks), stop_rule(plan, folder))


def _blocks(plan: Plan, order: Order) -> list[Block]:
    seconds = plan.planned_seconds / plan.blocks
    found: dict[int, Block] = {}
    for attempt in plan.attempts:
        if attempt.block not in found:
            of_block = order.model_copy(update={"block": attempt.block})
            found[attempt.block] = Block(of_block, {}, seconds)
        found[attempt.block].planned[attempt.cell] = attempt
    return list(found.values())


def _waves(plan: Plan, blocks: Sequence[Block]) -> list[list[Block]]:
    """All side by side, up to the fewest that there can be; each of the others when it is known to be needed."""
    certain = plan.at_least.blocks
    first = [block for block in blocks if block.order.block <= certain]
    later = [[block] for block in blocks if block.order.block > certain]
    return [*([first] if first else []), *later]


def _again(block: Block, plan: Plan, folder: RunFolder) -> Block | None:
    """The block under the number after its last, if anything of it is missing."""
    groups = [group for group in plan.groups if group.block == block.order.block]
    lasts = [repair.last_attempt(folder, group) for group in groups]
    if all(last and repair.is_whole(folder, group, last) for group, last in zip(groups, lasts, strict=True)):
        return None
    number = max(lasts) + 1
    planned = {cell: replace(attempt, attempt=number) for cell, attempt in block.planned.items()}
    return replace(block, order=block.order.model_copy(update={"attempt": number}), planned=planned)


@contextmanager
def _connected(scheduler: str) -> Iterator[Client]:
    try:
        client = Client(scheduler, timeout=CONNECT, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise UsageError(
            f"--scheduler {scheduler}: no Dask scheduler answers there ({error}); `dask scheduler` starts one"
        ) from error
    with client:
        yield client
