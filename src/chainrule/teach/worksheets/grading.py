"""Grading: the key file of a class, and the verdicts on a table of answers."""

from __future__ import annotations

import csv
import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from chainrule._exports import exported
from chainrule.teach.answers import Verdict
from chainrule.teach.exercise import Mistake
from chainrule.teach.formulas import FormulaKey
from chainrule.teach.worksheets import blocks
from chainrule.teach.worksheets.deck import Deck
from chainrule.teach.worksheets.judging import judge_choice, judge_number
from chainrule.teach.worksheets.questions import Question

FORMAT = "chainrule worksheet key 1"
LARGEST = 50_000_000  # bytes of a key or a table of answers


@exported("chainrule")
@dataclass(frozen=True)
class Grade:
    """The verdicts on one student's answers.

    Attributes:
        student: The name in the table.
        variant: The variant, from 1.
        verdicts: For each exercise whether it is right, the fault, and words.
    """

    student: str
    variant: int
    verdicts: tuple[Verdict, ...]

    @property
    def right(self) -> int:
        """Return how many answers are right."""
        return sum(verdict.right for verdict in self.verdicts)


def key_of(worksheet: Deck) -> str:
    """Return the key of a class as JSON."""
    variants = {
        str(variant.number): [_entry(question) for question in variant.questions]
        for variant in worksheet.variants
    }
    content = {"format": FORMAT, "seed": worksheet.seed, "variants": variants}
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _entry(question: Question) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "kind": question.kind, "form": question.form, "about": question.target,
        "answer": blocks.answer_text(question),
    }  # fmt: skip
    if question.key is not None:
        return entry | {"key": asdict(question.key)}
    if question.form == "choice":
        words = [choice.words for choice in question.choices]
        return entry | {"correct": question.correct, "words": words}
    mistakes = [asdict(mistake) for mistake in question.mistakes]
    return entry | {"value": question.value, "mistakes": mistakes}


def template(worksheet: Deck) -> str:
    """Return a table in which answers are written, as CSV."""
    count = max(len(variant.questions) for variant in worksheet.variants)
    lines = [",".join(["student", "variant", *map(str, range(1, count + 1))])]
    lines += [f",{variant.number}" + "," * count for variant in worksheet.variants]
    return "\n".join(lines) + "\n"


def check(answers: str | os.PathLike[str], key: str | os.PathLike[str]) -> list[Grade]:
    """Grade a table of answers.

    Args:
        answers: A CSV file with the columns student, variant, 1, 2, ...
        key: The file key.json that `Worksheet.save` wrote.

    Returns:
        A grade for each row with a variant, in order.

    Raises:
        OSError: A file cannot be read.
        ValueError: A file is not what is expected; the message names the line.
    """
    os.stat(answers)  # the file that was named is missed before the one beside it
    variants = _read_key(key)
    try:
        return list(_grades(answers, variants))
    except (KeyError, TypeError, IndexError, AttributeError):
        raise ValueError(
            f"{os.fspath(key)} is damaged: an exercise in it is not whole. Make the worksheet "
            "again."
        ) from None


def _grades(path: str | os.PathLike[str], variants: dict[str, Any]) -> Iterator[Grade]:
    most = max(map(len, variants.values()), default=0)
    for line, row in _rows(path, most):
        number = (row.get("variant") or "").strip()
        student = (row.get("student") or "").strip()
        given = {name: (cell or "").strip() for name, cell in row.items() if name}
        if not number and not any(given.values()):
            continue
        if number not in variants:
            raise ValueError(
                f"{os.fspath(path)}, line {line}: variant {number!r} is not in the key; expected "
                f"1 to {len(variants)}"
            )
        entries = variants[number]
        verdicts = tuple(
            judge(entry, given.get(str(place), "")) for place, entry in enumerate(entries, start=1)
        )
        yield Grade(student or f"line {line}", int(number), verdicts)


