"""The released versions of a package, as uv finds them in the package index.

https://packaging.python.org/en/latest/specifications/simple-repository-api/
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import requests
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import InvalidVersion, Version
from pypi_simple import DistributionPackage, NoSuchProjectError, PyPISimple

from runner import waiting
from runner.errors import EnvironmentUnfit, UsageError
from runner.stacks.origins import package_indexes
from runner.stacks.versions import is_series


@dataclass(frozen=True)
class Release:
    """One version; `skipped` says why nobody who asks for none in particular gets it, and is empty otherwise.

    `installable` is whether somebody who asks for it does.
    """

    version: str
    skipped: str = ""
    installable: bool = True


def releases(package: str, python: str) -> list[Release]:
    """All versions, the oldest first, for an interpreter such as `3.11.7`.

    UsageError where there is no such package, EnvironmentUnfit where an index cannot be read.
    """
    files: dict[Version, list[DistributionPackage]] = {}
    for file in _in_indexes(package):
        version = _version(file)
        if version is not None:
            files.setdefault(version, []).append(file)
    if not files:
        raise UsageError(f"{package}: the package index has no such package, or none of its versions can be read")
    tags = _tags(python)
    return [_release(version, files[version], python, tags) for version in sorted(files)]


def newest_like(found: Sequence[Release], asked: str) -> Release | None:
    """What `5.2` (its newest release) or `5.2.8` stands for; None if there is none.

    One that is asked for exactly may be one that is skipped otherwise.
    """
    if is_series(asked):
        wanted = SpecifierSet(f"=={asked}.*")
        return next((one for one in reversed(found) if not one.skipped and Version(one.version) in wanted), None)
    return next((one for one in found if Version(one.version) == Version(asked)), None)


def _in_indexes(package: str) -> Iterable[DistributionPackage]:
    pages = [_page(url, package) for url in package_indexes()]
    return chain.from_iterable(pages)


def _page(url: str, package: str) -> Sequence[DistributionPackage]:
    try:
        with PyPISimple(url) as index:
            return index.get_project_page(package, timeout=waiting.PACKAGE_INDEX).packages
    except NoSuchProjectError:
        return ()
    except (requests.RequestException, ValueError) as error:
        raise EnvironmentUnfit(f"the package index {url} cannot be read: {error}") from error


def _version(file: DistributionPackage) -> Version | None:
    try:
        return Version(file.version or "")
    except InvalidVersion:
        return None


def _release(version: Version, files: Sequence[DistributionPackage], python: str, tags: frozenset[Tag]) -> Release:
    allowed = [file for file in files if _allows(file, python)]
    if not allowed:
        asked = next(file.requires_python for file in files if file.requires_python)
        return Release(str(version), f"needs Python {asked}, not {python}", installable=False)
    fitting = [file for file in allowed if _can_be_installed(file, tags)]
    if not fitting:
        reason = f"has neither source nor a wheel for Python {python} on this machine"
        return Release(str(version), reason, installable=False)
    if version.is_prerelease:
        return Release(str(version), "a pre-release")
    if all(file.is_yanked for file in fitting):
        words = next((file.yanked_reason for file in fitting if file.yanked_reason), None)
        return Release(str(version), f"yanked: {words}" if words else "yanked")
    return Release(str(version))


def _allows(file: DistributionPackage, python: str) -> bool:
    try:
        return file.requires_python is None or python in SpecifierSet(file.requires_python)
    except InvalidSpecifier:
        # uv mends or ignores what older packages have there.
        return True


def _can_be_installed(file: DistributionPackage, tags: frozenset[Tag]) -> bool:
    if file.package_type == "sdist":
        return True
    try:
        return file.package_type == "wheel" and not tags.isdisjoint(parse_wheel_filename(file.filename)[3])
    except InvalidWheelFilename:
        return False


def _tags(python: str) -> frozenset[Tag]:
    """What wheels may say that this machine's CPython of a version can install."""
    version = tuple(int(part) for part in python.split(".")[:2])
    interpreter = f"cp{version[0]}{version[1]}"
    return frozenset(chain(cpython_tags(version), compatible_tags(version, interpreter)))
