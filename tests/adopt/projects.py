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


#: As a grown-up project has it: settings from the environment, a custom user model, a replica, a transaction a view,
#: static files that a deployment collects.
AWKWARD = """
import dj_database_url
import environ

env = environ.Env()
SECRET_KEY = env("SITE_SECRET")
FLAG = os.environ["SITE_FLAG"]
DATABASES = {
    "default": {**dj_database_url.config(conn_max_age=600, conn_health_checks=True), "ATOMIC_REQUESTS": True},
    "replica": {**env.db("REPLICA_URL"), "TEST": {"MIRROR": "default"}},
}
DATABASE_ROUTERS = ["site_of_mine.routers.Reader"]
INSTALLED_APPS += ["people", "django.contrib.staticfiles"]
STATIC_URL, STATIC_ROOT = "/static/", BASE_DIR / "collected"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"},
}
AUTH_USER_MODEL = "people.Person"
"""
ROUTER = """\
class Reader:
    def db_for_read(self, model, **hints):
        return "replica"

    def db_for_write(self, model, **hints):
        return "default"

    def allow_relation(self, one, other, **hints):
        return True

    def allow_migrate(self, db, app_label, **hints):
        return db == "default"
"""
MODELS = """\
from django.contrib.auth.models import AbstractBaseUser, BaseUserManager
from django.db import models


class Person(AbstractBaseUser):
    email = models.EmailField(unique=True)
    USERNAME_FIELD = "email"
    objects = BaseUserManager()
"""
MIGRATION = """\
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    dependencies = []
    operations = [
        migrations.CreateModel(
            name="Person",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("password", models.CharField(max_length=128)),
                ("last_login", models.DateTimeField(blank=True, null=True)),
                ("email", models.EmailField(max_length=254, unique=True)),
            ],
        ),
        migrations.RunSQL("INSERT INTO people_person (password, email) VALUES ('', 'first@example.org')"),
    ]
"""


#: At the beginning of any file: it insists on its settings, whatever the environment says.
FORCED = """\
import os

os.environ["DJANGO_SETTINGS_MODULE"] = "{settings}"
"""
#: One that reads its settings before Django's command line has its say.
ASKING = """\
import sys

from django.conf import settings
from django.core.management import execute_from_command_line

sys.path.insert(0, "src")
print("in a mode for debugging" if settings.DEBUG else "as in production")
execute_from_command_line(sys.argv)
"""
STYLED = """
from django.templatetags.static import static


def styled(request):
    return HttpResponse(f"styled by {static('site.css')}")


urlpatterns.append(path("styled/", styled))
"""


def make_awkward_project(folder: Path) -> Path:
    """One in a src layout that insists on its settings; they ask for three variables, of which a file has two."""
    name = "site_of_mine.settings.production"
    source = make_project(folder / "src", AWKWARD, name)
    for file in ("manage.py", "requirements.txt"):
        (source / file).unlink()
    (folder / "manage.py").write_text(FORCED.format(settings=name) + ASKING)
    entry = source / "site_of_mine" / "wsgi.py"
    entry.write_text(FORCED.format(settings=name) + entry.read_text())
    with (source / "site_of_mine" / "urls.py").open("a") as urls:
        urls.write(STYLED)
    (source / "site_of_mine" / "routers.py").write_text(ROUTER)
    (folder / ".env.example").write_text("REPLICA_URL=postgres://live:secret@replica.example/live\nSITE_FLAG=on\n")
    people = source / "people" / "migrations"
    people.mkdir(parents=True)
    (people / "__init__.py").touch()
    (people.parent / "__init__.py").touch()
    (people.parent / "models.py").write_text(MODELS)
    (people / "0001_initial.py").write_text(MIGRATION)
    (folder / "requirements.txt").write_text("Django>=5.2,<5.3\ndj-database-url==3.0.1\ndjango-environ==0.12.0\n")
    return folder
