"""`connbench advise` from the command line's words to the exit code: a coarse pass, then more of what can still win.

What is measured is a run like any other, with a folder of its own; what is said of it is `runner.analysis.advice`'s.
"""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from pydantic import ValidationError
from rich.console import Console

from runner.analysis.advice import State, advise, states
from runner.analysis.advice_model import Advice, Question
from runner.analysis.race import better_half
from runner.analysis.summary import write_summary
from runner.bench import Options, run_record, this_machine
from runner.contest import Search, make_search
from runner.errors import UsageError
from runner.matrix.limits import AdviseSpec
from runner.matrix.reading import read_matrix
from runner.matrix.shape import own_words
from runner.matrix.spec import MatrixFile
from runner.plan import ATTEMPT_OVERHEAD, DATABASE_SETUP, WINDOW_OVERHEAD, Plan, PlannedGroup, plan_of_rounds, regrouped
from runner.progress import Reporter, reporter
from runner.report.advice import advice_markdown, foretell, print_advice, round_line
from runner.report.html import write_report
from runner.report.wording import duration
from runner.results.schema import RunEnd
from runner.results.store import RunFolder, read_json, write_json
from runner.run import Run
from runner.site import choose_site
from runner.stacks.app import load_app
from runner.turn import own_turn

#: Blocks of all candidates, before anybody is left out for want of time.
COARSE = 2
#: So many blocks those that go on are to have: fewer tell settings apart that differ much. Where there is no time for
#: that, the better half of them goes on, and is asked again so many blocks later.
WANTED, RUNG = 10, 2
#: The most that there are.
MOST_BLOCKS = 16
#: What a search comes to, as a rule, in blocks of all candidates; the bar is drawn for them.
LIKELY_BLOCKS = 4

Form = Literal["text", "md"]
QUESTION, ADVICE = "advise.json", "advice.json"


@dataclass(frozen=True)
class AdviseOptions:
    """What the command line asked for; `limits` has what it says of `AdviseSpec`, on top of the matrix's."""

    run: Options
    limits: Mapping[str, Any]
    form: Form = "text"


def run_advise(options: AdviseOptions, results: Console, messages: Console) -> int:
    """Searches until there is an answer or no more time.

    Returns 0 with a recommendation, 1 without one and for a run that broke off, 130 for an interrupt.
    """
    matrix = read_matrix(options.run.matrix)
    limits = _limits(matrix, options.limits)
    app = load_app(matrix.app)
    search = make_search(matrix, limits, app, MOST_BLOCKS - COARSE + 1)
    seed = random.SystemRandom().randrange(2**32) if options.run.seed is None else options.run.seed
    say = partial(messages.print, highlight=False, markup=False, soft_wrap=True)
    if not search.cells:
        first = search.question.contests[0].candidates[0]
        raise UsageError(
            f"every setting is ruled out before it is measured, such as {first.cell}: {first.ruled_out}: "
            "raise the limits, or put other settings into the matrix"
        )
    plan = plan_of_rounds(search.cells, matrix, seed, MOST_BLOCKS)
    coarse = DATABASE_SETUP + COARSE * _block_seconds(plan, plan.cells)
    foretell(search.question, len(plan.cells), coarse, limits.within, say)
    if coarse > limits.within:
        raise UsageError(
            f"a coarse pass alone takes about {duration(coarse)}, and there are {duration(limits.within)}: "
            "raise --within, take values out of the matrix, or shorten its load"
        )
    site = choose_site(options.run.provider, plan)
    site.require(plan)
    environments = site.environments(plan.cells.values(), messages)
    with own_turn(wait=options.run.wait, say=say):
        folder = RunFolder.create(
            options.run.out,
            run_record(options.run, matrix, search.expansion, plan, this_machine(plan, environments, site)),
        )
        folder.write_plan(plan.rows())
        write_json(folder.path / QUESTION, search.question)
        say(f"results in {folder.path}")
        with reporter(messages, plan.planned_seconds * LIKELY_BLOCKS / plan.blocks) as progress:
            pace = _Pace(plan, folder, search.question, progress)
            apps = dict.fromkeys(plan.cells, app)
            run = Run(plan, apps, environments, folder, progress, site.provider)
            end = run.execute(pace.enough, pace.choose)
    return _conclude(folder, end, search, options, results)


