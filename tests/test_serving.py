"""The example that serves a model of a table: its schema, its answers, and bad rows."""

from __future__ import annotations

import asyncio
import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.tables.test_frames import NUMBER, frame, model

fastapi = pytest.importorskip("fastapi")
httpx = pytest.importorskip("httpx")


class Client:
    """Asks an application in this process."""

    def __init__(self, app: Any) -> None:
        self._transport = httpx.ASGITransport(app)

    def get(self, path: str) -> Any:
        return asyncio.run(self._ask("GET", path))

    def post(self, path: str, **body: Any) -> Any:
        return asyncio.run(self._ask("POST", path, **body))

    async def _ask(self, method: str, path: str, **body: Any) -> Any:
        async with httpx.AsyncClient(transport=self._transport, base_url="http://test") as client:
            return await client.request(method, path, **body)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return Client(served(tmp_path_factory.mktemp("served") / "quality.model", model()))


def served(path: Path, table: Any) -> Any:
    file = ROOT / "examples" / "serve_table.py"
    spec = importlib.util.spec_from_file_location("serve_table", file)
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    table.save(path)
    return example.application(str(path))


def rows(n: int = 4) -> list[dict[str, Any]]:
    data = frame()[:n]
    return json.loads(data.to_json(orient="records", date_format="iso"))


def test_predictions_are_the_models(client: Any) -> None:
    answer = client.post("/predict", json={"rows": rows()})
    assert answer.status_code == 200, answer.text
    assert answer.json()["notes"] == []
    expected = model().predict(rows())
    assert [row["quality"] for row in answer.json()["predictions"]] == [
        row["quality"] for row in expected
    ]
    assert answer.json()["predictions"][0]["probability_good"] == pytest.approx(
        expected[0]["probability_good"], rel=1e-6
    )


def test_a_number_is_predicted_in_its_units(tmp_path: Path) -> None:
    client = Client(served(tmp_path / "price.model", model(NUMBER)))
    found = client.post("/predict", json={"rows": rows(1)}).json()["predictions"]
    assert found == model(NUMBER).predict(rows(1))


def test_what_is_new_is_a_note(client: Any) -> None:
    strange = {**rows(1)[0], "colour": "mauve", "size": 1000.0}
    notes = "\n".join(client.post("/predict", json={"rows": [strange]}).json()["notes"])
    assert "new categories, treated as rare: 'mauve'" in notes
    assert "do not trust these predictions" in notes


def test_the_schema_is_told(client: Any) -> None:
    told = client.get("/schema").json()
    kinds = {column["name"]: column["kind"] for column in told["columns"]}
    assert kinds == {
        "size": "number", "weight": "number", "day": "date", "colour": "category",
        "plain": "category",
    }  # fmt: skip
    assert told["target"]["classes"] == ["bad", "fair", "good"]
    row = client.get("/openapi.json").json()["components"]["schemas"]["Row"]
    assert sorted(row["required"]) == ["colour", "day", "plain", "size", "weight"]
    assert row["properties"]["weight"]["type"] == "number"
    assert client.get("/docs").status_code == 200


def test_bad_rows_are_named(client: Any) -> None:
    good = rows(1)[0]
    for wrong, words in (
        ({**good, "weight": "heavy"}, '"rows",1,"weight"'),
        ({**good, "weight": None}, '"rows",1,"weight"'),
        ({**good, "weight": 1e200}, "row 1, column 'weight'"),
        ({**good, "day": "yesterday"}, "row 1, column 'day': 'yesterday' is not a usable date"),
        ({**good, "colour": ["red"]}, '"rows",1,"colour"'),
        ({**good, "more": 1}, '"rows",1,"more"'),
        ({"size": 1.0}, '"rows",1,"weight"'),
        (3, '"rows",1'),
    ):
        answer = client.post("/predict", json={"rows": [good, wrong]})
        assert answer.status_code == 422, (wrong, answer.text)
        assert words in answer.text.replace(", ", ",") or words in answer.text, answer.text
    bodies: list[Any] = [{"rows": []}, {}, {"rows": [good] * 10_001}, [], {"rows": [good], "x": 1}]
    for body in bodies:
        assert client.post("/predict", json=body).status_code == 422
    infinite = json.dumps({"rows": [{**good, "weight": float("inf")}]})
    assert client.post("/predict", content=infinite).status_code == 422
    assert client.post("/predict", content="{").status_code == 422
