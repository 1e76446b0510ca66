"""An access log as traffic: which paths are asked for, and how often.

Understood are the common and combined formats of Apache and nginx, whatever stands before and behind the request,
and one JSON object a line. Nothing else of a line is kept: no address, no user, no referer.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from runner.errors import UsageError

#: `"GET /path HTTP/1.1" 200`, as common and combined have it.
_REQUEST = re.compile(r'"(?P<method>[A-Z]+) (?P<path>\S+)(?: HTTP/[\d.]+)?" (?P<status>\d{3})\b')
#: The keys under which JSON logs have the three, what is commonest first.
_KEYS = {
    "method": ("method", "request_method", "requestMethod", "RequestMethod", "http_method"),
    # nginx has its own `$uri` beside `$request_uri`: without the query, and after rewriting.
    "path": ("request_uri", "requestUrl", "RequestPath", "path", "url", "uri"),
    "status": ("status", "status_code", "response_status", "DownstreamStatus"),
}
_LINE = re.compile(r"(?P<method>[A-Z]+) (?P<path>\S+)")
_FILE = re.compile(
    r"\.(css|js|mjs|map|png|jpe?g|gif|svg|ico|webp|avif|woff2?|ttf|eot|mp4|webm|pdf|zip|gz)$", re.IGNORECASE
)
_UUID = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)
_HASH = re.compile(r"(?=.*\d)[0-9a-f]{16,}", re.IGNORECASE)
#: Different requests that are kept: those asked for most.
MOST_REQUESTS = 200


@dataclass(frozen=True)
class WeightedRequest:
    """`name` stands for the path in tables, its ids taken out; `weight` is how often it came."""

    method: str
    path: str
    name: str
    weight: int


@dataclass(frozen=True)
class Traffic:
    """`lines` that were read, `taken` of them for the requests."""

    requests: Sequence[WeightedRequest]
    lines: int
    taken: int


def read_access_log(path: Path, methods: Sequence[str] = ("GET",), most: int = MOST_REQUESTS) -> Traffic:
    """The requests of a log that were answered well, the commonest first.

    Left out are other methods, answers of 400 and above, and files such as images. UsageError where the log cannot be
    read, or nothing in it is a request.
    """
    lines, understood, counts = 0, 0, Counter[tuple[str, str]]()
    try:
        with path.open(encoding="utf-8", errors="replace") as log:
            for line in log:
                lines += 1
                if (entry := parse_line(line)) is None:
                    continue
                understood += 1
                method, asked, status = entry
                if method in methods and status < 400 and not is_file(asked, ()):
                    counts[method, asked] += 1
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error}") from error
    if not understood:
        raise UsageError(
            f"{path}: none of its {lines} lines is a request in the common or combined format, or a JSON object with "
            "method, path and status"
        )
    if not counts:
        raise UsageError(f"{path}: {understood} requests, none of them a {' or '.join(methods)} that was answered well")
    kept = counts.most_common(most)
    requests = [WeightedRequest(method, asked, collapsed(asked), count) for (method, asked), count in kept]
    return Traffic(requests, lines, sum(count for _, count in kept))


def parse_line(line: str) -> tuple[str, str, int] | None:
    """Method, path with its query, and status; None for what is no request."""
    if line.lstrip().startswith("{"):
        return _of_json(line)
    found = _REQUEST.search(line)
    return None if found is None else _entry(found["method"], found["path"], found["status"])


def _of_json(line: str) -> tuple[str, str, int] | None:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    method, path, status = (_first(entry, _KEYS[name]) for name in ("method", "path", "status"))
    # nginx's own `$request` is the whole line, as it was asked.
    if isinstance(whole := entry.get("request"), str) and (found := _LINE.match(whole)):
        method, path = found["method"], found["path"]
    elif path is None and isinstance(inner := entry.get("request"), dict):
        # Caddy nests it.
        method, path = _first(inner, _KEYS["method"]), _first(inner, _KEYS["path"])
    if not isinstance(path, str) or not isinstance(method, str):
        return None
    return _entry(method.upper(), path, str(status))


def _first(entry: dict[str, Any], names: Iterable[str]) -> Any:
    return next((entry[name] for name in names if name in entry), None)


def _entry(method: str, path: str, status: str) -> tuple[str, str, int] | None:
    """None for what scanners send, and nobody could ask for again."""
    try:
        return method, _local(path), int(status)
    except ValueError:
        return None


def _local(path: str) -> str:
    """Without the host that an absolute address has; ValueError where that is malformed, or what is asked is no path.

    Put behind a host, `@example.org/` would name another one.
    """
    if path.startswith("/"):
        # `//a/b` is a path here, and no host: RFC 9112, section 3.2.1.
        return path.partition("#")[0].removesuffix("?")
    where = urlsplit(path)
    local = where.path or "/"
    if not local.startswith("/"):
        raise ValueError(f"{path} is no path")
    return f"{local}?{where.query}" if where.query else local


def is_file(path: str, prefixes: Sequence[str]) -> bool:
    """Whether a path is that of a file such as an image, which a web server answers in production."""
    local = path.partition("?")[0]
    return bool(_FILE.search(local)) or any(local.startswith(prefix) for prefix in prefixes)


def collapsed(path: str) -> str:
    """The path without its query, ids in it as `[id]`, `[uuid]` and `[hash]`."""
    return "/".join(_segments(path.partition("?")[0]))


def _segments(path: str) -> Iterator[str]:
    for part in path.split("/"):
        if part.isdigit():
            yield "[id]"
        elif _UUID.fullmatch(part):
            yield "[uuid]"
        else:
            yield "[hash]" if _HASH.fullmatch(part) else part