def _limits(matrix: MatrixFile, given: Mapping[str, Any]) -> AdviseSpec:
    """The matrix's `advise:` with what the command line says in its place."""
    said = matrix.advise.model_dump(mode="json", exclude_unset=True) if matrix.advise else {}
    try:
        return AdviseSpec.model_validate({**said, **{key: value for key, value in given.items() if value is not None}})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0]).replace("_", "-")
        raise UsageError(f"--{name}: {own_words(first)}") from error


def _block_seconds(plan: Plan, cells: Sequence[str] | Mapping[str, Any]) -> float:
    """What one block of these cells takes, on two cores with nothing else on them."""
    chosen = [plan.cells[name] for name in cells]
    return sum(cell.planned_seconds + ATTEMPT_OVERHEAD + WINDOW_OVERHEAD * cell.load.windows for cell in chosen)


class _Pace:
    """Between blocks: who goes on, and whether there is time for another."""

    def __init__(
        self,
        plan: Plan,
        folder: RunFolder,
        question: Question,
        progress: Reporter,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._plan = plan
        self._folder = folder
        self._question = question
        self._progress = progress
        self._clock = clock
        self._begun = clock()
        self._block_begun = self._begun
        self._chosen = list(plan.cells)
        #: How much longer attempts take here than they are planned to.
        self._slowness = 1.0

    def choose(self, block: int, _: Sequence[PlannedGroup]) -> Sequence[PlannedGroup]:
        """The next block's groups."""
        self._block_begun = self._clock()
        return regrouped(self._plan, block, self._chosen)

    def enough(self, block: int) -> bool:
        """Whether no block follows; if one does, it is settled who runs in it."""
        now = self._clock()
        self._slowness = (now - self._block_begun) / _block_seconds(self._plan, self._chosen)
        found = states(self._folder, self._question)
        left = self._question.limits.within - (now - self._begun)
        self._chosen = self._going_on(found, block, left)
        self._progress.line(round_line(block, found, len(self._chosen)))
        if self._chosen and self._seconds(self._chosen) > left:
            self._progress.line(f"no time for another block: {duration(self._question.limits.within)} are all")
            return True
        return not self._chosen

    def _going_on(self, found: Sequence[State], block: int, left: float) -> list[str]:
        """Of contests without an answer: who can still win, as far as there is time for them, and the present.

        The simplest that can still win stays too, since it is the one to recommend if no difference is found.
        """
        racing = {one.contest: list(one.racing) for one in found if not one.decided}
        simplest = {one.contest: one.simplest for one in found}
        rounds = WANTED - block
        while block >= COARSE and block % RUNG == 0 and self._seconds(self._with_presents(racing)) * rounds > left:
            halved = {name: better_half(cells, {simplest[name]}) for name, cells in racing.items()}
            if halved == racing:
                break
            racing, rounds = halved, RUNG
        return self._with_presents(racing)

    def _with_presents(self, racing: Mapping[str, Sequence[str]]) -> list[str]:
        """What is gained on is measured to the end."""
        presents = {contest.name: contest.present for contest in self._question.contests}
        found: list[str] = []
        for name, cells in racing.items():
            measured = presents[name] in self._plan.cells and presents[name] not in cells
            found += [*cells, presents[name]] if measured else cells
        return found

    def _seconds(self, cells: Sequence[str]) -> float:
        return _block_seconds(self._plan, cells) * self._slowness


def _conclude(folder: RunFolder, end: RunEnd, search: Search, options: AdviseOptions, results: Console) -> int:
    """advice.json, the report, and what there is to say; the exit code."""
    finished = end.status == "finished"
    found = advise(folder, search.question, finished=finished)
    write_json(folder.path / ADVICE, found)
    report = write_report(folder, write_summary(folder))
    if not finished:
        results.print(f"{end.status}, so there is no advice{end.finding and ': '}{end.finding}", markup=False)
        return 130 if end.status == "interrupted" else 1
    if options.form == "md":
        results.print(advice_markdown(found), markup=False, highlight=False, soft_wrap=True)
    else:
        print_advice(found, results)
    results.print(f"Report: {report}", highlight=False, soft_wrap=True)
    return 0 if all(contest.cell is not None for contest in found.contests) else 1


def advice_of(folder: RunFolder) -> Advice:
    """What a search said of its run."""
    return read_json(folder.path / ADVICE, Advice)
