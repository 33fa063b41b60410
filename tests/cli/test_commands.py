"""The command line: what it prints, its exit codes, and errors of one line."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import chainrule
from chainrule import cli
from chainrule.network import Network
from chainrule.verify import Compared, GradientReport

X = np.array([[0.5, -1.0], [2.0, 0.25], [-1.5, 1.0]])
Y = np.array([[0.5], [-0.25], [1.0]])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a network and its samples, which the commands run in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    Network([2, 3, 1], hidden="tanh", output="tanh", seed=0).save("net.safetensors")
    rows = [",".join(map(str, [*x, *y])) for x, y in zip(X, Y, strict=True)]
    Path("samples.csv").write_text("\n".join(["x0,x1,y", *rows]) + "\n")
    return tmp_path


Result = tuple[int, str, str]
Run = Callable[..., Result]


@pytest.fixture
def run(folder: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command line in this process; give exit code, output and errors."""

    def run(*arguments: str) -> Result:
        code = cli.main(arguments)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def start(*arguments: str, **options: object) -> subprocess.Popen[str]:
    """Start the command line as a program of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "chainrule", *arguments],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8",
        **options,
    )  # type: ignore[call-overload]  # fmt: skip


EXPLAIN = ("explain", "net.safetensors", "w[2][0,1]", "--data", "samples.csv")

# --- help -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["", "demo", "explain", "check"])
def test_help_teaches(command: str, run: Run) -> None:
    code, out, err = run(*command.split(), "--help")
    assert (code, err) == (0, "")
    assert all(len(line) <= 100 for line in out.splitlines())
    assert run(*command.split(), "-h")[1] == out
    taught = {
        "": [
            "chainrule demo ",
            "'w[2][1,2]'",
            "Exit codes: 0 success, 1 a check did not pass, 2 wrong usage",
        ],
        "demo": ["1,797 images", "pip install 'chainrule[demo]'"],
        "explain": [
            "b[2][1]",
            "the pre-activation of unit 0 of layer 1",
            "Examples:",
            "--rows 0:32",
        ],
        "check": ["Example", "Exit codes"],
    }[command]
    for words in taught:
        assert words in out


@pytest.mark.parametrize("command", ["", *cli.cli.commands])
def test_help_shows_no_range_without_ends(command: str, run: Run) -> None:
    assert "None" not in run(*command.split(), "--help")[1]


def test_examples_in_the_help_work(run: Run) -> None:
    Network([5, 4, 4, 1], seed=0).save("net.safetensors")
    np.savetxt("samples.csv", np.random.default_rng(0).normal(size=(110, 6)), delimiter=",")
    examples = []
    for command in ("", "explain", "check", "flow"):
        text = run(*command.split(), "--help")[1].replace("\\\n", "")
        examples += re.findall(r"^ +chainrule ((?:explain|check|flow) net.*)$", text, re.MULTILINE)
    assert len(examples) == 11
    for example in examples:
        code, _, err = run(*example.replace("'", "").split())
        assert (code, err) == (0, ""), example
    assert Path("why.html").exists()


def test_version_and_module(run: Run) -> None:
    assert run("--version") == (0, f"chainrule {chainrule.__version__}\n", "")
    process = start("--version")
    assert process.communicate()[0] == f"chainrule {chainrule.__version__}\n"
    assert process.returncode == 0


def test_without_a_command_the_help_is_shown(run: Run) -> None:
    code, out, err = run()
    assert (code, out) == (2, "")
    assert "Commands:" in err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_commands_options_and_choices(
    shell: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As docs/reference/cli.md says to set it up."""
    if shell != "bash":  # whose version click asks a bash for
        monkeypatch.setenv("_CHAINRULE_COMPLETE", f"{shell}_source")
        code, out, err = run()
        assert (code, err) == (0, "")
        assert "_CHAINRULE_COMPLETE" in out or f"{shell}_complete" in out
    monkeypatch.setenv("_CHAINRULE_COMPLETE", f"{shell}_complete")
    for words, last, wanted in (
        ("chainrule ex", "ex", {"explain", "explore"}),
        ("chainrule explain --no", "--no", {"--notation", "--no-header"}),
        ("chainrule explain m w --format ", "", {"text", "latex", "html", "mathml", "json"}),
    ):
        monkeypatch.setenv("COMP_WORDS", words)
        count = len(words.split()) - bool(last)
        monkeypatch.setenv("COMP_CWORD", last if shell == "fish" else str(count))
        code, out, err = run()
        assert (code, err) == (0, "")
        assert wanted == {word for word in re.split(r"[\s,]", out) if word in wanted}


