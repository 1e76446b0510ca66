"""What a search came to: for a terminal and as Markdown."""

from collections.abc import Callable, Sequence

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from runner.analysis.advice import State
from runner.analysis.advice_model import Advice, ContestAdvice, Place, Question
from runner.analysis.budget import SITUATIONS, WORDS, Budget, PoolerClients
from runner.analysis.decisions import would_have_seen
from runner.analysis.model import Judgement
from runner.report.comparison import RATIO_TITLES, escaped
from runner.report.wording import NOTHING, counted, duration, few, short_verdict, three_digits

_STYLES = {"best": "bold green", "level": "bold green", "underpowered": "bold yellow", "none": "bold red"}
_STANDINGS = {
    "best": "the best",
    "level": "cannot be told from the best",
    "slower": "shown to be worse than the best",
    "left behind": "left behind",
    "ruled out": "ruled out",
}
_UNITS = {"throughput_rps": "requests/s", "capacity_rps": "requests/s", "latency_ms.p95": "ms"}


def foretell(question: Question, cells: int, coarse: float, within: float, say: Callable[[str], object]) -> None:
    """Before anything is started: what will be measured, what will not, and how long it takes."""
    for contest in question.contests:
        say(f"{contest.name}: {counted(len(contest.candidates), 'candidate')}, today's is {contest.present}")
        not_measured = contest.not_measured
        for one in contest.candidates:
            if one.cell in not_measured:
                say(f"  not measured: {one.cell}: {one.ruled_out}")
            elif one.ruled_out:
                say(f"  today's does not fit: {one.ruled_out}")
    say(
        f"{counted(cells, 'cell')} to measure: a coarse pass of about {duration(coarse)}, then what can still win, "
        f"at most {duration(within)} in all"
    )


def round_line(block: int, found: Sequence[State], cells: int) -> str:
    """One line after a block: how many are in the race."""
    parts = [
        f"{one.contest}: {'decided' if one.decided else counted(len(one.racing), 'setting') + ' can still win'}"
        for one in found
    ]
    following = f"; {counted(cells, 'cell')} in the next block" if cells else ""
    return f"block {block}: {', '.join(parts)}{following}"


def print_advice(advice: Advice, console: Console) -> None:
    """Each database's recommendation, ready to paste, its budget, and what became of the others."""
    for contest in advice.contests:
        console.print(Text(f"\n{headline(contest)}", _STYLES[contest.verdict]))
        for line in sentences(contest):
            console.print(Padding(Text(line), (0, 0, 0, 2)))
        for title, text in pastes(contest):
            console.print(Text(f"\n# {title}", "dim"))
            # Nothing is wrapped that is to be pasted.
            console.print(text, markup=False, highlight=False, soft_wrap=True)
        if contest.budget is not None:
            console.print()
            console.print(_budget_table(contest))
        console.print()
        console.print(Padding(_places_table(contest), (0, 0, 0, 2)))


def advice_markdown(advice: Advice) -> str:
    """The same as Markdown."""
    parts = []
    for contest in advice.contests:
        parts += [f"## {escaped(headline(contest))}", ""]
        parts += [f"- {escaped(line)}" for line in sentences(contest)]
        for title, text in pastes(contest):
            language = "python" if title.startswith("settings") else ""
            parts += ["", f"{title}:", "", f"```{language}", text, "```"]
        if contest.budget is not None:
            parts += ["", *_markdown(_budget_heading(contest), _budget_rows(contest))]
        parts += ["", *_markdown(_PLACES, _place_rows(contest)), ""]
    return "\n".join(parts).rstrip() + "\n"


def headline(contest: ContestAdvice) -> str:
    """`pg: pg-uwsgi-persistent`, or why there is nothing to recommend."""
    if contest.cell is None:
        return f"{contest.name}: nothing to recommend: {contest.reason}"
    kept = " (the settings of today)" if contest.cell == contest.present else ""
    return f"{contest.name}: {contest.cell}{kept}"


def sentences(contest: ContestAdvice) -> list[str]:
    """Why this one, what it gains, and how sure that is."""
    if contest.cell is None:
        return _in_doubt(contest)
    lines = [f"{contest.reason[0].upper()}{contest.reason[1:]}."]
    level = [cell for cell in (contest.leader, *contest.level_with) if cell not in (None, contest.cell)]
    if level:
        lines.append(f"As good: {few([str(cell) for cell in level], 6)}.")
    if contest.simpler:
        lines.append(f"Simpler than {contest.leader}, the quickest by a hair: {contest.simpler}.")
    if contest.simpler_still:
        lines.append(_simpler_still(contest))
    lines.append(_gain(contest))
    lines += [f"{text[0].upper()}{text[1:]}." for text in contest.kept]
    lines.append(_certainty(contest))
    if contest.budget is not None:
        lines += _of_the_budget(contest.budget)
    return lines


def _simpler_still(contest: ContestAdvice) -> str:
    lead = next((place.lead for place in contest.places if place.cell == contest.simpler_still), None)
    behind = 0.0 if lead is None or lead.value is None else 1 - min(lead.value, 1 / lead.value)
    return f"Simpler still, and behind the best by {behind * 100:.0f} %, which may be chance: {contest.simpler_still}."


def _in_doubt(contest: ContestAdvice) -> list[str]:
    if contest.verdict != "underpowered":
        return []
    seen = f" ({would_have_seen(contest.detectable)})" if contest.detectable is not None else ""
    names = few([str(contest.leader), *contest.level_with], 6)
    lines = [f"In the race to the end: {names}{seen}. More time, or fewer candidates, tell them apart (--within)."]
    if contest.gain is not None and contest.gain.verdict == "distinguishable":
        title = RATIO_TITLES[contest.metric]
        lines.append(f"{contest.leader} against today's {contest.present}: {contest.gain.text} the {title}.")
    return lines


