"""An app that reaches its database under several aliases: a connection for each."""

from dataclasses import replace

import pytest

from runner.matrix.expansion import expand
from runner.matrix.prediction import predict
from runner.matrix.spec import MatrixFile


@pytest.mark.parametrize(
    ("connection", "most", "lingering"),
    [({"conn_max_age": 0}, 8, 0), ({"conn_max_age": 60}, 8, 8), ({"pool": {"kind": "native", "max_size": 4}}, 8, 8)],
)
def test_each_alias_has_connections_of_its_own(connection: dict[str, object], most: int, lingering: int) -> None:
    matrix = MatrixFile.model_validate(
        {
            "name": "m",
            "databases": {"pg": {"engine": "postgres"}},
            "servers": {"s": {"kind": "gunicorn", "workers": 4}}
            if "pool" not in connection
            else {"s": {"kind": "gunicorn", "worker_class": "gthread", "workers": 1, "threads": 4}},
            "connections": {"c": connection},
            "matrix": {"database": ["pg"]},
        }
    )
    cell = expand(matrix).cells[0]
    one, two = predict(cell), predict(replace(cell, replicas=1))
    assert (one.max, two.max) == (most // 2, most)
    assert two.min == one.min, "which alias a request uses is the app's business"
    assert two.lingering_max == lingering
    assert two.opened_per_request is None
    assert two.formula == f"({one.formula}) × 2 aliases of the app's DATABASES"
