"""Files of environment variables (`.env`), as python-dotenv reads them."""

from pathlib import Path

from dotenv import dotenv_values

from runner.errors import UsageError


def read_env_file(path: Path, *, interpolate: bool = True) -> dict[str, str]:
    """The names that have a value; `interpolate` looks `${NAME}` up. UsageError where the file is no text."""
    try:
        values = dotenv_values(path, interpolate=interpolate)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from error
    return {name: value for name, value in values.items() if value is not None}
