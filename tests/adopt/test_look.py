"""What a project's folder says, found without running a line of it; what is missing is one clear message."""

from pathlib import Path

import pytest

from runner.adopt.look import look_at
from runner.errors import UsageError
from tests.adopt.projects import make_project


def test_a_plain_project_says_everything(tmp_path: Path) -> None:
    project = make_project(tmp_path / "mine")
    found = look_at(project)
    assert (found.folder, found.project) == (project, project)
    assert found.settings == "site_of_mine.settings"
    assert (found.wsgi, found.asgi) == ("site_of_mine.wsgi:application", "site_of_mine.asgi:application")
    assert found.dependencies == (project / "requirements.txt",)
    assert (found.python, found.python_from) == ("", "")


def test_a_settings_package_and_a_folder_above(tmp_path: Path) -> None:
    project = make_project(tmp_path / "repository" / "backend", settings="site_of_mine.settings.production")
    (tmp_path / "repository" / "pyproject.toml").write_text('[project]\nname = "mine"\ndependencies = ["django"]\n')
    (project / "requirements.txt").unlink()
    found = look_at(tmp_path / "repository")
    assert found.project == project
    assert found.settings == "site_of_mine.settings.production"
    assert found.wsgi == "site_of_mine.wsgi:application", "found outside the settings' package"
    assert found.dependencies == (tmp_path / "repository" / "pyproject.toml",)


def test_a_settings_module_that_manage_py_works_out(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    text = (project / "manage.py").read_text().replace('"site_of_mine.settings"', '"%s.settings" % NAME')
    (project / "manage.py").write_text(text)
    assert look_at(project).settings == "site_of_mine.settings"


def test_settings_that_only_an_entry_point_names_are_told(tmp_path: Path) -> None:
    project = make_project(tmp_path, settings="site_of_mine.settings.local")
    assert look_at(project).deployed_settings == ""
    entry = project / "site_of_mine" / "wsgi.py"
    entry.write_text(entry.read_text().replace("settings.local", "settings.production"))
    found = look_at(project)
    assert (found.settings, found.deployed_settings) == (
        "site_of_mine.settings.local",
        "site_of_mine.settings.production",
    )
    assert look_at(project, found.settings).deployed_settings == "", "somebody has said which"
    (project / ".env").write_text("DJANGO_SETTINGS_MODULE=site_of_mine.settings.live\n")
    assert look_at(project).deployed_settings == "site_of_mine.settings.live", "the environment goes before all files"


def test_a_manage_py_that_names_two_settings_is_asked_about(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    manage = project / "manage.py"
    two = "if 'test' in sys.argv:\n    os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'site_of_mine.test')\n"
    manage.write_text(manage.read_text() + two)
    with pytest.raises(UsageError, match=r"names site_of_mine\.settings and site_of_mine\.test: name the one"):
        look_at(project)
    assert look_at(project, "site_of_mine.settings").settings == "site_of_mine.settings"


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("app = get_wsgi_application()", ""),
        ("app = application = get_wsgi_application()", "site_of_mine.wsgi:application"),
        ("from site_of_mine.asgi import application", "site_of_mine.wsgi:application"),
    ],
)
def test_an_entry_point_is_what_binds_the_name(tmp_path: Path, line: str, found: str) -> None:
    project = make_project(tmp_path)
    (project / "site_of_mine" / "wsgi.py").write_text(f"from django.core.wsgi import get_wsgi_application\n{line}\n")
    assert look_at(project).wsgi == found