def _rows(path: str | os.PathLike[str], exercises: int) -> Iterator[tuple[int, dict[str, str]]]:
    name = os.fspath(path)
    if os.path.getsize(path) > LARGEST:
        raise ValueError(
            f"{name} is larger than {LARGEST // 10**6} MB; expected a table of answers"
        )
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            head = file.readline()
            marks = (",", ";", "\t")
            mark = max(marks, key=head.count)
            columns = [
                cell.strip().lower() for cell in next(csv.reader([head], delimiter=mark), [])
            ]
            if "variant" not in columns or "1" not in columns:
                raise ValueError(
                    f"{name}, line 1: the columns are {', '.join(columns) or 'missing'}; expected "
                    "student, variant, 1, 2, ... as in answers.csv beside the sheets"
                )
            wanted = [str(place) for place in range(1, exercises + 1)]
            if twice := sorted({c for c in columns if c and columns.count(c) > 1}):
                raise ValueError(
                    f"{name}, line 1: there are two columns {twice[0]}. Remove or rename one."
                )
            if missing := [column for column in wanted if column not in columns]:
                raise ValueError(
                    f"{name}, line 1: column {missing[0]} is missing; the key has exercises 1 to "
                    f"{exercises}. Add an empty column if nobody answered it."
                )
            reader = csv.DictReader(file, fieldnames=columns, delimiter=mark, restkey="")
            for row in reader:
                extra = [cell for cell in row.pop("", None) or [] if cell.strip()]
                if extra:
                    raise ValueError(
                        f"{name}, line {reader.line_num + 1}: there are more cells than columns. "
                        "Quote an answer that holds the delimiter."
                    )
                yield reader.line_num + 1, row
    except UnicodeDecodeError:
        raise ValueError(f"{name} is not text in UTF-8; save it as UTF-8") from None
    except csv.Error as error:
        raise ValueError(f"{name} is not a table: {error}") from None


def judge(entry: dict[str, Any], answer: str) -> Verdict:
    """Judge one answer by its entry in the key file."""
    match entry["form"]:
        case "choice":
            return judge_choice(answer, entry["correct"], entry["words"])
        case "formula":
            key = entry["key"]
            return FormulaKey(
                key["right"], tuple(map(tuple, key["wrong"])), key["names"],
                {z: tuple(g) for z, g in key["activations"].items()}, key["outputs"],
            ).judge(answer)  # fmt: skip
    mistakes = [Mistake(**mistake) for mistake in entry["mistakes"]]
    return judge_number(answer, entry["value"], mistakes)


def _read_key(path: str | os.PathLike[str]) -> dict[str, Any]:
    name = os.fspath(path)
    if os.path.getsize(path) > LARGEST:
        raise ValueError(f"{name} is larger than {LARGEST // 10**6} MB; expected a key.json")
    with open(path, encoding="utf-8") as file:
        try:
            content = json.load(file)
        except (UnicodeDecodeError, json.JSONDecodeError, RecursionError):
            content = None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f"{name} is not a key; expected the file key.json beside the sheets")
    variants = content.get("variants")
    if not isinstance(variants, dict):
        raise ValueError(f"{name} is damaged: it has no variants. Make the worksheet again.")
    return variants


def summary(grades: list[Grade]) -> str:
    """Return the grades, and what went wrong how often, as text."""
    lines = []
    width = max((len(grade.student) for grade in grades), default=0)
    for grade in grades:
        wrong = [i for i, v in enumerate(grade.verdicts, start=1) if not v.right]
        lines.append(
            f"{grade.student:<{width}}  variant {grade.variant:>3}  {grade.right:>2} of "
            f"{len(grade.verdicts)}" + (f"  wrong: {', '.join(map(str, wrong))}" if wrong else "")
        )
        lines += [f"    {i}: {v.words}" for i, v in enumerate(grade.verdicts, 1) if not v.right]
    faults = Counter(
        v.words for g in grades for v in g.verdicts if v.fault not in ("", "empty", "unreadable")
    )
    empty = sum(v.fault == "empty" for g in grades for v in g.verdicts)
    total = sum(len(g.verdicts) for g in grades)
    lines += ["", f"{sum(g.right for g in grades)} of {total} answers right; {empty} not answered."]
    if faults:
        lines += ["What went wrong, the most frequent first:"]
        lines += [f"  {count:>3} × {words}" for words, count in faults.most_common(10)]
    return "\n".join(lines)


def table(grades: list[Grade]) -> str:
    """Return the grades as CSV: student, variant, right, of, and the fault of each answer."""
    import io

    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    count = max((len(grade.verdicts) for grade in grades), default=0)
    writer.writerow(["student", "variant", "right", "of", *range(1, count + 1)])
    for g in grades:
        cells = ["right" if v.right else v.fault for v in g.verdicts]
        writer.writerow([_cell(g.student), g.variant, g.right, len(g.verdicts), *cells])
    return out.getvalue()


def _cell(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
