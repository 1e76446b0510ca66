"""From a search's folder to its advice: who can still win, who is out and why, and what to recommend.

Only what was measured beside the others is recommended, only within the budget, and of settings that cannot be told
from the best the simplest that is near it. The race is run again from the folder each time, block after block, so that
the same folder always comes to the same.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from runner.analysis.advice_model import Advice, Candidate, Contest, ContestAdvice, Place, Question, Standing
from runner.analysis.decisions import FEWEST_BLOCKS, is_underpowered, judge_at, untested
from runner.analysis.frames import latest_of_each_block
from runner.analysis.inference import Estimate, interval_of
from runner.analysis.limits import kept, level_after, shortfall
from runner.analysis.model import Judgement
from runner.analysis.race import Field, Look, last_level, look, racing_level, tells_apart
from runner.analysis.ratios import CAPACITY, Comparison
from runner.analysis.simplicity import simpler_words
from runner.analysis.summary import sound_comparison
from runner.results.schema import AttemptRecord
from runner.results.store import RunFolder

#: A search has an answer when differences of so much, and the gain to so much, are known.
PRECISION = 0.05
#: A large gain needs to be known to this part of itself (of its logarithm) alone.
OF_ITSELF = 0.1
#: Metrics of which less is better.
TIMES = ("latency_ms.p95",)
_NEAREST = "the simplest of those within a standard error of the best"
_NEVER_MET = "nothing ties it to the best: they never ran beside each other"
_NO_TIME = "behind the best, and no time to measure it again"


@dataclass(frozen=True)
class State:
    """Where a contest stands: who goes on, from best to worst, the simplest that keeps all limits (empty where none
    does), and whether that needs no more blocks.
    """

    contest: str
    racing: Sequence[str]
    simplest: str
    decided: bool
    blocks: int


def states(folder: RunFolder, question: Question) -> list[State]:
    """Where each contest of a search stands by now."""
    records, comparison = _read(folder)
    return [_Race(contest, question, records, comparison).state() for contest in question.contests]


def advise(folder: RunFolder, question: Question, *, finished: bool) -> Advice:
    """What a search's folder says; `finished`: no block will be added."""
    records, comparison = _read(folder)
    found = [_Race(contest, question, records, comparison).advice() for contest in question.contests]
    return Advice(limits=question.limits, finished=finished, contests=found, versions=folder.run().versions)


def _read(folder: RunFolder) -> tuple[list[AttemptRecord], Comparison]:
    return latest_of_each_block([record for _, record in folder.attempts()]), sound_comparison(folder)


@dataclass
class _Out:
    """Candidates that are out, each with its place."""

    ruled: dict[str, str] = field(default_factory=dict)
    slower: dict[str, Estimate] = field(default_factory=dict)


