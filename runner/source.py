"""Whether two hosts have the same code."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from runner.stacks.app import ROOT

#: The code that bears on figures, beside the app's: what runs, and the traffic.
CODE = tuple((ROOT, ROOT / name) for name in ("runner", "locustfiles"))


def code_digest(folders: Iterable[tuple[Path, Path]], *more: bytes) -> str:
    """The same for the same Python files; each folder comes with the one that its files are named from."""
    digest = hashlib.sha256(b"".join(more))
    for base, folder in folders:
        for path in sorted(folder.rglob("*.py")):
            within = path.relative_to(base)
            if not any(part.startswith(".") for part in within.parts):
                digest.update(f"{within}\0{path.stat().st_size}\0".encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