def _gain(contest: ContestAdvice) -> str:
    title = RATIO_TITLES[contest.metric]
    if contest.cell == contest.present:
        return "Nothing gains on the settings of today."
    gain = contest.gain
    if gain is None or gain.value is None:
        return f"The gain on today's {contest.present} is not known: nothing of it that counts was measured beside it."
    if gain.verdict == "distinguishable":
        return f"Against today's {contest.present}: {gain.text} the {title}, each end a 95 % bound."
    return f"Cannot be told from today's {contest.present}: {title} {gain.text}."


def _certainty(contest: ContestAdvice) -> str:
    """What is claimed of those that ran to the end is claimed of nobody else."""
    text = (
        "The truly best of those measured is among the best and those as good in 19 searches of 20, "
        "unless a limit ruled it out"
    )
    if contest.left_behind:
        text = f"Left behind, and perhaps better: {few(list(contest.left_behind), 6)}; more time tells (--within)"
    if contest.level_with and contest.detectable is not None:
        text += f"; between these {would_have_seen(contest.detectable).replace('would have', 'one would have')}"
    return f"{text}. {counted(contest.blocks, 'block')}."


def _of_the_budget(budget: Budget) -> list[str]:
    lines = []
    if not budget.surge_fits:
        lines.append(
            f"Mind: this budget holds for the matrix's number of clients; with more, a fault may find "
            f"{_up_to(budget.surge)} connections open, and there is room for {budget.room}."
        )
    if budget.pooler is not None:
        lines += _of_the_pooler(budget.pooler)
    if budget.aliases > 1:
        lines.append(
            f"Mind: the {budget.aliases} aliases of the app's DATABASES count as ways to this one server, as they were "
            "measured; one that has a server of its own takes its share there."
        )
    return lines


def _of_the_pooler(pooler: PoolerClients) -> list[str]:
    lines = []
    if not pooler.bounded:
        most = None if pooler.surge is None else 2 * pooler.surge
        lines.append(
            f"Mind: with more than the matrix's number of clients a rolling restart may bring {_up_to(most)} "
            f"connections to the pooler of a host, which lets in {pooler.limit}."
        )
    if pooler.waiting:
        lines.append(
            f"Mind: what is connected keeps one of the pooler's {pooler.sessions} sessions: in a rolling restart up to "
            f"{pooler.waiting} connections of a host wait until the old processes are gone."
        )
    return lines


def _up_to(most: int | None) -> str:
    return "any number of" if most is None else f"up to {most}"


def pastes(contest: ContestAdvice) -> list[tuple[str, str]]:
    """What is to be pasted, each with where it goes."""
    paste = contest.paste
    if paste is None:
        return []
    found = [("settings.py", paste.settings), ("server", paste.command), *paste.files.items()]
    return [*found, ("pooler", paste.pooler)] if paste.pooler else found


def _budget_heading(contest: ContestAdvice) -> tuple[str, ...]:
    today = () if contest.cell == contest.present else ("today",)
    return ("connections", "recommended", *today, "room")


def _budget_rows(contest: ContestAdvice) -> list[tuple[str, ...]]:
    """One row a situation, of the recommended settings and of today's."""
    mine, today = contest.budget, contest.present_budget
    assert mine is not None, "there is one with a recommendation"
    others = [] if today is None or contest.cell == contest.present else [today]
    each = [_most(budget.each) for budget in (mine, *others)]
    rows: list[tuple[str, ...]] = [(f"one host ({mine.formula})", *each, "")]
    for name in SITUATIONS:
        figures = (_most(budget.by_situation[name]) for budget in (mine, *others))
        rows.append((WORDS[name], *figures, str(mine.room)))
    return rows


def _most(connections: int | None) -> str:
    return "any number" if connections is None else str(connections)


def _budget_table(contest: ContestAdvice) -> Padding:
    hosts = contest.budget.hosts if contest.budget is not None else 1
    table = Table(title=f"Connections of {counted(hosts, 'host')}", title_justify="left", box=None)
    for number, heading in enumerate(_budget_heading(contest)):
        table.add_column(heading, justify="right" if number else "left", no_wrap=bool(number))
    for row in _budget_rows(contest):
        table.add_row(*map(Text, row))
    return Padding(table, (0, 0, 0, 2))


_PLACES = ("cell", "figure", "the best is", "blocks", "what became of it")


def _place_rows(contest: ContestAdvice) -> list[tuple[str, ...]]:
    unit = _UNITS[contest.metric]
    return [
        (
            place.cell,
            NOTHING if place.value is None else f"{three_digits(place.value)} {unit}",
            _lead(place.lead),
            str(place.blocks),
            _became(place),
        )
        for place in contest.places
    ]


def _lead(lead: Judgement | None) -> str:
    return "" if lead is None else short_verdict(lead)


def _became(place: Place) -> str:
    words = _STANDINGS[place.standing]
    return f"{words}: {place.reason}" if place.reason else words


def _places_table(contest: ContestAdvice) -> Table:
    table = Table(box=None)
    for heading, justify in zip(_PLACES, ("left", "right", "left", "right", "left"), strict=True):
        table.add_column(heading, justify=justify, no_wrap=heading in ("cell", "figure"))  # type: ignore[arg-type]
    for row in _place_rows(contest):
        table.add_row(*map(Text, row))
    return table


def _markdown(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [heading, ["---"] * len(heading), *[[escaped(value) for value in row] for row in rows]]
    return [f"| {' | '.join(line)} |" for line in lines]
