"""What a deployment may take and must keep: the `advise:` part of a matrix."""

from pydantic import Field

from runner.durations import Duration
from runner.matrix.slo import Percentage
from runner.models import Strict
from runner.sizes import Size


class AdviseSpec(Strict):
    """What `connbench advise` has to keep to, and the settings of today."""

    #: Of the database that is deployed; by default the matrix's own limit, or the product's (100, or 151 on MySQL).
    max_connections: int | None = Field(default=None, ge=1, le=1_000_000)
    #: The share of them that is kept free for whoever else connects.
    headroom: Percentage = 0.1
    #: App servers with the stack of a cell on each.
    hosts: int = Field(default=1, ge=1, le=10_000)
    #: What app, and pooler, may take at their peak on one host.
    memory: Size | None = None
    #: Response time that the matrix's load has to keep.
    p95: Duration | None = None
    #: Requests a second that all hosts together have to answer.
    rate: float | None = Field(default=None, gt=0, le=1_000_000)
    #: For all of the measuring.
    within: Duration = 900.0
    #: The settings of today, as `key=value,…` on top of the matrix's first ones.
    present: str | None = None
