"""When a run has blocks enough: every comparison of throughput is known as closely as the matrix wants it.

Looked at after each block, an interval is now and then narrow by luck, and the run ends early on it: the intervals of
such a run are a little too narrow, the more so the smaller `min` is.
"""

import math

from runner.analysis.inference import Estimate, interval_of
from runner.analysis.ratios import Comparison
from runner.analysis.summary import sound_comparison
from runner.results.store import RunFolder

METRIC = "throughput_rps"


def is_tight(folder: RunFolder, until: float) -> bool:
    """Whether each comparison's 95 % interval reaches at most `until` (0.05 is 5 %) to either side of its ratio.

    A pair of which nothing can be said, such as one whose cell always fails, is not waited for.
    """
    pairs = [(cell.id, cell.reference) for cell in folder.run().cells if cell.reference not in (None, cell.id)]
    comparison = sound_comparison(folder)
    return all(_is_tight(comparison, cell, str(reference), until) for cell, reference in pairs)


def _is_tight(comparison: Comparison, cell: str, reference: str, until: float) -> bool:
    estimate = comparison.estimate(cell, reference, METRIC)
    if not isinstance(estimate, Estimate):
        return True
    half_width = interval_of(estimate).half_width
    return half_width is not None and math.expm1(half_width) <= until