def test_a_tool_s_pyproject_without_dependencies_is_passed_over(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    (project / "pyproject.toml").write_text('[project]\nname = "mine"\nrequires-python = ">=3.12"\n')
    found = look_at(project)
    assert found.dependencies == (project / "requirements.txt",)
    assert (found.python, found.python_from) == ("3.12", "pyproject.toml")


def test_a_project_that_names_no_packages_has_those_of_its_virtual_environment(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    info = project / ".venv" / "lib" / "python3.11" / "site-packages" / "django-5.2.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: django\nVersion: 5.2\n")
    (project / ".venv" / "pyvenv.cfg").touch()
    assert look_at(project).dependencies == (project / "requirements.txt",), "what is written down goes first"
    (project / "requirements.txt").unlink()
    assert look_at(project).dependencies == (project / ".venv" / "pyvenv.cfg",)
    named = [project / "deployed.txt"]
    assert look_at(project, dependencies=named).dependencies == tuple(named), "what somebody has said goes before all"


@pytest.mark.parametrize(
    ("name", "lock", "text"),
    [
        ("pyproject.toml", "uv.lock", '[project]\nname = "m"\ndependencies = ["django>=5"]\n'),
        ("pyproject.toml", "poetry.lock", '[tool.poetry.dependencies]\npython = "^3.11"\ndjango = "^5.2"\n'),
        ("Pipfile", "Pipfile.lock", '[packages]\ndjango = "*"\n'),
    ],
)
def test_a_lock_stands_beside_what_is_wanted(tmp_path: Path, name: str, lock: str, text: str) -> None:
    project = make_project(tmp_path)
    (project / name).write_text(text)
    (project / lock).touch()
    assert look_at(project).dependencies == (project / name, project / lock)


def test_a_member_of_a_workspace_has_the_lock_of_its_root(tmp_path: Path) -> None:
    project = make_project(tmp_path / "backend")
    (project / "pyproject.toml").write_text('[project]\nname = "backend"\ndependencies = ["django"]\n')
    (tmp_path / "pyproject.toml").write_text('[tool.uv.workspace]\nmembers = ["backend"]\n')
    (tmp_path / "uv.lock").touch()
    for folder in (tmp_path, project):
        assert look_at(folder).dependencies == (project / "pyproject.toml", tmp_path / "uv.lock")
    (project / "poetry.lock").touch()
    assert look_at(tmp_path).dependencies == (project / "pyproject.toml", project / "poetry.lock")


def test_a_file_above_the_project_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    project = make_project(tmp_path / "backend")
    (project / "pyproject.toml").write_text('[tool.poetry.dependencies]\ndjango = "*"\n')
    (tmp_path / "pyproject.toml").write_text("[project")
    with pytest.raises(UsageError, match=rf"the workspace above it: {tmp_path}/pyproject\.toml: "):
        look_at(project)


@pytest.mark.parametrize(
    ("name", "text", "python"),
    [
        (".python-version", "3.13.1\n", "3.13"),
        (".python-version", "# ours\ncpython-3.12\n", "3.12"),
        (".python-version", "mysite-env-2.0\n3.12.4\n", "3.12"),
        (".python-version", "django4.2\n", ""),
        (".python-version", "mysite-3.9\n", ""),
        ("runtime.txt", "python-3.12.4\n", "3.12"),
        ("pyproject.toml", '[project]\nrequires-python = ">=3.10"\n', ""),
        ("pyproject.toml", '[project]\nrequires-python = "==3.13.2"\n', "3.13"),
        ("pyproject.toml", '[tool.poetry.dependencies]\npython = "^3.12"\n', "3.12"),
        ("pyproject.toml", '[tool.poetry.dependencies]\npython = "~3.10 || >=3.13 <4"\n', "3.10"),
        ("pyproject.toml", '[tool.poetry.dependencies]\npython = "^3.8"\n', ""),
        ("Pipfile", '[requires]\npython_version = "3.12"\n', "3.12"),
        ("Pipfile", '[requires]\npython_full_version = "3.13.1"\n', "3.13"),
        ("Pipfile", '[packages]\ndjango = "*"\n', ""),
    ],
)
def test_a_python_that_a_file_names(tmp_path: Path, name: str, text: str, python: str) -> None:
    project = make_project(tmp_path)
    (project / name).write_text(text)
    found = look_at(project)
    assert (found.python, found.python_from) == (python, name if python else "")


@pytest.mark.parametrize(
    ("breakage", "words"),
    [
        (lambda p: (p / "manage.py").unlink(), "no manage.py that sets DJANGO_SETTINGS_MODULE"),
        (lambda p: (p / "site_of_mine" / "settings.py").unlink(), "site_of_mine.settings is not under"),
        (lambda p: [(p / "site_of_mine" / f"{k}sgi.py").unlink() for k in "wa"], "neither a wsgi.py nor an asgi.py"),
        (lambda p: (p / "pyproject.toml").write_text("[project"), r"pyproject\.toml: cannot be read: "),
        (lambda p: (p / "manage.py").write_text("DJANGO_SETTINGS_MODULE ="), "is not Python that can be read"),
    ],
)
def test_what_stands_in_the_way_is_one_message(tmp_path: Path, breakage, words: str) -> None:  # type: ignore[no-untyped-def]
    project = make_project(tmp_path)
    breakage(project)
    with pytest.raises(UsageError, match=words):
        look_at(project)


@pytest.mark.parametrize("settings", ["", "site_of_mine.settings"])
@pytest.mark.parametrize("name", ["manage.py", "site_of_mine/wsgi.py", "site_of_mine/asgi.py"])
def test_settings_that_are_classes_are_refused_whoever_names_them(tmp_path: Path, name: str, settings: str) -> None:
    path = make_project(tmp_path) / name
    path.write_text(f"import configurations\n{path.read_text()}")
    with pytest.raises(UsageError, match=rf"{name} uses django-configurations: settings that are classes"):
        look_at(tmp_path, settings)


@pytest.mark.parametrize("settings", ["", "site_of_mine.settings"])
@pytest.mark.parametrize("folder", ["src", "backend"])
def test_a_src_layout(tmp_path: Path, folder: str, settings: str) -> None:
    project = make_project(tmp_path)
    (project / folder).mkdir()
    (project / "site_of_mine").rename(project / folder / "site_of_mine")
    found = look_at(project, settings)
    assert (found.project, found.python_path) == (project, (project / folder,))
    assert (found.settings, found.wsgi) == ("site_of_mine.settings", "site_of_mine.wsgi:application")
    assert look_at(make_project(tmp_path / "plain")).python_path == ()


def test_two_projects_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    make_project(tmp_path / "one")
    make_project(tmp_path / "two")
    with pytest.raises(UsageError, match=r"more than one Django project \(one/manage.py, two/manage.py\)"):
        look_at(tmp_path)


def test_no_folder_at_all(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no such folder"):
        look_at(tmp_path / "nowhere")


def test_a_virtual_environment_inside_is_not_looked_into(tmp_path: Path) -> None:
    project = make_project(tmp_path / "mine")
    make_project(tmp_path / "mine" / "venv" / "lib")
    (project / "manage.py").rename(project / "gone.py")
    with pytest.raises(UsageError, match=r"no manage\.py"):
        look_at(project)
