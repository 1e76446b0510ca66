"""One headless Chromium for the tests of pages, and pages that complain of what they should not do."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, Playwright

AXE = Path(__file__).parents[1] / "vendor" / "axe" / "axe.min.js"
#: Nothing but the page: no services of the browser's own, which would look for hosts elsewhere.
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
#: Milliseconds: the machine may be busy with something else.
PATIENCE = 60_000


def launch(playwright: Playwright) -> Browser:
    path = next(found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name)))
    return playwright.chromium.launch(executable_path=path, args=ARGUMENTS, timeout=PATIENCE)


@contextmanager
def opened(browser: Browser, address: str, *, width: int = 1600, height: int = 1000, **more: Any) -> Iterator[Page]:
    """A page at `address`. When done with, it must have said nothing on its console and asked nobody else."""
    context = browser.new_context(viewport={"width": width, "height": height}, **more)
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    complaints: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    try:
        page.goto(address)
        yield page
        root = address.partition("?")[0].partition("#")[0]
        host = "file://" if root.startswith("file:") else "/".join(root.split("/")[:3])
        assert complaints == []
        assert [url for url in asked if not url.startswith((host, "data:"))] == []
    finally:
        context.close()


def violations(page: Page) -> list[str]:
    """What axe-core finds that is serious or worse: its rule and where."""
    page.evaluate(AXE.read_text("utf-8"))
    found = page.evaluate("axe.run({resultTypes: ['violations']})")
    return [
        f"{each['id']}: {node['html'][:200]}"
        for each in found["violations"]
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"][:3]
    ]


def is_wider_than_the_screen(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth > innerWidth"))
