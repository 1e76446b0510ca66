"""The app's description, and what the overlay tells its process."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from runner.errors import UsageError
from runner.provision.service import Address
from runner.stacks import app as apps
from runner.stacks.app import MASK, Check, django_database, load_app, make_overlay
from runner.stacks.connection import ConnectionSpec
from runner.stacks.databases import AnyDatabaseSpec
from runner.stacks.databases.base import Account
from runner.stacks.servers.base import PROBE_QUERY

ADDRESS = Address("127.0.0.1", 15432)
ACCOUNT = Account("b1_pg", "b1_pg_user", "very secret")

GOOD = """
settings: mine.settings
wsgi: mine.wsgi:application
setup: [[migrate]]
ready: /up/
checks: [{path: /up/, database: false}]
"""


def database(engine: str, **connection: Any) -> dict[str, Any]:
    spec = TypeAdapter(AnyDatabaseSpec).validate_python({"engine": engine})
    return django_database(spec, ConnectionSpec.model_validate(connection), ACCOUNT, ADDRESS)


@pytest.fixture
def description(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the description of an app called `mine` is read from."""
    monkeypatch.setattr(apps, "ROOT", tmp_path)
    path = tmp_path / "apps" / "mine" / "app.yaml"
    path.parent.mkdir(parents=True)
    return path


def test_the_shop() -> None:
    shop = load_app("shop")
    assert shop.folder == apps.ROOT / "apps" / "shop"
    assert (shop.folder / "manage.py").exists()
    assert shop.description.endpoints_without_database == {"GET /health/", "GET /rates/EUR/"}
    checked = {check.endpoint for check in shop.description.checks}
    assert {audit.endpoint for audit in shop.description.audits} <= checked
    assert shop.description.ready in {check.path for check in shop.description.checks}


def test_a_file_of_variables_that_is_no_text_is_told(description: Path) -> None:
    description.write_text(f"{GOOD}env_files: [.env]\n")
    file = description.parent / ".env"
    file.write_text("NAME=señor\nEMPTY\n")
    assert load_app("mine").env == {"NAME": "señor"}
    file.write_bytes("NAME=señor\n".encode("latin-1"))
    with pytest.raises(UsageError, match=r"\.env: cannot be read: .*utf-8"):
        _ = load_app("mine").env


def test_defaults_of_a_description(description: Path) -> None:
    description.write_text(GOOD)
    (check,) = load_app("mine").description.checks
    assert (check.method, check.status, check.contains, check.json_body) == ("GET", 200, "", None)
    assert load_app("mine").description.audits == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("settings: [", "cannot be read"),
        (GOOD.replace("ready", "raedy"), "ready: Field required"),
        (GOOD + "colour: red\n", "colour: Extra inputs are not permitted"),
        (GOOD.replace("/up/, database", "/up/, statsu: 200, database"), "checks.0.statsu"),
        ("just words", "valid dictionary"),
    ],
)
def test_a_bad_description_is_refused_with_its_place(description: Path, text: str, words: str) -> None:
    description.write_text(text)
    with pytest.raises(UsageError) as caught:
        load_app("mine")
    assert str(caught.value).startswith(f"{description}: ")
    assert words in str(caught.value)


def test_an_app_that_is_not_there(description: Path) -> None:
    with pytest.raises(UsageError, match=r"apps/other/app\.yaml: cannot be read"):
        load_app("other")


def test_an_endpoint_is_named_as_traffic_profiles_name_it() -> None:
    assert Check(path="/products/?page=2&x=1").endpoint == "GET /products/"
    assert Check.model_validate({"path": "/orders/", "method": "POST", "json": {}}).endpoint == "POST /orders/"


def test_one_check_that_touches_the_database_is_enough(description: Path) -> None:
    checks = "[{path: /up/, database: false}, {path: /hold/, database: false}, {path: '/hold/?ms=1'}]"
    description.write_text(GOOD.replace("[{path: /up/, database: false}]", checks))
    assert load_app("mine").description.endpoints_without_database == {"GET /up/"}


@pytest.mark.parametrize(
    ("engine", "backend"), [("postgres", "django.db.backends.postgresql"), ("mysql", "django.db.backends.mysql")]
)
def test_djangos_database(engine: str, backend: str) -> None:
    assert database(engine, conn_max_age=60, conn_health_checks=True) == {
        "ENGINE": backend,
        "NAME": "b1_pg",
        "USER": "b1_pg_user",
        "PASSWORD": "very secret",
        "HOST": "127.0.0.1",
        "PORT": 15432,
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
    }


@pytest.mark.parametrize("age", [0, 60, None])
def test_forever_is_not_the_default(age: int | None) -> None:
    assert database("postgres", conn_max_age=age)["CONN_MAX_AGE"] is age


