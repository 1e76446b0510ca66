"""Links, titles and what is left alone, on pages as apps give them."""

from runner.adopt.crawl import MOST_KEPT, crawl, links, title
from runner.adopt.trial import Page
from runner.stacks.servers.base import PROBE_QUERY


def page(path: str, text: str = "", status: int = 200, location: str = "") -> Page:
    return Page(path, status, text, location, asked_database=False, milliseconds=1.0)


class Site:
    """Stands for an app that answers; notes what it was asked for."""

    def __init__(self, *pages: Page) -> None:
        self.pages = {one.path: one for one in pages}
        self.asked: list[str] = []

    def get(self, path: str) -> Page | None:
        self.asked.append(path)
        return self.pages.get(path, page(path, status=404))


def test_links_stay_on_the_site_and_lose_our_mark() -> None:
    text = f"""
        <a href="/a/">A</a> <a href="b/?x=1#top">B</a> <a href="https://elsewhere.example/">E</a>
        <a href="mailto:x@example.org">M</a> <a>nothing</a> <a href="/login/?next=/%3F{PROBE_QUERY}">L</a>
        <a href="?{PROBE_QUERY}&page=2">2</a> <a href="/a/">A again</a>
    """
    assert links(page("/shop/", text)) == ["/a/", "/shop/b/?x=1", "/login/?next=/", "/shop/?page=2"]


def test_a_malformed_link_is_passed_over() -> None:
    text = '<a href="http://[your-domain">Y</a> <a href="//[x">X</a> <a href="/a/">A</a> <![x[ no declaration ]]>'
    assert links(page("/", text, location="http://[your-domain")) == ["/a/"]
    site = Site(page("/", text, 302, "http://[your-domain"), page("/a/"))
    visit = crawl(site, [], ["https://[bucket/static/"])
    assert [one.path for one in visit.pages] == ["/", "/a/"]


def test_a_title_is_what_a_check_knows_a_page_by() -> None:
    assert title(page("/", "<svg></svg><title> Home </title><title>other</title>")) == "Home"
    assert title(page("/", "<title>Two\nlines</title>")) == ""
    assert title(page("/", "<title>Tom &amp; Jerry</title>")) == "", "it is not in the text as it stands"
    assert title(page("/", "plain")) == ""


def test_pages_come_from_links_first_then_from_the_urls() -> None:
    site = Site(page("/", "<a href='/linked/'></a>"), page("/linked/"), page("/listed/"))
    visit = crawl(site, ["/listed/", "/gone/"], [])
    assert [one.path for one in visit.pages] == ["/", "/linked/", "/listed/"]
    assert visit.broken == []


def test_errors_are_told_and_left_out() -> None:
    site = Site(page("/"), page("/broken/", status=500))
    visit = crawl(site, ["/broken/"], [])
    assert [one.path for one in visit.pages] == ["/"]
    assert [one.path for one in visit.broken] == ["/broken/"]


def test_what_ends_a_session_and_files_are_left_alone() -> None:
    site = Site(page("/"))
    crawl(site, ["/accounts/logout/", "/static/x/", "/logo.png"], ["/static/", ""])
    assert set(site.asked) == {"/"}


def test_pages_behind_one_login_count_once() -> None:
    login = "/login/?next=/a/"
    site = Site(
        page("/"),
        page("/a/", status=302, location=login),
        page(login),
        page("/b/", status=302, location="/login/?next=/b/"),
    )
    visit = crawl(site, ["/a/", "/b/"], [])
    assert [one.path for one in visit.pages] == ["/", login]


class Login(Site):
    """Its login page leads back to wherever it was asked from, itself included."""

    def get(self, path: str) -> Page | None:
        self.asked.append(path)
        return page(path, f"<a href='/login/?next={path}'></a> <a href='/about/'></a>")


def test_a_page_that_links_to_itself_is_no_maze() -> None:
    visit = crawl(Login(), ["/listed/"], [])
    assert [one.path for one in visit.pages] == ["/", "/login/?next=/", "/about/", "/listed/"]


def test_it_ends() -> None:
    site = Site(*[page(f"/{number}/") for number in range(100)])
    visit = crawl(site, [f"/{number}/" for number in range(100)], [])
    assert len(visit.pages) == MOST_KEPT
