"""`connbench plan` on a screen: what would run, what it should open, how long it takes."""

from rich.console import Console
from rich.table import Table

from runner.matrix.cells import Cell, Prediction
from runner.matrix.deployment import Deployment
from runner.matrix.expansion import Expansion
from runner.matrix.prediction import predict
from runner.plan import Plan
from runner.progress import clock
from runner.report.wording import few


def print_plan(expansion: Expansion, plan: Plan, console: Console) -> None:
    """Cells with predicted connections, skipped cells with reasons, the time."""
    for database in dict.fromkeys(cell.database_name for cell in plan.cells.values()):
        cells = [cell for cell in plan.cells.values() if cell.database_name == database]
        console.print(_cells(database, cells))
    if expansion.skipped:
        console.print("\n[bold]Skipped[/]")
        reasons: dict[str, list[str]] = {}
        for skipped in expansion.skipped:
            reasons.setdefault(skipped.reason, []).append(skipped.id)
        for reason, names in reasons.items():
            console.print(f"  {few(names)}: {reason}", markup=False, highlight=False)
    blocks = "1 block" if plan.blocks == 1 else f"{plan.blocks} blocks"
    about = clock(plan.estimated_seconds)
    if plan.adaptive:
        blocks = f"{plan.adaptive.min} to {blocks}, until intervals are within {plan.adaptive.until:.1%}"
        about = f"{clock(plan.at_least.estimated_seconds)} to {about}"
    console.print(
        f"\n{len(plan.cells)} cells, {blocks}, {len(plan.attempts)} attempts: about {about} "
        f"(minutes:seconds), {clock(plan.measuring_seconds)} of them under load",
        highlight=False,
    )


def print_deployment(deployment: Deployment, console: Console) -> None:
    """What a plan from a `.env` file rests on, and what of the file it leaves out."""
    for heading, lines in (("Assumed", deployment.assumed), ("Not understood", deployment.not_understood)):
        if lines:
            console.print(f"[bold]{heading}[/]")
        for line in lines:
            console.print(f"  {line}", markup=False, highlight=False)


def _cells(database: str, cells: list[Cell]) -> Table:
    spec = cells[0].database
    distances = sorted({cell.database.round_trip for cell in cells})
    away = f", round trip {', '.join(f'{seconds * 1000:g}' for seconds in distances)} ms" if any(distances) else ""
    table = Table(
        title=f"{database}: {spec.engine}, {spec.max_connections} connections at most{away}",
        title_justify="left",
        box=None,
    )
    table.add_column("cell", no_wrap=True)
    table.add_column("server")
    pooled = any(cell.pooler is not None for cell in cells)
    for heading in ("peak", *(["clients"] if pooled else []), "opened", "left idle"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("because", style="dim")
    for cell in cells:
        predicted = predict(cell)
        table.add_row(
            cell.id,
            cell.server.title,
            span(predicted.min, predicted.max),
            *([_clients(predicted)] if pooled else []),
            _opened(predicted),
            span(predicted.lingering_min, predicted.lingering_max),
            predicted.formula,
        )
    return table


def span(least: int, most: int | None) -> str:
    """`4`, `1–16`, `1 or more`."""
    if most is None:
        return f"{least} or more"
    return str(least) if least == most else f"{least}–{most}"


def _clients(predicted: Prediction) -> str:
    """The app's side of a pooler, of which the other columns tell the database's."""
    return "" if predicted.clients is None else span(predicted.clients.min, predicted.clients.max)


def _opened(predicted: Prediction) -> str:
    if predicted.opened_per_request is not None:
        return f"{predicted.opened_per_request:g} a request"
    return "unbounded" if predicted.opened_max is None else f"≤ {predicted.opened_max}"
