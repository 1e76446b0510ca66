"""What a Django project's folder says about itself, read without running a line of it.

Django's own conventions are what is looked for: `manage.py` names the settings module, and `wsgi.py` and `asgi.py`
stand beside it in the project's package.
"""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.specifiers import SpecifierSet

from runner.errors import UsageError
from runner.stacks.declared import alternatives
from runner.stacks.dependencies import VIRTUAL_ENVIRONMENT, read_packages
from runner.stacks.env_file import read_env_file
from runner.stacks.interpreters import PYTHONS
from runner.stacks.workspaces import workspace_of

SETTINGS_VARIABLE = "DJANGO_SETTINGS_MODULE"
#: How far below the folder `manage.py` is looked for: `src/`, `backend/app/`.
MANAGE_DEPTH = 2
#: Where a project's dependencies are written down, what runs in production first; each with its lock.
WANTED: Sequence[tuple[str, Sequence[str]]] = (
    ("pyproject.toml", ("uv.lock", "poetry.lock")),
    ("Pipfile", ("Pipfile.lock",)),
    ("requirements.txt", ()),
    ("requirements/production.txt", ()),
    ("requirements/prod.txt", ()),
    ("requirements/base.txt", ()),
    ("requirements/common.txt", ()),
    ("requirements/requirements.txt", ()),
    ("requirements-prod.txt", ()),
    ("requirements.in", ()),
    # Nothing is written down, but the project runs: start projects are often left so.
    *((f"{folder}/{VIRTUAL_ENVIRONMENT}", ()) for folder in (".venv", "venv", "env")),
)
#: Where a deployment's environment variables are, secrets among them; and where a project shows what they look like.
ENV_FILES = (".env", ".env.local")
ENV_EXAMPLES = (".env.example", ".env.sample", ".env.dist", ".env.template", "env.example", "example.env")
#: Folders that hold no project of the user's own.
FOREIGN = frozenset({"node_modules", "site-packages", "venv", "env", "dist", "build", "__pycache__"})
#: Patch releases that a series of Python may come to have.
MOST_PATCHES = 100
#: At a line's start: the name of a virtual environment, as pyenv has it there too, may have another's in it.
_VERSION = re.compile(r"^(?:c?python-)?(3\.\d+)", re.MULTILINE)
_CLASSES = re.compile(r"^\s*(from|import)\s+configurations\b", re.MULTILINE)


@dataclass(frozen=True)
class Found:
    """What a project's folder says. Entry points are `module:attribute`; empty where there is none."""

    #: The folder that was asked about, and the one in or below it that holds manage.py: what servers run in.
    folder: Path
    project: Path
    settings: str
    wsgi: str
    asgi: str
    #: The files that name its packages, and their lock.
    dependencies: tuple[Path, ...]
    #: The Python that it asks for, and the file that says so; empty where it says nothing.
    python: str
    python_from: str
    env_files: tuple[Path, ...]
    env_examples: tuple[Path, ...]
    #: Below manage.py's folder, where its code is imported from: `src`; empty where the two are one.
    python_path: tuple[Path, ...] = ()
    #: What .env or an entry point names in the place of what manage.py does, where nobody has said which it is to be.
    deployed_settings: str = ""


def look_at(folder: Path, settings: str = "", dependencies: Sequence[Path] = ()) -> Found:
    """Reads the project in `folder`, or a little below it.

    `settings` is the module, `dependencies` the files that name its packages, where somebody has named them. UsageError
    where there is no manage.py, more than one, none that leads to a settings module, or no entry point.
    """
    folder = folder.resolve()
    if not folder.is_dir():
        raise UsageError(f"{folder}: there is no such folder")
    manage = _only_manage(folder)
    project = manage.parent
    told = bool(settings)
    settings = settings or _settings_module(manage)
    root = next((root for root in _roots(project) if _source_of(root, settings)), None)
    if root is None:
        raise UsageError(
            f"{settings} is not under {project}, nor in a folder beside manage.py: "
            "name the settings module with --settings"
        )
    wsgi, asgi = (_entry_point(root, settings, kind) for kind in ("wsgi", "asgi"))
    if not wsgi and not asgi:
        raise UsageError(f"{root}: neither a wsgi.py nor an asgi.py with an `application` beside {settings}")
    entries = [path for entry in (wsgi, asgi) if (path := _source_of(root, entry.partition(":")[0]))]
    for path in (manage, *entries):
        if _CLASSES.search(_text(path)):
            raise UsageError(f"{path} uses django-configurations: settings that are classes cannot be overlaid")
    env_files = _beside(project, folder, ENV_FILES)
    python, python_from = _python(project, folder)
    return Found(
        folder=folder,
        project=project,
        settings=settings,
        wsgi=wsgi,
        asgi=asgi,
        dependencies=tuple(path.resolve() for path in dependencies) or _dependencies(project, folder),
        python=python,
        python_from=python_from,
        env_files=env_files,
        env_examples=_beside(project, folder, ENV_EXAMPLES),
        python_path=() if root == project else (root,),
        deployed_settings="" if told else _other_settings(settings, env_files, entries),
    )


