"""A package index on loopback with made-up releases of a package, as pip and uv read one."""

import base64
import hashlib
import threading
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from html import escape
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass(frozen=True)
class FakeRelease:
    """One wheel. `tag` is what it says of where it can be installed; `yanked` None: it is not."""

    version: str
    source: str = ""
    requires_python: str = ""
    yanked: str | None = None
    tag: str = "py3-none-any"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Says nothing."""


@contextmanager
def serving(folder: Path, package: str, releases: Sequence[FakeRelease]) -> Iterator[str]:
    """The URL of an index that has these releases of one package, and no other package."""
    page = folder / package
    page.mkdir(parents=True)
    links = [_link(_wheel(page, package, release), release) for release in releases]
    (page / "index.html").write_text(f"<!DOCTYPE html><html><body>{''.join(links)}</body></html>")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _wheel(folder: Path, package: str, release: FakeRelease) -> Path:
    """A wheel whose one module is the release's source."""
    name = package.replace("-", "_")
    info = f"{name}-{release.version}.dist-info"
    python = f"Requires-Python: {release.requires_python}\n" if release.requires_python else ""
    files = {
        f"{name}/__init__.py": release.source,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {package}\nVersion: {release.version}\n{python}",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: {release.tag}\n",
    }
    lines = [f"{path},sha256={_digest(text)},{len(text.encode())}" for path, text in files.items()]
    path = folder / f"{name}-{release.version}-{release.tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for inside, text in files.items():
            archive.writestr(inside, text)
        archive.writestr(f"{info}/RECORD", "\n".join([*lines, f"{info}/RECORD,,"]) + "\n")
    return path


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


def _link(wheel: Path, release: FakeRelease) -> str:
    python = f' data-requires-python="{escape(release.requires_python)}"' if release.requires_python else ""
    yanked = "" if release.yanked is None else f' data-yanked="{escape(release.yanked)}"'
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    return f'<a href="{wheel.name}#sha256={digest}"{python}{yanked}>{wheel.name}</a><br>'
