"""A picture of a run's report, as the README shows it: `scripts/picture.py RUN PICTURE`.

Needs Chromium (`scripts/system-packages --browser`) and the packages of `make setup-dev`.
"""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

# The answer and the first table, readable where a page shows it at half this width.
WIDTH, HEIGHT = 1400, 1250
# Nothing but the page: no services of the browser's own, which would look for hosts elsewhere.
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


def main(run: Path, picture: Path) -> None:
    """Writes the picture; exits with 3 where there is no Chromium."""
    browser_path = shutil.which("chromium") or shutil.which("google-chrome")
    if browser_path is None:
        sys.exit("picture: Chromium is missing; to install it: scripts/system-packages --browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.goto((run.resolve() / "report.html").as_uri())
        page.screenshot(path=picture)
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