def _only_manage(folder: Path) -> Path:
    """The one manage.py that is nearest to `folder`."""
    for depth in range(MANAGE_DEPTH + 1):
        found = list(_at_depth(folder, depth, "manage.py"))
        if len(found) > 1:
            names = ", ".join(str(path.relative_to(folder)) for path in found)
            raise UsageError(f"{folder} has more than one Django project ({names}); give the folder of one of them")
        if found:
            return found[0]
    raise UsageError(
        f"{folder}: no manage.py that sets {SETTINGS_VARIABLE}, here or up to {MANAGE_DEPTH} folders down; "
        "give the folder that holds it"
    )


def _at_depth(folder: Path, depth: int, name: str) -> Iterator[Path]:
    for path in sorted(folder.glob("/".join(["*"] * depth + [name]))):
        between = path.relative_to(folder).parts[:-1]
        if not any(map(_is_foreign, between)) and SETTINGS_VARIABLE in _text(path):
            yield path


def _is_foreign(name: str) -> bool:
    return name in FOREIGN or name.startswith(".")


def _roots(project: Path) -> list[Path]:
    """Where Python may import the project's code from: beside manage.py, or in a folder there that is no package."""
    beside = (path for path in sorted(project.iterdir()) if path.is_dir() and not _is_foreign(path.name))
    return [project, *(path for path in beside if not (path / "__init__.py").exists())]


def _settings_module(manage: Path) -> str:
    """The default that manage.py gives; where it works that out, the only settings beside an entry point."""
    named = _settings_named(manage)
    if len(named) > 1:
        raise UsageError(f"{manage} names {' and '.join(named)}: name the one to measure with --settings")
    if named:
        return named[0]
    found = [
        f"{path.parent.name}.settings"
        for root in _roots(manage.parent)
        for path in sorted(root.glob("*/wsgi.py"))
        if _source_of(root, f"{path.parent.name}.settings")
    ]
    if len(found) != 1:
        raise UsageError(
            f"{manage} works out {SETTINGS_VARIABLE} as it runs, and {len(found)} packages beside it have settings and "
            "a wsgi.py; name the module with --settings"
        )
    return found[0]


def _settings_named(path: Path) -> list[str]:
    """The settings modules that a file gives as constants, each once."""
    values = (_value_given(node) for node in ast.walk(_parsed(path)))
    constants = (value.value for value in values if isinstance(value, ast.Constant))
    return list(dict.fromkeys(value for value in constants if isinstance(value, str)))


def _other_settings(settings: str, env_files: Sequence[Path], entries: Sequence[Path]) -> str:
    """The first that environment files or entry points name in their place."""
    named = (name for names in (_settings_given(env_files), *map(_settings_named, entries)) for name in names)
    return next((name for name in named if name != settings), "")


def _settings_given(env_files: Sequence[Path]) -> list[str]:
    """Those that environment files give; the last one counts, as it does where they are read."""
    given = [read_env_file(path).get(SETTINGS_VARIABLE) for path in env_files]
    return [name for name in given if name][-1:]


def _value_given(node: ast.AST) -> ast.expr | None:
    """What `os.environ.setdefault("DJANGO_SETTINGS_MODULE", …)` or `os.environ["…"] = …` gives; None elsewhere."""
    if isinstance(node, ast.Call) and len(node.args) == 2 and _is_variable(node.args[0]):
        return node.args[1]
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript):
        return node.value if _is_variable(node.targets[0].slice) else None
    return None