class _Race:
    """One contest, run again from the first block to the last."""

    def __init__(
        self, contest: Contest, question: Question, records: Sequence[AttemptRecord], comparison: Comparison
    ) -> None:
        self._contest = contest
        self._question = question
        self._candidates: Mapping[str, Candidate] = {one.cell: one for one in contest.candidates}
        self._records = [record for record in records if record.cell in self._candidates]
        self._sign = -1.0 if contest.metric in TIMES else 1.0
        self._logs = _log_table(self._records, comparison, contest.metric, self._sign)
        self._out = _Out({one.cell: one.ruled_out for one in contest.candidates if one.ruled_out})
        self._racing = [cell for cell in self._candidates if cell not in self._out.ruled]
        self._settings = len(self._racing)
        #: A gain is on the present settings, of whichever other turns out to be chosen.
        self._gain_level = last_level(1 + len([cell for cell in self._racing if cell != contest.present]))
        self._last = max((record.block for record in self._records), default=0)
        self._look: Look | None = None
        for block in range(1, self._last + 1):
            self._run_block(block)
        self._field = Field(self._logs)
        self._left_behind = [cell for cell in self._racing if self._missed_last(cell)]
        self._racing = [cell for cell in self._racing if cell not in self._left_behind]

    def _run_block(self, block: int) -> None:
        testing = level_after(self._settings, self._question.limits, block)
        for cell in list(self._racing):
            if missed := self._shortfall(cell, block, testing):
                self._racing.remove(cell)
                self._out.ruled[cell] = missed
        logs = self._logs[self._logs.index.get_level_values("block") <= block]
        level = racing_level(self._settings, self._question.looks)
        self._look = look(Field(logs), self._racing, self._keeping(block), level)
        if self._look is None:
            return
        for cell in self._look.beaten:
            self._racing.remove(cell)
            self._out.slower[cell] = self._look.leads[cell]

    def _attempts(self, cell: str, until: int) -> list[AttemptRecord]:
        return [record for record in self._records if record.cell == cell and record.block <= until]

    def _shortfall(self, cell: str, until: int, level: float | None = None) -> str:
        return shortfall(self._candidates[cell], self._attempts(cell, until), self._question.limits, level)

    def _keeping(self, block: int) -> list[str]:
        """Those that keep every limit as far as their medians say."""
        return [cell for cell in self._racing if self._attempts(cell, block) and not self._shortfall(cell, block)]

    def _missed_last(self, cell: str) -> bool:
        """Left out of the last block although it was not out: there was no time for it."""
        ran = [record.block for record in self._records if record.cell == cell]
        return max(ran, default=0) < self._last

    def state(self) -> State:
        racing = self._field.order(self._racing) or list(self._racing)
        racing += [cell for cell in self._racing if cell not in racing]
        # What misses a limit by now will hardly be the answer: where time is short, it is the first to stay behind.
        keeping = self._keeping(self._last)
        racing.sort(key=lambda cell: cell not in keeping)
        simplest = self._simplest([cell for cell in racing if cell in keeping])
        return State(self._contest.name, racing, simplest, self._decided(racing), self._last)

    def _simplest(self, cells: Sequence[str]) -> str:
        return min(cells, key=lambda cell: tuple(self._candidates[cell].simplicity), default="")

    def _decided(self, racing: Sequence[str]) -> bool:
        """No more blocks are wanted: one is left, or those left are known to be near each other, and the gain too."""
        if not racing:
            return True
        if self._look is None or self._field.blocks_of(self._look.leader) < FEWEST_BLOCKS:
            return False
        others = [cell for cell in racing if cell != self._look.leader]
        if any(cell not in self._look.leads for cell in others):
            return False
        # Who is level is for the last look alone to say, and it is taken once; how much it would see can be asked.
        last = self._last_look(racing)
        if others and (last is None or last.detectable is None or last.detectable > PRECISION):
            return False
        return self._gain_is_known(self._look.leader)

    def _last_look(self, cells: Sequence[str]) -> Look | None:
        keeping = [cell for cell in cells if cell in self._keeping(self._last)]
        return look(self._field, cells, keeping, last_level(self._settings))

    def _gain_is_known(self, cell: str) -> bool:
        if cell == self._contest.present or self._field.blocks_of(self._contest.present) == 0:
            return True
        gain = self._field.lead(cell, self._contest.present)
        if gain is None:
            return True
        half = interval_of(gain, self._gain_level).half_width
        return half is not None and half <= max(np.log1p(PRECISION), OF_ITSELF * abs(gain.mean))

    def advice(self) -> ContestAdvice:
        """The recommendation, and everybody's place."""
        contest = self._contest
        keeping = self._keeping(self._last)
        missing = self._missing(keeping)
        eligible = [cell for cell in self._field.order(keeping) if cell not in missing]
        last = self._last_look(eligible)
        if last is not None:
            self._out.slower |= {cell: last.leads[cell] for cell in last.beaten}
            eligible = [cell for cell in eligible if cell not in last.beaten]
        base: dict[str, Any] = {
            "name": contest.name,
            "metric": contest.metric,
            "present": contest.present,
            "present_budget": self._candidates[contest.present].budget,
        }
        base["places"] = places = self._places(last, eligible, missing)
        base["left_behind"] = left_behind = [place.cell for place in places if place.standing == "left behind"]
        if last is None:
            return ContestAdvice(verdict="none", reason=self._why_none(left_behind), **base)
        level = [cell for cell in eligible if cell != last.leader and cell in last.leads]
        found = {"leader": last.leader, "level_with": level, "detectable": last.detectable, **base}
        blocks = min((self._field.blocks_of(cell) for cell in [last.leader, *level]), default=0)
        too_little = self._too_little(last, level, blocks)
        if too_little:
            gain = self._gain(last.leader, last)
            return ContestAdvice(verdict="underpowered", reason=too_little, blocks=blocks, gain=gain, **found)
        return self._recommended(last, level, blocks, found)

    def _missing(self, keeping: Collection[str]) -> dict[str, str]:
        """Those that the race has not ruled out and that cannot be recommended all the same, with the reason."""
        missing = {cell: self._shortfall(cell, self._last) for cell in (*self._racing, *self._left_behind)}
        for cell in self._racing:
            if cell not in keeping or not self._field.blocks_of(cell):
                missing[cell] = missing[cell] or "nothing that counts was measured"
        return {cell: reason for cell, reason in missing.items() if reason}

    def _why_none(self, left_behind: Sequence[str]) -> str:
        """Settings that were never seen at work have broken no limit."""
        if not self._settings and not self._records:
            return "every setting is ruled out before it is measured"
        if left_behind:
            return "none of the settings that were measured to the end keeps every limit"
        if any(record.verdict.status == "ok" for record in self._records):
            return "none of the settings keeps every limit"
        reasons = [record.verdict.reason.partition("\n")[0] for record in self._records]
        return f"nothing could be measured: {reasons[0]}" if reasons else "nothing was measured"

    def _too_little(self, last: Look, level: Sequence[str], blocks: int) -> str:
        if blocks < FEWEST_BLOCKS and self._settings > 1:
            return f"{blocks} blocks are too few to recommend anything"
        if level and (last.detectable is None or is_underpowered(blocks, last.detectable)):
            return (
                f"{len(level) + 1} settings could not be told apart, and only a large difference would have been seen"
            )
        return ""

    def _recommended(self, last: Look, level: Sequence[str], blocks: int, found: dict[str, Any]) -> ContestAdvice:
        chosen = self._simplest([last.leader, *(cell for cell in level if cell in last.near)])
        simplest = self._simplest([last.leader, *level])
        one = self._candidates[chosen]
        peak = max((r.connections.peak for r in self._attempts(chosen, self._last) if r.connections), default=0)
        simpler = ""
        if chosen != last.leader:
            simpler = simpler_words(one.simplicity, self._candidates[last.leader].simplicity)
        return ContestAdvice(
            verdict="level" if level else "best",
            reason=self._why({place.standing for place in found["places"]}),
            cell=chosen,
            simpler=simpler,
            simpler_still=simplest if simpler_words(self._candidates[simplest].simplicity, one.simplicity) else "",
            blocks=blocks,
            gain=self._gain(chosen, last),
            kept=kept(self._attempts(chosen, self._last), self._question.limits),
            budget=one.budget.at_least(peak),
            paste=one.paste,
            **found,
        )

    def _why(self, standings: Collection[Standing]) -> str:
        """What may be said of the recommended one; what became of the others says how much."""
        if self._settings == 1:
            return "the only one that there is"
        if "left behind" in standings:
            best = _NEAREST if "level" in standings else "the best"
            return f"{best}, as far as settings were measured to the end"
        if "level" in standings:
            return _NEAREST
        if "slower" not in standings:
            return "the only one that keeps every limit"
        return f"better than every other{' that keeps the limits' if 'ruled out' in standings else ''}"

    def _gain(self, cell: str, last: Look) -> Judgement | None:
        """Over the settings of today. If the last look cannot tell those from the best, neither can this."""
        present = self._contest.present
        gain = None if cell == present else self._field.lead(cell, present)
        if gain is None:
            return None
        level_with_best = present == last.leader or (present in last.leads and present not in last.beaten)
        differs = not level_with_best and tells_apart(self._field, cell, present, self._gain_level)
        return judge_at(self._in_metric(gain), self._gain_level, differs=differs)

    def _in_metric(self, lead: Estimate) -> Estimate:
        """In the metric's own direction."""
        return replace(lead, mean=self._sign * lead.mean)

    def _places(self, last: Look | None, eligible: Sequence[str], missing: Mapping[str, str]) -> list[Place]:
        """From best to worst; those that are out come after those that are not, in the order of the matrix."""
        leads = last.leads if last else {}
        places = []
        for cell in eligible:
            if last is not None and cell == last.leader:
                places.append(self._place(cell, "best"))
            elif cell in leads:
                places.append(self._place(cell, "level", lead=self._judged(leads[cell], differs=False)))
            else:
                places.append(self._place(cell, "left behind", _NEVER_MET))
        places += [self._behind(cell, last) for cell in self._left_behind if cell not in missing]
        for cell, lead in self._out.slower.items():
            places.append(self._place(cell, "slower", lead=self._judged(lead, differs=True)))
        ruled = {**missing, **self._out.ruled}
        places += [self._place(cell, "ruled out", ruled[cell]) for cell in self._candidates if cell in ruled]
        return places

    def _behind(self, cell: str, last: Look | None) -> Place:
        lead = None if last is None else self._field.lead(last.leader, cell)
        judged = None if lead is None else untested(self._in_metric(lead), _NO_TIME)
        return self._place(cell, "left behind", _NO_TIME, judged)

    def _judged(self, lead: Estimate, *, differs: bool) -> Judgement:
        return judge_at(self._in_metric(lead), last_level(self._settings), differs=differs)

    def _place(self, cell: str, standing: Standing, reason: str = "", lead: Judgement | None = None) -> Place:
        logs = self._logs[cell].dropna() if cell in self._logs else pd.Series(dtype=float)
        value = float(np.exp(self._sign * logs.median())) if len(logs) else None
        return Place(cell=cell, standing=standing, reason=reason, blocks=len(logs), value=value, lead=lead)


def _log_table(records: Sequence[AttemptRecord], comparison: Comparison, metric: str, sign: float) -> pd.DataFrame:
    """One row a group of a block, one column a cell; finite values alone, more being better."""
    cells = list(dict.fromkeys(record.cell for record in records))
    if metric == CAPACITY:
        cells = [cell for cell in cells if not comparison.obstacle([cell], comparison.block_logs(cell, metric), metric)]
    logs = comparison.by_group(cells, metric)
    return sign * logs.where(np.isfinite(logs))[[cell for cell in cells if cell in logs]]
