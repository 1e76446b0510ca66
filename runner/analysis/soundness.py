"""Whether a cell's figures may be held against others': a stack that fails its requests is quick and holds little."""

from runner.analysis.model import CellSummary

#: Above this share of failed requests a cell's speed and connections are no merit of its settings.
MOST_FAILED = 0.01


def why_unsound(cell: CellSummary) -> str:
    """Why nobody should choose this cell, whatever its figures; empty where there is no reason.

    Either its parameters alone say that the stack cannot work, or more than MOST_FAILED of a block's requests failed.
    """
    if cell.metrics is None:
        return ""
    reasons = [cell.metrics.connections.predicted.broken]
    failed, requests = cell.metrics.errors.total, cell.metrics.requests
    if failed is not None and requests is not None and failed.high > MOST_FAILED * requests.value:
        reasons.append(f"{failed.high:.0f} of {requests.value:.0f} requests failed")
    return "; ".join(reason for reason in reasons if reason)