def _is_variable(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value == SETTINGS_VARIABLE


def _parsed(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    except (SyntaxError, UnicodeDecodeError, ValueError) as error:
        raise UsageError(f"{path} is not Python that can be read: {error}") from error


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def _source_of(root: Path, module: str) -> Path | None:
    """The file or package of a dotted module under `root`."""
    path = root.joinpath(*module.split("."))
    candidates = (path.with_suffix(".py"), path / "__init__.py")
    return next((found for found in candidates if found.is_file()), None)


def _entry_point(root: Path, settings: str, kind: str) -> str:
    """`package.wsgi:application`, from the settings' own package outwards; then from any package beside it."""
    parts = settings.split(".")[:-1]
    inside = [".".join([*parts[:length], kind]) for length in range(len(parts), -1, -1)]
    beside = [f"{path.parent.name}.{kind}" for path in sorted(root.glob(f"*/{kind}.py"))]
    for module in (*inside, *beside):
        source = _source_of(root, module)
        if source is not None and _makes_application(_parsed(source)):
            return f"{module}:application"
    return ""


def _makes_application(module: ast.Module) -> bool:
    """Whether the name is bound somewhere: `application = …`, or an import of it."""
    for node in ast.walk(module):
        if isinstance(node, ast.alias) and "application" in (node.name, node.asname):
            return True
        if isinstance(node, ast.Name) and node.id == "application" and isinstance(node.ctx, ast.Store):
            return True
    return False


def _places(project: Path, folder: Path) -> list[Path]:
    """Beside manage.py first, and then up to the folder that was asked about."""
    return [project, *(parent for parent in project.parents if parent.is_relative_to(folder))]


def _beside(project: Path, folder: Path, names: Sequence[str]) -> tuple[Path, ...]:
    return tuple(path for place in _places(project, folder) for name in names if (path := place / name).is_file())


def _dependencies(project: Path, folder: Path) -> tuple[Path, ...]:
    """The first file that names any package, with its lock."""
    for place in _places(project, folder):
        for name, locks in WANTED:
            path = place / name
            if path.is_file() and read_packages("", [path]).requirements:
                return (path, *_locks(path, locks))
    return ()


def _locks(path: Path, names: Sequence[str]) -> list[Path]:
    """Those beside a file that names packages; of a member of uv's workspace, the one beside the workspace's root."""
    found = [lock for name in names if (lock := path.with_name(name)).is_file()]
    if found or path.name != "pyproject.toml":
        return found
    try:
        root = workspace_of(path)
    except ValueError as error:
        raise UsageError(f"{path}: the workspace above it: {error}") from error
    if root is None or not (shared := root.with_name("uv.lock")).is_file():
        return []
    return [shared]


def _python(project: Path, folder: Path) -> tuple[str, str]:
    """The version that a file names, or one that its bounds let in; empty where the runner's own will do."""
    for place in _places(project, folder):
        for name in (".python-version", "runtime.txt"):
            path = place / name
            if path.is_file() and (found := _VERSION.search(_text(path))):
                return found[1], name
        path = place / "pyproject.toml"
        if path.is_file() and (version := _other_python(_requires_python(path))):
            return version, path.name
        path = place / "Pipfile"
        if path.is_file() and (version := _of_pipfile(path)):
            return version, path.name
    return "", ""


def _requires_python(path: Path) -> str:
    """`requires-python`, or else Poetry's own word; in the latter's several, one that holds is enough."""
    content = _toml(path)
    poetry = content.get("tool", {}).get("poetry", {}).get("dependencies", {})
    return str(content.get("project", {}).get("requires-python") or poetry.get("python", ""))


def _of_pipfile(path: Path) -> str:
    """https://pipenv.pypa.io/en/latest/pipfile.html: one version, no bounds."""
    requires = _toml(path).get("requires", {})
    found = _VERSION.match(str(requires.get("python_full_version") or requires.get("python_version", "")))
    return found[1] if found else ""


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(_text(path))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: cannot be read: {error}") from error


def _other_python(wanted: str) -> str:
    """The oldest that a project's bounds let in, where they shut out the runner's own."""
    try:
        allowed = [SpecifierSet(part) for part in alternatives(wanted)]
    except ValueError:
        return ""
    # A bound may be within a series: any of its patch releases will do.
    fitting = [
        version
        for version in PYTHONS
        if any(bounds.contains(f"{version}.{patch}") for bounds in allowed for patch in range(MOST_PATCHES))
    ]
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    return fitting[0] if wanted and fitting and own not in fitting else ""
