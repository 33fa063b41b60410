"""Exported C on other machines: a Cortex-M4 under QEMU and WebAssembly compute the same bits."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import chainrule as cr
from tests.foreign.compiled import STRICT, compile

# A Cortex-M begins at the address in the second word of its memory, with its FPU switched off.
START = r"""
extern void _start(void);
__attribute__((naked)) static void reset(void)
{
    __asm__ volatile("ldr r0, =0xE000ED88\n ldr r1, [r0]\n orr r1, r1, #0xF00000\n"
                     "str r1, [r0]\n dsb\n isb\n b _start\n");
}
__attribute__((section(".vectors"), used)) static void *const vectors[2] = {
    (void *)0x00400000, (void *)reset};
"""
ARM = ("-Os", "-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16")
WASI = """
const {WASI} = require('node:wasi'), fs = require('node:fs');
const wasi = new WASI({version: 'preview1'});
WebAssembly.instantiate(fs.readFileSync(process.argv[2]), wasi.getImportObject())
  .then(({instance}) => wasi.start(instance));
"""


def exported(folder: Path, dtype: str) -> tuple[Path, str]:
    """A file with a main, and what it reads."""
    net = cr.Network([5, 9, 6, 3], hidden=["gelu", "silu"], output="softmax", dtype=dtype, seed=2)
    net.to_c(folder / "model.c", main=True)
    X = np.random.default_rng(3).normal(size=(30, 5))
    return folder / "model.c", "\n".join(",".join(map(str, row)) for row in X.tolist()) + "\n"


def of_a_table(folder: Path) -> tuple[Path, str]:
    """The model of a table of all kinds of columns, and its rows."""
    from tests.tables.test_c import CLASSES, model, rows_of, written

    model(CLASSES).to_c(folder / "model.c", main=True)
    return folder / "model.c", written(rows_of(30))


def printed(command: list[str], text: str) -> str:
    done = subprocess.run(command, input=text.encode(), capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) >= 30
    return done.stdout.decode()


@pytest.mark.needs("cc", "arm")
@pytest.mark.parametrize("what", ["float32", "float64", "table"])
def test_cortex_m(what: str, tmp_path: Path) -> None:
    source, text = of_a_table(tmp_path) if what == "table" else exported(tmp_path, what)
    (tmp_path / "start.c").write_text(START)
    build = ["arm-none-eabi-gcc", *STRICT, *ARM, "--specs=rdimon.specs"]
    program = tmp_path / "model.elf"
    objects = [str(tmp_path / "model.o"), str(tmp_path / "start.o")]
    for command in (
        [*build, "-c", str(source), "-o", objects[0]],
        ["arm-none-eabi-gcc", *ARM, "-c", str(tmp_path / "start.c"), "-o", objects[1]],
        [*build, "-Wl,--section-start=.vectors=0", *objects, "-o", str(program), "-lm"],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    board = "qemu-system-arm -M mps2-an386 -nographic -monitor none -serial none -semihosting"
    there = printed([*board.split(), "-kernel", str(program)], text)
    assert there == printed([str(compile(source, tmp_path / "here"))], text)


@pytest.mark.needs("cc", "zig")
@pytest.mark.parametrize("what", ["float32", "float64", "table"])
def test_webassembly(what: str, tmp_path: Path) -> None:
    source, text = of_a_table(tmp_path) if what == "table" else exported(tmp_path, what)
    program, script = tmp_path / "model.wasm", tmp_path / "run.js"
    script.write_text(WASI)
    command = [sys.executable, "-m", "ziglang", "cc", "--target=wasm32-wasi", *STRICT, "-O2"]
    done = subprocess.run(
        [*command, str(source), "-o", str(program)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    there = printed(["node", "--no-warnings", str(script), str(program)], text)
    assert there == printed([str(compile(source, tmp_path / "here"))], text)
