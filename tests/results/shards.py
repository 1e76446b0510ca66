"""Shards of a made-up run."""

import json
from pathlib import Path
from typing import Any

from runner.results.schema import SkippedRecord
from runner.results.store import RunFolder, write_json
from tests.synthetic import models, write_run


def changed(folder: RunFolder, **changes: Any) -> RunFolder:
    """The same run with another run.json."""
    write_json(folder.path / "run.json", folder.run().model_copy(update=changes))
    return folder


def two_shards(out: Path) -> list[RunFolder]:
    """PostgreSQL's cells in one, MySQL's in the other."""
    skipped = [SkippedRecord(id="my-x", axes={"database": "my"}, reason="why")]
    made = []
    for number, database in enumerate(("pg", "my"), start=1):
        cells = [model for model in models() if model.database == database]
        run = write_run(out / database, cells, skipped=skipped)
        run.write_plan([{"block": block, "cell": model.id} for block in (1, 2, 3) for model in cells])
        (run.path / "logs").mkdir()
        (run.path / "logs" / f"{database}.log").touch()
        (run.path / "events.jsonl").write_text(json.dumps({"at": f"2025-01-0{number}", "event": database}) + "\n")
        made.append(changed(run, shard=f"{number}/2"))
    return made
