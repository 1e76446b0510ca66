"""Which of an app's pages can be asked for: its paths without parameters, and the links on its pages."""

import re
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Protocol, Self
from urllib.parse import SplitResult, urljoin, urlsplit

from runner.adopt.access_log import is_file
from runner.adopt.trial import Page
from runner.stacks.servers.base import PROBE_QUERY

#: Pages that are asked for, and of those that answer, the pages that are kept.
MOST_ASKED = 40
MOST_KEPT = 12
#: What a link should not lead to: it ends a session, or takes something away.
AVOIDED = ("logout", "signout", "log-out", "sign-out", "delete", "remove")
#: The mark of the harness's own requests: before other parameters, or behind them.
_MARK = re.compile(rf"(?<=[?&]){PROBE_QUERY}&|([?&]|%3F|%26){PROBE_QUERY}(?!&)")


class Asked(Protocol):
    """An app that stands."""

    def get(self, path: str) -> Page | None: ...


@dataclass(frozen=True)
class Visit:
    """What a crawl came to: pages that answer well, and those that fail with a server's error."""

    pages: Sequence[Page]
    broken: Sequence[Page]


def crawl(standing: Asked, paths: Iterable[str], prefixes: Sequence[str]) -> Visit:
    """Asks for each path twice, since the first answer of a page may fill a cache; `prefixes` are of files."""
    files = [path for prefix in prefixes if (path := _split(prefix).path) not in ("", "/")]
    waiting = deque(["/", *paths])
    seen: set[str] = set()
    # A login page that links to itself has another `next` each time: one query is enough for a path.
    queried: set[str] = set()
    pages: list[Page] = []
    broken: list[Page] = []
    while waiting and len(seen) < MOST_ASKED and len(pages) < MOST_KEPT:
        path = waiting.popleft()
        bare, query, _ = path.partition("?")
        asked = path in seen or (query and bare in queried)
        if asked or is_file(path, files) or any(word in path for word in AVOIDED):
            continue
        seen.add(path)
        queried |= {bare} if query else set()
        page = standing.get(path) and standing.get(path)
        if page is None:
            continue
        if page.status >= 500:
            broken.append(page)
        elif page.status < 400:
            # Behind a redirect is the page itself; the front page is worth a check as it is.
            if page.status < 300 or path == "/":
                pages.append(page)
            if page.location and _beside(page) in {one.partition("?")[0] for one in seen}:
                # Every page of the administrators' leads to the same login.
                continue
            # What a page links to is nearer to what visitors see than what the URL configuration lists.
            waiting.extendleft(reversed(links(page)))
    return Visit(pages, broken)


def _beside(page: Page) -> str:
    """Where a redirect leads to, its query left out."""
    return _split(page.location, page.path).path


def _split(target: str, base: str = "") -> SplitResult:
    """The parts of a link on the page at `base`; all of them empty where it is malformed, as `http://[your-domain]`."""
    try:
        return urlsplit(urljoin(base, target))
    except ValueError:
        return urlsplit("")


def links(page: Page) -> list[str]:
    """Paths on the same site, in the page's order."""
    found = _Links.of(page)
    targets = [*([page.location] if page.location else []), *found.targets]
    paths = []
    for target in targets:
        # A page may link to itself as it was asked for.
        where = _split(_MARK.sub("", target), f"http://site{page.path}")
        if where.scheme == "http" and where.netloc == "site":
            paths.append(f"{where.path}?{where.query}" if where.query else where.path)
    return list(dict.fromkeys(paths))


def title(page: Page) -> str:
    """The text of its `<title>`, by which a check knows the page again; empty where it has none on one line."""
    text = _Links.of(page).title.strip()
    return text if text and text in page.text and "\n" not in text else ""


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.title = ""
        self._in_title = False

    @classmethod
    def of(cls, page: Page) -> Self:
        """What stands before the first declaration that is none, such as `<![x[`."""
        found = cls()
        # Python's parser takes everything else as browsers do.
        with suppress(AssertionError):
            found.feed(page.text)
        return found

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in_title = tag == "title" and not self.title
        if tag == "a" and (target := dict(attrs).get("href")):
            self.targets.append(target)

    def handle_endtag(self, tag: str) -> None:
        self._in_title &= tag != "title"

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.title += data