@pytest.mark.parametrize(
    ("pool", "options"),
    [
        ({}, {"min_size": 4}),
        ({"min_size": 1, "max_size": 2}, {"min_size": 1, "max_size": 2}),
        ({"min_size": 0, "max_size": 1, "timeout": "250ms"}, {"min_size": 0, "max_size": 1, "timeout": 0.25}),
    ],
)
def test_the_pools_options_are_the_pools_own(pool: dict[str, Any], options: dict[str, Any]) -> None:
    """Seconds as a number: psycopg's pool knows no units. What is not given stays its own default."""
    assert database("postgres", pool={"kind": "native", **pool})["OPTIONS"] == {"pool": options}


def test_the_overlay_carries_everything_in_one_variable() -> None:
    settings = database("postgres")
    overlay = make_overlay(load_app("shop"), settings, "127.0.0.1")
    content = json.loads(overlay.env["CONNBENCH_OVERLAY"])
    assert content == {
        "settings": "shop.settings",
        "aliases": {},
        "plain_static": False,
        "databases": {"default": settings},
        "allowed_hosts": ["127.0.0.1"],
        "middleware": ["connbench_timing.timing_middleware"],
        "token": overlay.token,
        "probe": PROBE_QUERY,
        "timing": "full",
        "process": {"driver": "", "pooled": False, "settings": {}},
        "apps": [],
    }
    assert overlay.env["DJANGO_SETTINGS_MODULE"] == "connbench_settings"
    overlay_folder, app_folder = overlay.env["PYTHONPATH"].split(":")
    assert (Path(overlay_folder) / "connbench_settings.py").exists()
    assert (Path(app_folder) / "manage.py").exists()


def test_code_of_a_src_layout_is_found_and_so_is_the_apps_own_python_path(tmp_path: Path) -> None:
    for folder in ("src", "connbench"):
        (tmp_path / folder).mkdir()
    (tmp_path / "manage.py").touch()
    path = tmp_path / "connbench" / "app.yaml"
    path.write_text(f"{GOOD}project: ..\npython_path: [../src]\nenv: {{PYTHONPATH: '/opt/shared:vendor'}}\n")
    app = load_app(str(path))
    assert app.python_path == [str(apps.OVERLAY), str(tmp_path / "src"), str(tmp_path), "/opt/shared", "vendor"]
    assert make_overlay(app, {}, "127.0.0.1").env["PYTHONPATH"] == ":".join(app.python_path)
    for wrong in ("..", "../missing", "../.."):
        path.write_text(f"{GOOD}project: ..\npython_path: [{wrong}/x]\n")
        with pytest.raises(UsageError, match=r"app\.yaml: python_path: .* is no folder of the project"):
            _ = load_app(str(path)).python_path


def test_what_is_shown_has_no_password_in_it() -> None:
    overlay = make_overlay(load_app("shop"), database("postgres"), "127.0.0.1")
    assert "very secret" not in json.dumps(overlay.shown)
    assert overlay.shown["default"] == {**database("postgres"), "PASSWORD": "********"}


def test_secrets_are_masked_wherever_they_stand_in_an_environment() -> None:
    settings = database("postgres")
    overlay = make_overlay(load_app("shop"), settings, "127.0.0.1")
    shown = overlay.masked({**overlay.env, "DATABASE_URL": f"postgres://me:{ACCOUNT.password}@host/x", "LANG": "C"})
    assert shown.keys() == {*overlay.env, "DATABASE_URL", "LANG"}
    assert (shown["DATABASE_URL"], shown["LANG"]) == (f"postgres://me:{MASK}@host/x", "C")
    told = json.loads(shown["CONNBENCH_OVERLAY"])
    assert (told["token"], told["databases"]["default"]) == (MASK, {**settings, "PASSWORD": MASK})
    assert not any(secret in value for secret in (ACCOUNT.password, overlay.token) for value in shown.values())


def test_a_database_without_a_password_leaves_the_environment_as_it_is() -> None:
    overlay = make_overlay(load_app("shop"), {"ENGINE": "django.db.backends.sqlite3"}, "127.0.0.1")
    assert overlay.masked({"A": "1"}) == {"A": "1"}


def test_a_password_that_json_writes_in_another_way_is_masked_too() -> None:
    """Somebody's own, on a server where no other accounts can be made."""
    settings = {**database("postgres"), "PASSWORD": 'l"et\\me é'}
    overlay = make_overlay(load_app("shop"), settings, "127.0.0.1")
    assert "et\\\\me" in overlay.env["CONNBENCH_OVERLAY"]
    assert "et\\" not in overlay.masked(overlay.env)["CONNBENCH_OVERLAY"]


def test_every_start_has_a_token_of_its_own() -> None:
    tokens = {make_overlay(load_app("shop"), {}, "127.0.0.1").token for _ in range(3)}
    assert len(tokens) == 3
    assert all(len(token) == 32 for token in tokens)
