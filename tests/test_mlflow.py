"""Models in MLflow: saved, logged, loaded, and served over HTTP."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.tables.frames import TableModel
from tests.tables.test_frames import frame, model

pytestmark = [pytest.mark.needs("mlflow-models"), pytest.mark.filterwarnings("ignore")]
NET = cr.Network([4, 6, 3], hidden="silu", output="softmax", loss="cross_entropy", seed=0)
X = np.random.default_rng(0).normal(size=(20, 4))


def estimator(**options: Any) -> Any:
    from chainrule.sklearn import MLPClassifier

    labels = np.array(["no", "yes"])[(X[:, 0] > 0).astype(int)]
    return MLPClassifier((5,), max_iter=5, random_state=0, **options).fit(X, labels)


@pytest.fixture
def tracking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    import mlflow

    monkeypatch.chdir(tmp_path)
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    mlflow.set_experiment("tests")  # not one that another test left active, of another database
    yield
    mlflow.set_tracking_uri(before)


def test_a_network_is_logged_and_comes_back_to_the_bit(tracking: None) -> None:
    import mlflow

    import chainrule.mlflow

    with mlflow.start_run() as run:
        info = chainrule.mlflow.log_model(NET, "net", input_example=X[:2],
                                          registered_model_name="mine")  # fmt: skip
    for uri in (info.model_uri, "models:/mine/1"):
        back = chainrule.mlflow.load_model(uri)
        assert isinstance(back, cr.Network)
        assert (back.parameters == NET.parameters).all()
    served = mlflow.pyfunc.load_model(info.model_uri)
    np.testing.assert_array_equal(served.predict(X), NET.predict(X))
    assert served.metadata.signature.inputs.to_dict()[0]["tensor-spec"]["shape"] == (-1, 4)
    assert served.metadata.signature.outputs.to_dict()[0]["tensor-spec"]["shape"] == (-1, 3)
    np.testing.assert_array_equal(served.input_example, X[:2])
    assert info.flavors["chainrule"]["kind"] == "network"
    assert run.info.run_id == info.run_id


def test_a_model_of_a_table_has_its_columns_as_signature(tracking: None) -> None:
    import mlflow

    import chainrule.mlflow

    table, data = model(), frame()
    info = chainrule.mlflow.log_model(table)
    back = chainrule.mlflow.load_model(info.model_uri)
    assert isinstance(back, TableModel)
    assert back.schema == table.schema
    assert info.signature.inputs.to_dict() == [
        {"name": "size", "type": "double", "required": False},
        {"name": "weight", "type": "double", "required": True},
        {"name": "day", "type": "datetime", "required": True},
        {"name": "colour", "type": "string", "required": False},
        {"name": "plain", "type": "string", "required": True},
    ]
    names = [column["name"] for column in info.signature.outputs.to_dict()]
    assert names == ["quality", "probability_bad", "probability_fair", "probability_good"]
    data["plain"] = data["plain"].map(str)
    served = mlflow.pyfunc.load_model(info.model_uri)
    assert served.predict(data).equals(table.predict(data))


def test_an_estimator_needs_no_pickle(tracking: None, tmp_path: Path) -> None:
    import mlflow

    import chainrule.mlflow

    fitted = estimator()
    chainrule.mlflow.save_model(fitted, tmp_path / "saved")
    files = [path.name for path in (tmp_path / "saved").rglob("*") if path.is_file()]
    assert "model.skops" in files
    assert not [name for name in files if name.endswith((".pkl", ".pickle"))]
    back = chainrule.mlflow.load_model(tmp_path / "saved")
    assert (back.network_.parameters == fitted.network_.parameters).all()
    served = mlflow.pyfunc.load_model(os.fspath(tmp_path / "saved"))
    assert (served.predict(X) == fitted.predict(X)).all()
    requirements = (tmp_path / "saved" / "requirements.txt").read_text()
    assert f"chainrule[skops]=={cr.__version__}" in requirements


def test_mlflows_own_flavour_of_scikit_learn_takes_the_trusted_types(tracking: None) -> None:
    import mlflow

    from chainrule.sklearn import trusted_types

    fitted = estimator()
    info = mlflow.sklearn.log_model(
        fitted, name="own", serialization_format="skops", skops_trusted_types=trusted_types()
    )
    assert (mlflow.sklearn.load_model(info.model_uri).predict(X) == fitted.predict(X)).all()


def test_what_cannot_be_served_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    import chainrule.mlflow
    from chainrule.sklearn import MLPClassifier

    class Sine(cr.Activation):
        name, formula, derivative_formula = "sine", "sin(z)", "cos(z)"

        def value(self, z: Any) -> Any:
            return np.sin(z)

        def derivative(self, z: Any, a: Any) -> Any:
            return np.cos(z)

    broken = NET.copy()
    broken.layers[1].W[0, 0] = np.nan
    path = tmp_path / "saved"
    for wrong, kind, words in (
        (3, TypeError, "model is a int; expected a Network"),
        (cr.Network([2, 3, 1], hidden=Sine(), seed=0), ValueError, "uses 'sine', which a server"),
        (broken, ValueError, "nan"),
        (estimator(callbacks=[print_epoch]), ValueError, "print_epoch.* no server trusts"),
        (MLPClassifier(), ValueError, "not fitted"),
    ):
        with pytest.raises(kind, match=words):
            chainrule.mlflow.save_model(wrong, path)
        assert not path.exists()
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "MLmodel").write_text("flavors:\n  other: {}\n")
    with pytest.raises(ValueError, match="has the flavours 'other'; expected one that"):
        chainrule.mlflow.load_model(tmp_path / "foreign")


def print_epoch(run: Any) -> None:
    """Stand for a user's callback."""


def ask(address: str, body: Any) -> tuple[int, Any]:
    request = urllib.request.Request(
        address, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


@pytest.mark.slow
def test_mlflow_models_serve(tmp_path: Path) -> None:
    """A server of MLflow, in a process of its own, predicts what the model predicts."""
    import chainrule.mlflow

    table, data = model(), frame()[:3]
    chainrule.mlflow.save_model(table, tmp_path / "saved")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable, "-m", "mlflow", "models", "serve", "-m", os.fspath(tmp_path / "saved"),
        "--port", str(port), "--host", "127.0.0.1", "--env-manager", "local", "--workers", "1",
    ]  # fmt: skip
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(
            command, stdout=log, stderr=log, cwd=tmp_path, start_new_session=True,
            env={**os.environ, "PATH": path},
        )  # fmt: skip
    try:
        address = f"http://127.0.0.1:{port}"
        while True:
            assert server.poll() is None, (tmp_path / "log").read_text()
            try:
                urllib.request.urlopen(f"{address}/ping", timeout=60).close()
                break
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.2)
        data["plain"] = data["plain"].map(str)
        rows = json.loads(data.to_json(orient="records", date_format="iso"))
        for row in rows:
            row["day"] = row["day"].removesuffix("Z")
        status, answer = ask(f"{address}/invocations", {"dataframe_records": rows})
        assert status == 200, answer
        expected = table.predict(data).to_dict("records")
        assert [row["quality"] for row in answer["predictions"]] == [
            row["quality"] for row in expected
        ]
        np.testing.assert_allclose(
            [row["probability_bad"] for row in answer["predictions"]],
            [row["probability_bad"] for row in expected], rtol=1e-6,
        )  # fmt: skip
        status, answer = ask(f"{address}/invocations", {"dataframe_records": [{"size": 1.0}]})
        assert status == 400
        assert "weight" in json.dumps(answer)
    finally:
        import signal

        os.killpg(server.pid, signal.SIGTERM)
        server.wait(60)
