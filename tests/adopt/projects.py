"""Small Django projects, each as somebody would have written it."""

from pathlib import Path

MANAGE = """\
import os
import sys

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "{settings}")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)
"""
ENTRY = """\
import os

from django.core.{kind} import get_{kind}_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "{settings}")
application = get_{kind}_application()
"""
SETTINGS = """\
import os
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent
SECRET_KEY = "not a secret"
DEBUG = False
ROOT_URLCONF = "site_of_mine.urls"
WSGI_APPLICATION = "site_of_mine.wsgi.application"
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "site_of_mine"]
MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]
TEMPLATES = []
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "db.sqlite3"}}
USE_TZ = True
"""
URLS = """\
from django.contrib.auth import get_user_model
from django.db import connection
from django.http import HttpResponse
from django.urls import path


def home(request):
    count = get_user_model().objects.count()
    return HttpResponse(f"<title>Mine</title><a href='/about/'>About</a> {count} users")


def about(request):
    return HttpResponse(f"in a transaction: {connection.in_atomic_block}")


def broken(request):
    raise RuntimeError("this page is broken")


def user(request, number):
    return HttpResponse(f"user {number} of {get_user_model().objects.count()}")


urlpatterns = [path("", home), path("about/", about), path("broken/", broken), path("users/<int:number>/", user)]
"""


def make_project(folder: Path, more: str = "", settings: str = "site_of_mine.settings") -> Path:
    """A whole project; `more` goes to the end of its settings, which are a module of the dotted name `settings`."""
    package = folder / "site_of_mine"
    package.mkdir(parents=True)
    (folder / "manage.py").write_text(MANAGE.format(settings=settings))
    (package / "__init__.py").touch()
    for kind in ("wsgi", "asgi"):
        (package / f"{kind}.py").write_text(ENTRY.format(kind=kind, settings=settings))
    (package / "urls.py").write_text(URLS)
    module = folder.joinpath(*settings.split(".")).with_suffix(".py")
    for parent in module.relative_to(package).parents:
        (package / parent).mkdir(exist_ok=True)
        (package / parent / "__init__.py").touch()
    module.write_text(SETTINGS + more)
    (folder / "requirements.txt").write_text("Django>=5.2,<5.3\n")
    return folder
