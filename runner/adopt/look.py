"""What a Django project's folder says about itself, read without running a line of it.

Django's own conventions are what is looked for: `manage.py` names the settings module, and `wsgi.py` and `asgi.py`
stand beside it in the project's package.
"""

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.errors import UsageError

SETTINGS_VARIABLE = "DJANGO_SETTINGS_MODULE"
#: How far below the folder `manage.py` is looked for: `src/`, `backend/app/`.
MANAGE_DEPTH = 2
#: Where a project's dependencies are written down, the most exact first.
DEPENDENCY_FILES = (
    "uv.lock",
    "poetry.lock",
    "Pipfile.lock",
    "requirements.txt",
    "requirements/production.txt",
    "requirements/base.txt",
    "requirements.in",
    "Pipfile",
    "pyproject.toml",
)
#: Folders that hold no project of the user's own.
FOREIGN = frozenset({"node_modules", "site-packages", "venv", "env", "dist", "build", "__pycache__"})


@dataclass(frozen=True)
class Found:
    """What a project's folder says. Entry points are `module:attribute`; None where there is none."""

    #: The folder that holds manage.py: what the app server runs in.
    project: Path
    settings: str
    wsgi: str | None
    asgi: str | None
    #: The file that names its packages, or None.
    dependencies: Path | None


def look_at(folder: Path) -> Found:
    """Reads the project in `folder`, or a little below it.

    Raises UsageError where there is no manage.py, more than one, or none that names a settings module.
    """
    folder = folder.resolve()
    if not folder.is_dir():
        raise UsageError(f"{folder}: there is no such folder")
    manage = _only_manage(folder)
    project = manage.parent
    settings = _settings_module(manage)
    if not _source_of(project, settings):
        raise UsageError(
            f"{manage} names the settings module {settings}, which is not under {project}; "
            f"name the right one with --settings"
        )
    return Found(
        project=project,
        settings=settings,
        wsgi=_entry_point(project, settings, "wsgi"),
        asgi=_entry_point(project, settings, "asgi"),
        dependencies=_dependencies(project, folder),
    )


def _only_manage(folder: Path) -> Path:
    """The one manage.py that is nearest to `folder`."""
    for depth in range(MANAGE_DEPTH + 1):
        found = [path for path in _at_depth(folder, depth, "manage.py") if _names_settings(path)]
        if len(found) > 1:
            names = ", ".join(str(path.relative_to(folder)) for path in found)
            raise UsageError(f"{folder} has more than one Django project ({names}); give the folder of one of them")
        if found:
            return found[0]
    raise UsageError(
        f"{folder}: no manage.py that names a settings module, here or up to {MANAGE_DEPTH} folders down; "
        f"give the folder that holds it"
    )


def _at_depth(folder: Path, depth: int, name: str) -> Iterator[Path]:
    for path in sorted(folder.glob("/".join(["*"] * depth + [name]))):
        between = path.relative_to(folder).parts[:-1]
        if not any(part in FOREIGN or part.startswith(".") for part in between):
            yield path


def _names_settings(manage: Path) -> bool:
    return SETTINGS_VARIABLE in manage.read_text(encoding="utf-8", errors="replace")


def _settings_module(manage: Path) -> str:
    """The default that manage.py gives to DJANGO_SETTINGS_MODULE."""
    for node in ast.walk(_parsed(manage)):
        value = _value_given(node)
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            return value.value
    raise UsageError(
        f"{manage} sets {SETTINGS_VARIABLE} to something that cannot be read without running it; "
        f"name the module with --settings"
    )


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
    except (SyntaxError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not Python that can be read: {error}") from error


def _source_of(project: Path, module: str) -> Path | None:
    """The file or package of a dotted module under `project`."""
    path = project.joinpath(*module.split("."))
    candidates: Sequence[Path] = (path.with_suffix(".py"), path / "__init__.py")
    return next((found for found in candidates if found.is_file()), None)


def _entry_point(project: Path, settings: str, kind: str) -> str | None:
    """`package.wsgi:application`, from the settings' own package outwards."""
    parts = settings.split(".")[:-1]
    for length in range(len(parts), -1, -1):
        module = ".".join([*parts[:length], kind])
        source = _source_of(project, module)
        if source is not None and "application" in source.read_text(encoding="utf-8", errors="replace"):
            return f"{module}:application"
    return None


def _dependencies(project: Path, folder: Path) -> Path | None:
    """The most exact file, beside manage.py first and then up to the folder that was asked about."""
    places = [project, *(parent for parent in project.parents if parent.is_relative_to(folder))]
    return next((place / name for place in places for name in DEPENDENCY_FILES if (place / name).is_file()), None)
