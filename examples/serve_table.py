"""Serve the model of a table over HTTP, with its columns as the schema of the requests.

python examples/serve_table.py flats.model --port 8000

GET /schema says what the model takes and returns, POST /predict takes
{"rows": [{"area": 60, "town": "Bonn", ...}, ...]}, and /docs shows both to people. A request that
does not fit is answered with status 422, and the reason with its row and column.
"""

import argparse
import warnings
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, create_model

import chainrule as cr
from chainrule.tables.frames import TableModel

MOST_ROWS = 10_000  # in a request


def row_of(model: TableModel) -> type[BaseModel]:
    """Return the schema of a row: a field for each column, under the column's own name."""
    fields: dict[str, Any] = {}
    for i, column in enumerate(model.schema.columns):
        if column.kind == "number" and not column.form:
            kind: Any = Annotated[float, Field(allow_inf_nan=False)]
        elif column.kind == "category":
            kind = bool | int | float | str
        else:  # dates, and numbers with a currency or a unit
            kind = str
        # A column of which the training rows lacked values may be null, but is not left out.
        kind = kind | None if column.missing else kind
        fields[f"column_{i}"] = (kind, Field(alias=column.name, description=column.words))
    return create_model("Row", __config__=ConfigDict(extra="forbid"), **fields)


def application(path: str) -> FastAPI:
    """Return the server of a model."""
    model = cr.load_table(path)
    target = model.schema.target
    app = FastAPI(title=f"Predict {target.name}", version=cr.__version__)
    many: Any = Annotated[list[row_of(model)], Field(min_length=1, max_length=MOST_ROWS)]  # type: ignore[misc]
    request = create_model("Request", __config__=ConfigDict(extra="forbid"), rows=(many, ...))

    async def predict(body: Any) -> dict[str, Any]:
        """Predict the target of each row; notes say what the training rows did not have."""
        given = [row.model_dump(by_alias=True) for row in body.rows]
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                predictions = model.predict(given)
            except ValueError as error:
                raise HTTPException(422, str(error)) from None
        return {"predictions": predictions, "notes": [str(warning.message) for warning in caught]}

    predict.__annotations__["body"] = request
    app.post("/predict")(predict)

    async def schema() -> dict[str, Any]:
        """Return the columns, the target and how good the model was on its test rows."""
        return {
            "columns": [
                {"name": c.name, "kind": c.kind, "may_be_null": c.missing,
                 "categories": c.categories, "least": c.low[:1], "largest": c.high[:1]}
                for c in model.schema.columns
            ],
            "target": {"name": target.name, "task": target.task, "classes": target.classes},
            "measures": model.measures,
        }  # fmt: skip

    async def refuse(request: Any, error: RequestValidationError) -> JSONResponse:
        """Say where a request does not fit; what it held may be infinite, which JSON has not."""
        found = [{key: entry[key] for key in ("type", "loc", "msg")} for entry in error.errors()]
        return JSONResponse({"detail": found}, 422)

    app.get("/schema")(schema)
    app.exception_handler(RequestValidationError)(refuse)
    return app


def main() -> None:
    import uvicorn

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="a file that chainrule train wrote")
    parser.add_argument("--port", type=int, default=8000)
    given = parser.parse_args()
    uvicorn.run(application(given.model), host="127.0.0.1", port=given.port, log_level="warning")


if __name__ == "__main__":
    main()