# --- explain --------------------------------------------------------------------------------------


def test_explain_prints_what_the_network_explains(run: Run) -> None:
    code, out, err = run(*EXPLAIN, "--row", "1")
    assert (code, err) == (0, "")
    why = chainrule.load("net.safetensors").explain("w[2][0,1]", X[1:2], Y[1:2], first_sample=1)
    assert out == why.text(width=100).rstrip("\n") + "\n"
    assert all(len(line) <= 100 for line in out.splitlines())
    assert repr(why.value) in out  # the certificate stands below


def test_explain_many_rows(run: Run) -> None:
    net = chainrule.load("net.safetensors")
    for options, rows in (
        (["--rows", "0:2"], slice(0, 2)),
        (["--rows", "1:"], slice(1, 3)),
        (["--rows", ":99"], slice(0, 3)),
        (["--all-rows"], slice(0, 3)),
    ):
        _, out, _ = run(*EXPLAIN, *options, "--format", "json")
        why = json.loads(out)
        assert why["value"] == net.explain("w[2][0,1]", X[rows], Y[rows]).value
        assert why["n_samples"] == len(X[rows])


def test_explain_the_only_row_needs_no_choice(run: Run) -> None:
    Path("samples.csv").write_text("1,2,3\n")
    assert run(*EXPLAIN)[0] == 0


def test_explain_in_every_format(run: Run) -> None:
    why = chainrule.load("net.safetensors").explain(
        "w[2][0,1]", X[:1], Y[:1], learning_rate=0.1, notation="L-h"
    )
    options = ["--row", "0", "--learning-rate", "0.1", "--notation", "L-h", "--format"]
    out = {form: run(*EXPLAIN, *options, form)[1] for form in ("latex", "html", "mathml", "json")}
    assert out["latex"] == why.latex().rstrip("\n") + "\n"
    assert out["html"] == why.html().rstrip("\n") + "\n"
    assert out["mathml"] == why.mathml().rstrip("\n") + "\n"
    ET.fromstring(out["mathml"])
    parsed = json.loads(out["json"])
    assert parsed["value"] == why.value
    assert parsed["notation"]["name"] == "L-h"
    assert parsed["certificate"]["verdict"] == "pass"


def test_explain_into_a_file(run: Run) -> None:
    screen = run(*EXPLAIN, "--row", "0")[1]
    assert run(*EXPLAIN, "--row", "0", "--out", "why.txt") == (0, "", "")
    assert Path("why.txt").read_text(encoding="utf-8") == screen


