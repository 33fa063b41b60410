#!/usr/bin/env bash
# Compiles the core to WebAssembly with SIMD, for live pages, into src/chainrule/engines: core-relaxed.wasm with
# fused multiply-adds (relaxed SIMD), and core.wasm for browsers without. The compiler is a package of PyPI, which
# goes into an environment of its own; the same sources make the same bytes.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}
compiler=ziglang==0.17.1
place=build/wasm
target=src/chainrule/engines

if [ "$(cat "$place/compiler" 2>/dev/null)" != "$compiler" ]; then
  "$python" -m venv "$place/venv"
  "$place/venv/bin/python" -m pip install --quiet --disable-pip-version-check "$compiler"
  echo "$compiler" >"$place/compiler"
fi

# compile NAME FLAG...: with those of CMakeLists.txt, and one table of instructions: SIMD of 128 bits. No more than 2 GB,
# so that an address is a number of 31 bits.
compile() {
  "$place/venv/bin/python" -m ziglang c++ -target wasm32-wasi -mexec-model=reactor -std=c++20 -O2 -DNDEBUG \
    -ffp-contract=fast -fno-math-errno -fno-trapping-math -fvisibility=hidden "${@:2}" -DCR_ISA=baseline -Wall -Wextra \
    -s -Wl,--gc-sections -Wl,--max-memory=2147483648 \
    native/wasm/api.cpp native/wasm/one_thread.cpp native/isa_unit.cpp native/dispatch.cpp native/epoch.cpp native/pace.cpp \
    -o "$place/$1"
  mv "$place/$1" "$target"
  echo "$target/$1: $(stat -c %s "$target/$1" 2>/dev/null || stat -f %z "$target/$1") bytes"
}
# core.wasm comes last: it stands for both in the Makefile.
compile core-relaxed.wasm -msimd128 -mrelaxed-simd
compile core.wasm -msimd128
