"""Has Django take the overlay's settings in every Python process under test, whatever the project names.

Python imports a module of this name as it starts, in the children of the app's processes too. The variable
DJANGO_SETTINGS_MODULE alone would not do: `manage.py`, an entry point, a Celery app in a package's `__init__.py` or a
`.env` that is loaded over the environment may name others before Django reads it, and the process would then work on
the project's own database. Django itself is not imported here: a server may have to patch the standard library first.
"""

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any, NoReturn

SETTINGS = "connbench_settings"


class DjangoConf:
    """Finds `django.conf` where Python would, and changes where its settings come from once it is there."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != "django.conf":
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                execute(module)
                insist(module)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def insist(conf: Any) -> None:
    """Makes the overlay the only settings that `django.conf.settings` can hold."""

    class Settings(conf.Settings):  # type: ignore[misc]
        def __init__(self, _: str) -> None:
            super().__init__(SETTINGS)

    def configure(*_: Any, **__: Any) -> NoReturn:
        raise conf.ImproperlyConfigured(
            "settings.configure() was called, so that the database under test could not be put in: "
            "connbench needs a project whose settings are a module"
        )

    conf.Settings, conf.LazySettings.configure = Settings, configure


sys.meta_path.insert(0, DjangoConf)