def test_narrow_screens(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert max(map(len, run(*EXPLAIN, "--row", "0")[1].splitlines())) <= 60
    monkeypatch.setenv("COLUMNS", "300")
    assert 60 < max(map(len, run(*EXPLAIN, "--row", "0")[1].splitlines())) <= 100


# --- check ----------------------------------------------------------------------------------------

CHECK = ("check", "net.safetensors", "--data", "samples.csv")


def test_check_passes(run: Run) -> None:
    code, out, err = run(*CHECK)
    assert (code, err) == (0, "")
    assert "all 13 parameters checked on 3 samples" in out
    assert "on 2 samples" in run(*CHECK, "--rows", "1:3")[1]
    code, out, _ = run(*CHECK, "--json")
    report = json.loads(out)
    assert code == 0
    assert report["passed"] is True
    assert report["checked"] == report["total"] == 13


def test_check_fails(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = Compared(chainrule.Weight(1, 0, 0), 1.0, 2.0, 0.5)
    report = GradientReport(wrong, (wrong,), (), 1, 1, 1, 0.0)
    monkeypatch.setattr(Network, "check_gradient", lambda *_: report)
    code, out, err = run(*CHECK)
    assert (code, err) == (1, "")
    assert "FAIL" in out
    code, out, _ = run(*CHECK, "--json")
    assert code == 1
    assert json.loads(out)["passed"] is False


def test_check_that_tells_nothing_is_not_passed(run: Run, folder: Path) -> None:
    """The targets are the outputs themselves: the gradient is nothing but rounding."""
    net = chainrule.load("net.safetensors")
    X = np.array([[0.5, -1.0], [1.0, 2.0], [0.1, 0.2]])
    rows = [",".join(map(repr, map(float, row))) for row in np.hstack([X, net.forward(X).a[-1]])]
    (folder / "fitted.csv").write_text("\n".join(rows) + "\n")
    code, out, err = run("check", "net.safetensors", "--data", "fitted.csv")
    assert (code, err) == (1, "")
    assert out.startswith("gradient: NOT RESOLVED; all 13 parameters checked on 3 samples")
    assert "Try other samples" in out
    code, out, _ = run("check", "net.safetensors", "--data", "fitted.csv", "--json")
    assert code == 1
    assert json.loads(out)["verdict"] == "not resolved"


# --- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["explian"], "No such command 'explian'"),
        (["explain"], "Missing argument 'MODEL'. (see chainrule explain --help)"),
        (["explain", "net.safetensors", "w[1][0,0]"], "Missing option '--data'"),
        ([*EXPLAIN],
         "choose samples with --row N, --rows A:B or --all-rows; samples.csv has rows 0 to 2"),
        ([*EXPLAIN, "--row", "3"], "there is no row 3; samples.csv has rows 0 to 2"),
        ([*EXPLAIN, "--row", "-1"], "-1 is not in the range"),
        ([*EXPLAIN, "--row", "x"], "'x' is not a valid integer"),
        ([*EXPLAIN, "--rows", "5"], "'5' is not a range of rows; expected A:B, such as 0:32"),
        ([*EXPLAIN, "--rows", "3:"], "there are no rows in 3:; samples.csv has rows 0 to 2"),
        ([*EXPLAIN, "--rows", "2:1"], "there are no rows in 2:1; samples.csv has"),
        ([*EXPLAIN, "--row", "1", "--all-rows"], "--row, --rows and --all-rows exclude each other"),
        ([*EXPLAIN, "--row", "0", "--format", "png"], "'png' is not one of"),
        ([*EXPLAIN, "--row", "0", "--format", "pdf"], "a PDF needs a file: --out FILE"),
        ([*EXPLAIN, "--row", "0", "--out", "a.pdf"], "a PDF of the single quantity"),
        ([*EXPLAIN, "--row", "0", "--notation", "x"], "unknown notation 'x'; known: default"),
        ([*EXPLAIN, "--row", "0", "--learning-rate", "-1"], "-1.0 is not in the range x>0"),
        ([*EXPLAIN, "--row", "0", "--out", "none/why"], "none/why: No such file or directory"),
        ([*EXPLAIN, "--row", "0", "--out", "."], ".: Is a directory"),
        (["explain", "net.safetensors", "w[3][1,2]", *EXPLAIN[3:], "--row", "0"],
         "w[3][1,2]: the network has layers 1 to 2"),
        (["explain", "net.safetensors", "weight", *EXPLAIN[3:], "--row", "0"],
         "'weight' is not a target; write 'w[2][1,2]'"),
        (["explain", "none", "x[0]", *EXPLAIN[3:]], "none: No such file or directory"),
        (["explain", ".", "x[0]", *EXPLAIN[3:]], ".: Is a directory"),
        (["explain", "samples.csv", "x[0]", *EXPLAIN[3:]],
         "samples.csv is not a chainrule model file: it is damaged, cut short, or of another kind"),
        (["check", "net.safetensors", "--data", "none"], "none: No such file or directory"),
        (["check", "net.safetensors", "--data", "net.safetensors"],
         "net.safetensors, line 1 is not text"),
        ([*CHECK, "--rows", "9:"], "there are no rows in 9:; samples.csv has rows 0 to 2"),
        (["demo", "--epochs", "0"], "0 is not in the range"),
        (["demo", "--out", "samples.csv"], "samples.csv: File exists"),
    ],
)  # fmt: skip
def test_errors_are_one_line_and_2(arguments: list[str], message: str, run: Run) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("chainrule: ")
    assert message in err
    assert err.count("\n") == 1


