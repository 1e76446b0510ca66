"""An access log as traffic."""

import json
from pathlib import Path

import pytest

from runner.adopt.access_log import WeightedRequest, collapsed, parse_line, read_access_log
from runner.errors import UsageError

COMMON = '192.0.2.1 - frank [10/Oct/2025:13:55:36 +0000] "GET /products/17/?page=2 HTTP/1.1" 200 2326'
COMBINED = f'{COMMON} "https://example.org/" "Mozilla/5.0 (X11)"'


@pytest.mark.parametrize(
    "line",
    [
        COMMON,
        COMBINED,
        COMBINED.replace("192.0.2.1", "example.org:443 192.0.2.1"),
        json.dumps({"method": "GET", "path": "/products/17/?page=2", "status": 200, "ip": "192.0.2.1"}),
        json.dumps({"request_method": "GET", "request_uri": "/products/17/?page=2", "status": "200"}),
        json.dumps({"request": "GET /products/17/?page=2 HTTP/1.1", "status": 200}),
        json.dumps({"request": {"method": "GET", "uri": "/products/17/?page=2"}, "status": 200}),
        json.dumps({"RequestMethod": "GET", "RequestPath": "/products/17/?page=2", "DownstreamStatus": 200}),
        json.dumps(
            {"request_method": "GET", "uri": "/products/17/", "request_uri": "/products/17/?page=2", "status": 200}
        ),
        json.dumps({"request": "GET /products/17/?page=2 HTTP/1.1", "uri": "/index.php", "status": 200}),
        json.dumps({"requestMethod": "GET", "requestUrl": "https://example.org/products/17/?page=2", "status": 200}),
    ],
)
def test_every_format_says_method_path_and_status(line: str) -> None:
    assert parse_line(line) == ("GET", "/products/17/?page=2", 200)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "no request",
        "{broken",
        '{"a": 1}',
        '"-" 400 0',
        '"GET /" abc',
        '- - - [x] "GET http://[x HTTP/1.1" 404 0',
        '- - - [x] "GET @evil.example/x HTTP/1.1" 200 0',
        '- - - [x] "GET http:evil.example HTTP/1.1" 200 0',
        '- - - [x] "OPTIONS * HTTP/1.0" 200 0',
        json.dumps({"method": "GET", "path": ":80@evil.example/x", "status": 200}),
        json.dumps({"method": "GET", "path": "http://[x", "status": 404}),
        json.dumps({"method": "GET", "path": "/", "status": "²"}),
        '{"a":' * 100_000,
    ],
)
def test_what_is_no_request_is_passed_over(line: str) -> None:
    assert parse_line(line) is None


@pytest.mark.parametrize("path", ["//[x", "//a/b", "//a/b?c=//[d", "/a//b/"])
def test_a_path_that_begins_with_two_slashes_is_a_path_all_the_same(path: str) -> None:
    assert parse_line(COMMON.replace("/products/17/?page=2", path)) == ("GET", path, 200)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/", "/"),
        ("/products/17/?page=2", "/products/[id]/"),
        ("/u/123e4567-e89b-12d3-a456-426614174000", "/u/[uuid]"),
        ("/c/9f86d081884c7d65/x", "/c/[hash]/x"),
        ("/about-us/", "/about-us/"),
        ("/2024/05/a-post/", "/[id]/[id]/a-post/"),
    ],
)
def test_ids_are_collapsed_in_names(path: str, name: str) -> None:
    assert collapsed(path) == name


def log(tmp_path: Path, *requests: tuple[str, str, int]) -> Path:
    path = tmp_path / "access.log"
    lines = [f'- - - [x] "{method} {asked} HTTP/1.1" {status} 0' for method, asked, status in requests]
    path.write_text("\n".join(["garbage", *lines]) + "\n")
    return path


def test_paths_are_weighted_by_how_often_they_came(tmp_path: Path) -> None:
    seen = log(
        tmp_path,
        ("GET", "/a/1/", 200),
        ("GET", "/", 200),
        ("GET", "/", 304),
        ("POST", "/a/", 201),
        ("HEAD", "/", 200),
        ("GET", "/gone/", 404),
        ("GET", "/static/site.css", 200),
    )
    traffic = read_access_log(seen)
    assert traffic.requests == [WeightedRequest("GET", "/", "/", 2), WeightedRequest("GET", "/a/1/", "/a/[id]/", 1)]
    assert (traffic.lines, traffic.taken) == (8, 3)


def test_other_methods_only_when_told(tmp_path: Path) -> None:
    seen = log(tmp_path, ("GET", "/", 200), ("POST", "/a/", 201))
    assert WeightedRequest("POST", "/a/", "/a/", 1) in read_access_log(seen, ("GET", "POST")).requests


def test_the_commonest_are_kept(tmp_path: Path) -> None:
    seen = log(tmp_path, *[("GET", f"/{number}/", 200) for number in range(9)], ("GET", "/8/", 200))
    traffic = read_access_log(seen, most=3)
    assert (traffic.requests[0].path, len(traffic.requests), traffic.taken) == ("/8/", 3, 4)


def test_a_log_without_use_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_access_log(tmp_path / "gone.log")
    with pytest.raises(UsageError, match="1 requests, none of them a GET that was answered well"):
        read_access_log(log(tmp_path, ("POST", "/", 200)))
    (tmp_path / "other.log").write_text("hello\n")
    with pytest.raises(UsageError, match="none of its 1 lines is a request"):
        read_access_log(tmp_path / "other.log")
