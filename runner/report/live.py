"""How far a run is, read from its folder while it goes on: the plan, the events, the end."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

#: Events shown, the newest.
_MOST_EVENTS = 30


def newest_run(results: Path) -> Path | None:
    """The run that was started last, `results` itself where it is a run; None where there is none."""
    if (results / "run.json").is_file():
        return results
    runs = sorted(path.parent for path in results.glob("*/run.json") if not path.parent.is_symlink())
    return runs[-1] if runs else None


def progress_of(run: Path) -> Mapping[str, object]:
    """What the page of a run that goes on shows. Lines that are half written yet are left out."""
    plan, events = _lines(run / "plan.jsonl"), _lines(run / "events.jsonl")
    done = [event for event in events if event.get("event") not in ("started", "interrupted")]
    ended = {(event.get("cell"), event.get("block"), event.get("attempt")) for event in done}
    started = [event for event in events if event.get("event") == "started"]
    under_way = [
        event["cell"]
        for event in started
        if (event.get("cell"), event.get("block"), event.get("attempt")) not in ended and "cell" in event
    ]
    end = run / "end.json"
    has_ended = end.is_file()
    return {
        "run": run.name,
        "status": _status(end) if has_ended else "under way",
        "planned": len(plan),
        "done": len(ended),
        "counts": dict(sorted(Counter(str(event.get("event")) for event in done).items())),
        "under_way": [] if has_ended else under_way,
        "events": events[-_MOST_EVENTS:][::-1],
        "has_report": (run / "report.html").is_file(),
    }


def _status(end: Path) -> str:
    try:
        return str(json.loads(end.read_text("utf-8")).get("status", "ended"))
    except (OSError, ValueError):
        return "ended"


def _lines(path: Path) -> list[dict[str, object]]:
    if not path.is_file():
        return []
    found = []
    for line in path.read_text("utf-8", "replace").splitlines():
        try:
            read = json.loads(line)
        except ValueError:
            continue
        if isinstance(read, dict):
            found.append(read)
    return found