def test_a_typo_gets_a_suggestion_in_one_line(run: Run) -> None:
    code, _, err = run(*EXPLAIN, "--learning", "1", "--row")
    assert code == 2
    assert err.count("\n") == 1


def test_a_fault_of_ours_is_one_line_unless_the_trace_is_asked_for(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault(*_: object, **__: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(Network, "explain", fault)
    code, _, err = run(*EXPLAIN, "--row", "0")
    assert code == 2
    assert err == (
        "chainrule: internal error (ZeroDivisionError: division by zero). Please report it, with "
        "the traceback that CHAINRULE_TRACEBACK=1 prints.\n"
    )
    monkeypatch.setenv("CHAINRULE_TRACEBACK", "1")
    with pytest.raises(ZeroDivisionError):
        run(*EXPLAIN, "--row", "0")


def test_too_little_memory_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Network, "check_gradient", fill)
    assert run(*CHECK) == (
        2,
        "",
        "chainrule: out of memory; use fewer rows, or a smaller network\n",
    )


@pytest.mark.parametrize("form", ["text", "html"])
def test_a_reader_that_goes_away_is_no_error(form: str, folder: Path) -> None:
    process = start(*EXPLAIN, "--row", "0", "--format", form)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() == 141
    process.stderr.close()


def test_ctrl_c_is_one_line_and_130(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Network, "check_gradient", interrupt)
    code, out, err = run(*CHECK)
    assert (code, out) == (130, "")
    assert err.strip() == "chainrule: interrupted"


@pytest.mark.parametrize("closed", ["stdout", "stderr"])
def test_closed_streams(closed: str, folder: Path) -> None:
    descriptor = {"stdout": 1, "stderr": 2}[closed]
    process = start(*CHECK, preexec_fn=lambda: os.close(descriptor))
    out, err = process.communicate()
    assert process.returncode == 0
    assert err == ""
    assert closed == "stdout" or "pass" in out


def test_pipes_get_utf_8_whatever_the_locale(folder: Path) -> None:
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0"}
    process = start(*EXPLAIN, "--row", "0", env=environment)
    out, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    assert "∂C₀" in out


# --- explain --whole ----------------------------------------------------------------------------


def test_explain_whole_works_one_sample(run: Run) -> None:
    arguments = ("explain", "net.safetensors", "--whole", "--data", "samples.csv", "--row", "1",
                 "--learning-rate", "0.1")  # fmt: skip
    net = chainrule.load("net.safetensors")
    code, out, _ = run(*arguments)
    expected = net.worked_example(X[1], Y[1], learning_rate=0.1, first_sample=1)
    assert (code, out) == (0, expected.text(100))
    code, out, _ = run(*arguments, "--steps", "2", "--freeze-biases", "--format", "json")
    expected = net.worked_example(X[1], Y[1], learning_rate=0.1, steps=2, freeze_biases=True)
    assert json.loads(out)["losses"] == list(expected.losses)
    assert run(*arguments, "--format", "html", "--out", "whole.html")[0] == 0
    assert Path("whole.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_explain_whole_works_a_batch(run: Run) -> None:
    net = chainrule.load("net.safetensors")
    code, out, _ = run("explain", "net.safetensors", "--whole", "--data", "samples.csv", "--rows",
                       "1:3", "--learning-rate", "0.1", "--format", "json")  # fmt: skip
    expected = net.worked_example(X[1:3], Y[1:3], learning_rate=0.1, first_sample=1)
    assert code == 0
    assert json.loads(out)["losses"] == list(expected.losses)
    assert json.loads(out)["setting"].startswith("2 samples, unit by unit with the numbers of")


def test_explain_a_whole_array(run: Run) -> None:
    arguments = ("explain", "net.safetensors", "W[1]", "--data", "samples.csv", "--all-rows")
    code, out, _ = run(*arguments)
    assert code == 0
    assert "z⁽¹⁾ = x W⁽¹⁾ᵀ + b⁽¹⁾" in out
    assert "∂C/∂W[1]: pass, all " in out
    for form in ("latex", "html", "mathml", "json"):
        assert run(*arguments, "--format", form)[0] == 0
    code, _, err = run("explain", "net.safetensors", "W[7]", *arguments[3:])
    assert (code, err.count("\n")) == (2, 1)
    assert "W[7]: the network has layers 1 to 2" in err


@pytest.mark.needs("typst")
@pytest.mark.parametrize("what", [["--whole", "--learning-rate", "0.5"], ["b[1]"]])
def test_explain_writes_pdf(what: list[str], run: Run) -> None:
    row = ("--data", "samples.csv", "--row", "1")
    assert run("explain", "net.safetensors", *what, *row, "--out", "a.pdf")[0] == 0
    assert run("explain", "net.safetensors", *what, *row, "--format", "pdf", "--out", "b")[0] == 0
    assert Path("a.pdf").read_bytes()[:5] == Path("b").read_bytes()[:5] == b"%PDF-"


def test_explain_pdf_without_typst_names_the_extra(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "typst", None)
    code, _, err = run("explain", "net.safetensors", "b[1]", "--data", "samples.csv", "--row", "1",
                       "--out", "a.pdf")  # fmt: skip
    assert code == 2
    assert "pip install 'chainrule[worksheets]'" in err
    assert not Path("a.pdf").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["w[1][0,0]", "--whole", "--learning-rate", "1"], "exclude each other"),
        (["--row", "0"], "pass TARGET"),
        (["w[1][0,0]", "--row", "0", "--steps", "2"], "need --whole"),
        (["w[1][0,0]", "--row", "0", "--freeze-biases"], "need --whole"),
        (["--whole", "--row", "0"], "needs --learning-rate"),
        (["--whole", "--learning-rate", "1"], "choose samples with --row N, --rows A:B or"),
        (["--whole", "--row", "0", "--learning-rate", "1", "--format", "mathml"], "mathml"),
    ],
)
def test_explain_whole_refuses_what_does_not_fit(
    run: Run, arguments: list[str], message: str
) -> None:
    code, out, err = run("explain", "net.safetensors", "--data", "samples.csv", *arguments)
    assert (code, out) == (2, "")
    assert message in err


