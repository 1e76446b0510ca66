"""Which version each package of a project was locked in: uv.lock, poetry.lock, Pipfile.lock."""

import json
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from runner.stacks.origins import address_of, checked, is_local, refuse_index


def of_lock(path: Path) -> Iterator[str]:
    """uv.lock and poetry.lock alike; a package that is there in several versions is left to the resolver."""
    packages: Iterable[Mapping[str, Any]] = tomllib.loads(path.read_text(encoding="utf-8")).get("package", [])
    known = [(one, _origin(one.get("source", {}))) for one in packages if "version" in one]
    # uv's lock has the project itself among its packages.
    known = [(one, origin) for one, origin in known if not is_local(origin)]
    times = Counter(one["name"] for one, _ in known)
    for one, origin in known:
        if times[one["name"]] == 1:
            yield _locked(one["name"], f"=={one['version']}", origin)


def of_pipfile_lock(path: Path) -> Iterator[str]:
    content = json.loads(path.read_text(encoding="utf-8"))
    indexes = {one["name"]: one["url"] for one in content.get("_meta", {}).get("sources", [])}
    for name, locked in content.get("default", {}).items():
        origin = {**locked, "registry": indexes[locked["index"]]} if locked.get("index") in indexes else locked
        if not is_local(origin) and ("version" in locked or address_of(origin)):
            yield _locked(name, locked.get("version", ""), origin)


def _locked(name: str, version: str, origin: Mapping[str, Any]) -> str:
    if "registry" in origin:
        refuse_index(origin["registry"])
    address = address_of(origin)
    return checked(f"{name} @ {address}" if address else f"{name}{version}")


def _origin(source: Mapping[str, Any]) -> Mapping[str, Any]:
    """A lock's source as the tables have it that packages are wanted with."""
    kind, url = source.get("type"), source.get("url", "")
    if kind is not None:
        # Poetry's: an index of the project's own is `legacy`.
        named = {"git": "git", "legacy": "registry", "directory": "directory", "file": "file"}.get(kind, "url")
        return {**{name: value for name, value in source.items() if name != "url"}, named: url}
    if "git" in source:
        # uv's: https://host/repository?subdirectory=part&rev=main#commit
        address, _, commit = source["git"].partition("#")
        part = parse_qs(urlsplit(address).query).get("subdirectory", [""])[0]
        return {"git": address.partition("?")[0], "rev": commit, "subdirectory": part}
    return source
