import json
import re
from typing import Any

from runner.matrix.metrics import METRICS
from runner.matrix.schema import json_schema
from tests.matrix.examples import ROOT


def test_the_committed_file_is_up_to_date() -> None:
    committed = json.loads((ROOT / "matrices" / "schema.json").read_text())
    assert committed == json_schema(), "connbench schema > matrices/schema.json"


def test_every_committed_matrix_names_it_in_its_first_line() -> None:
    for path in (ROOT / "matrix.yaml", *(ROOT / "matrices").rglob("*.yaml")):
        with path.open() as lines:
            named = re.fullmatch(r"# yaml-language-server: \$schema=(\S+)\n", next(lines))
        assert named is not None, path
        assert (path.parent / named[1]).resolve() == ROOT / "matrices" / "schema.json"


def test_it_describes_the_file_as_it_is_written() -> None:
    schema = json_schema()
    assert set(schema["properties"]["expect"]["items"]["properties"]) == {"where", *METRICS}
    load = schema["$defs"]["LoadSpec"]["properties"]
    assert load["count"] == {
        "type": "string",
        "pattern": r"^ *[0-9]+(\.[0-9]+)? *(ms|s|m) *$",
        "default": "4s",
    }
    assert schema["$defs"]["UwsgiSpec"]["required"] == ["kind"]
    assert schema["$defs"]["PostgresSpec"]["required"] == ["engine"]


def test_dotted_axes() -> None:
    (pattern,) = json_schema()["properties"]["matrix"]["patternProperties"]
    for axis in ("servers.uwsgi.threads", "load.users", "connections.a-b.pool.max_size"):
        assert re.search(pattern, axis)
    for axis in ("server", "load", "servers.uwsgi", "apps.a.b"):
        assert not re.search(pattern, axis)


def references(schema: Any) -> set[str]:
    if isinstance(schema, dict):
        own = {schema["$ref"]} if isinstance(schema.get("$ref"), str) else set()
        return own.union(*map(references, schema.values()))
    return set().union(*map(references, schema)) if isinstance(schema, list) else set()


def test_every_reference_leads_somewhere() -> None:
    schema = json_schema()
    assert references(schema) <= {f"#/$defs/{name}" for name in schema["$defs"]}