# --- explain --paths, flow ------------------------------------------------------------------------


def test_explain_paths(run: Run) -> None:
    arguments = ("explain", "net.safetensors", "x[1]", "--data", "samples.csv", "--row", "2")
    code, out, err = run(*arguments, "--paths", "2")
    assert (code, err) == (0, "")
    net = chainrule.load("net.safetensors")
    found = net.explain("x[1]", X[2:3], Y[2:3], first_sample=2).paths(2)
    assert out == found.text()
    assert "The 2 largest of 3 paths" in out
    code, out, _ = run(*arguments, "--paths", "2", "--format", "json")
    assert json.loads(out)["value"] == found.value
    for form in ("html", "latex"):
        assert run(*arguments, "--paths", "2", "--format", form)[0] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["w[1][0,0]", "--all-rows"], "--paths shows one sample; choose it with --row N"),
        (["w[1][0,0]", "--row", "0", "--format", "mathml"], "--paths cannot write mathml"),
        (["w[1][0,0]", "--row", "0", "--learning-rate", "1"], "--paths shows no update"),
        (["W[1]", "--row", "0"], "--paths needs a single quantity, not the whole array W[1]"),
        (["--whole", "--learning-rate", "1", "--row", "0"], "--paths and --whole exclude"),
    ],
)
def test_explain_paths_refuses_what_does_not_fit(
    arguments: list[str], message: str, run: Run
) -> None:
    code, out, err = run("explain", "net.safetensors", "--data", "samples.csv", "--paths", "3",
                         *arguments)  # fmt: skip
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_flow(run: Run) -> None:
    arguments = ("flow", "net.safetensors", "--data", "samples.csv")
    net = chainrule.load("net.safetensors")
    code, out, err = run(*arguments)
    assert (code, err) == (0, "")
    assert out == net.flow(X, Y).text()
    _, out, _ = run(*arguments, "--rows", "1:3", "--format", "json")
    assert json.loads(out) == net.flow(X[1:], Y[1:]).to_dict()
    assert run(*arguments, "--format", "html", "--out", "flow.html")[0] == 0
    assert Path("flow.html").read_text("utf-8") == net.flow(X, Y).html()
    code, _, err = run(*arguments, "--rows", "7:9")
    assert (code, "there are no rows in 7:9" in err) == (2, True)
