"""`connbench serve`: a site, or the results as they grow, on loopback and to nobody else.

Only files inside the folder are handed out, and none whose name begins with a dot. A request must name this server as
its host, so that a page from elsewhere cannot read it under a name of its own (DNS rebinding).
"""

import json
from collections.abc import Mapping
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from runner.errors import UsageError
from runner.report.html import page_policy, render_template
from runner.report.live import newest_run, progress_of

HOST = "127.0.0.1"
_LIVE_STYLES, _LIVE_SCRIPTS = ("page.css", "site.css"), ("live.js",)
#: For files of the site: their own meta tags allow style and script by hash; this keeps everything else out.
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'"
)
_TYPES = {".html": "text/html", ".svg": "image/svg+xml", ".xml": "application/atom+xml", ".json": "application/json"}


class Server(ThreadingHTTPServer):
    """Serves `folder` on loopback; `port` 0 takes a free one. `results`: where runs that go on are looked for."""

    daemon_threads = True

    def __init__(self, folder: Path, port: int, results: Path) -> None:
        self.folder = folder.resolve()
        self.results = results
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            raise UsageError(f"port {port} cannot be had ({error.strerror}): name another with --port") from error

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.server_port}/"

    @property
    def names(self) -> set[str]:
        """What a request may call this server."""
        return {f"{name}:{self.server_port}" for name in (HOST, "localhost")}


class _Handler(SimpleHTTPRequestHandler):
    server: Server
    server_version = "connbench"
    sys_version = ""
    timeout = 30

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def _answer(self) -> None:
        if self.headers.get("Host") not in self.server.names:
            self._send(HTTPStatus.MISDIRECTED_REQUEST, b"This server answers to its own name alone.\n", "text/plain")
            return
        path = unquote(urlsplit(self.path).path)
        if path == "/live":
            page = render_template("site/live.html.j2", _LIVE_STYLES, _LIVE_SCRIPTS, connect=True)
            policy = page_policy(_LIVE_STYLES, _LIVE_SCRIPTS, connect=True)
            self._send(HTTPStatus.OK, page.encode(), "text/html", policy)
        elif path == "/progress.json":
            run = newest_run(self.server.results)
            self._send_json(progress_of(run) if run else {"run": None})
        elif path == "/" and not (self.server.folder / "index.html").is_file():
            self._send_on("/live")
        else:
            self._send_file(path)

    def _send_file(self, path: str) -> None:
        found = self._file(path)
        if found is not None and found.is_dir():
            self._send_folder(found, path)
        elif found is None:
            self._send(HTTPStatus.NOT_FOUND, b"There is no such page.\n", "text/plain")
        else:
            kind = _TYPES.get(found.suffix, "text/plain" if found.suffix in (".log", ".jsonl", ".txt") else "")
            self._send(HTTPStatus.OK, found.read_bytes(), kind or "application/octet-stream")

    def _send_folder(self, folder: Path, path: str) -> None:
        """Its own page where it has one, otherwise what is in it. Links in it are relative: the address ends in /."""
        parts = [quote(part) for part in path.split("/") if part]
        if parts and not path.endswith("/"):
            self._send_on(f"/{'/'.join(parts)}/")
            return
        own = next((page for name in ("index.html", "report.html") if (page := folder / name).is_file()), None)
        if own is not None:
            self._send(HTTPStatus.OK, own.read_bytes(), "text/html")
            return
        names = [f"{each.name}{'/' * each.is_dir()}" for each in sorted(folder.iterdir()) if each.name[0] != "."]
        listing = render_template("site/listing.html.j2", _LIVE_STYLES, folder=path, names=names)
        self._send(HTTPStatus.OK, listing.encode("utf-8", "replace"), "text/html")

    def _send_on(self, address: str) -> None:
        self.send_response(HTTPStatus.SEE_OTHER)
        self.send_header("Location", address)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _file(self, path: str) -> Path | None:
        """The file or folder that an address names; None for what is outside, hidden, or not there."""
        parts = [part for part in path.split("/") if part]
        if "\0" in path or any(part.startswith(".") for part in parts):
            return None
        found = self.server.folder.joinpath(*parts).resolve()
        if not found.is_relative_to(self.server.folder):
            return None
        inside = found.relative_to(self.server.folder).parts
        if any(part.startswith(".") for part in inside):
            return None
        return found if found.is_file() or found.is_dir() else None

    def _send_json(self, answer: Mapping[str, object]) -> None:
        self._send(HTTPStatus.OK, json.dumps(answer).encode(), "application/json")

    def _send(self, status: HTTPStatus, body: bytes, kind: str, policy: str = _POLICY) -> None:
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8" if kind.startswith("text/") else kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", f"{policy}; frame-ancestors 'none'")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the library's name
        """Says nothing: what is asked for is on the reader's own screen."""
