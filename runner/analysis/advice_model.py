"""advise.json, what was asked for, and advice.json, what came of it, as typed models."""

from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import Field

from runner.analysis.budget import Budget
from runner.analysis.model import Judgement
from runner.matrix.limits import AdviseSpec
from runner.models import Strict
from runner.results.schema import SCHEMA_VERSION

#: `best`: shown to be better than every other that ran to the end; `level`: the simplest near the best, where some
#: cannot be told from it; `underpowered`: too little was measured to recommend any; `none`: none keeps the limits.
AdviceVerdict = Literal["best", "level", "underpowered", "none"]
Standing = Literal["best", "level", "slower", "left behind", "ruled out"]


class Paste(Strict):
    """A candidate's settings as one pastes them: Django's, the server's command line, the pooler's own (or empty).

    `files` are those that the server finds where it is started, by name.
    """

    settings: str
    command: str
    files: Mapping[str, str] = Field(default_factory=dict)
    pooler: str = ""


class Candidate(Strict):
    """One cell as the search finds it. `ruled_out` says why it is not measured; `simplicity` sorts, the least first."""

    cell: str
    budget: Budget
    simplicity: Sequence[int]
    paste: Paste
    ruled_out: str = ""


class Contest(Strict):
    """Candidates that answer one question: those of one database under one load. `present` is one of them."""

    name: str
    metric: str
    present: str
    candidates: Sequence[Candidate]

    @property
    def not_measured(self) -> Mapping[str, str]:
        """Cells with the reason. Today's own are measured even if they do not fit, for the sake of any that do."""
        out = {one.cell: one.ruled_out for one in self.candidates if one.ruled_out}
        if len(out) < len(self.candidates):
            out.pop(self.present, None)
        return out


class Question(Strict):
    """advise.json: written before anything is started. `looks` are the most that the race can have."""

    schema_version: int = SCHEMA_VERSION
    limits: AdviseSpec
    looks: int
    contests: Sequence[Contest]


class Place(Strict):
    """What became of a candidate. `lead`: the leader's figure over its own (the other way about for a time)."""

    cell: str
    standing: Standing
    reason: str = ""
    blocks: int = 0
    value: float | None = None
    lead: Judgement | None = None


class ContestAdvice(Strict):
    """The advice for one database. `cell` None: nothing can be recommended, for `reason`.

    `gain` is the recommended cell's figure over the present one's; without a recommendation it is the leader's. It is
    judged as the last look judges: each end of its interval is a 95 % bound, whichever cell was chosen.
    `detectable` is the smallest relative difference from the leader that each of those level with it would have shown.
    `left_behind` have not been compared with the best as the others were: there was no time, or nothing ties them.
    `simpler` is what makes the recommended one simpler than the leader, in words; `simpler_still` one of `level_with`
    that is simpler than the recommended one and further behind. `kept` has the limits in words, with figures.
    """

    name: str
    metric: str
    verdict: AdviceVerdict
    reason: str
    present: str
    leader: str | None = None
    cell: str | None = None
    level_with: Sequence[str] = ()
    left_behind: Sequence[str] = ()
    simpler: str = ""
    simpler_still: str = ""
    detectable: float | None = None
    blocks: int = 0
    gain: Judgement | None = None
    kept: Sequence[str] = ()
    budget: Budget | None = None
    present_budget: Budget | None = None
    paste: Paste | None = None
    places: Sequence[Place] = ()


class Advice(Strict):
    """advice.json. `finished` False: the search was cut off before it had come to its end."""

    schema_version: int = SCHEMA_VERSION
    limits: AdviseSpec
    finished: bool
    contests: Sequence[ContestAdvice]
    versions: Mapping[str, str] = Field(default_factory=dict)
