#!/usr/bin/env bash
# Builds the core with sanitizers and runs its tests: address and undefined behaviour over all of
# the tests of the native engine, thread over native/pool_test.cpp, which has no Python around it.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$(command -v "${PYTHON:-python3}")
python=$(cd "$(dirname "$python")" && pwd)/$(basename "$python") # CMake passes over a relative path
build=build/sanitize

cmake -S . -B $build -DCMAKE_BUILD_TYPE=None -DPython_EXECUTABLE="$python" \
  -DCHAINRULE_SANITIZE=address,undefined >/dev/null
cmake --build $build -j2 >/dev/null
mkdir -p $build/package
rm -rf $build/package/chainrule
cp -r src/chainrule $build/package/
rm -f $build/package/chainrule/engines/_native.*.so
cp $build/_native.*.so $build/package/chainrule/engines/
# Python itself leaks by design and knows no sanitizer: the runtime is loaded before it.
LD_PRELOAD="$(g++ -print-file-name=libasan.so) $(g++ -print-file-name=libstdc++.so)" \
  ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
  "$python" - $build/package -q -p no:cacheprovider tests/engines/test_{native,lanes,predictions,stopping,surroundings}.py \
  -k "${SANITIZE_TESTS:-not ctrl_c and not fork and not environment}" <<'PYTHON'
import sys

import pytest

# An editable installation would be found before the core that was built here.
sys.meta_path = [finder for finder in sys.meta_path if "ScikitBuild" not in type(finder).__name__]
package = sys.argv.pop(1)
sys.path.insert(0, package)

import chainrule.engines._native

assert package in chainrule.engines._native.__file__, chainrule.engines._native.__file__
sys.exit(pytest.main(sys.argv[1:]))
PYTHON

# What is compiled for one instruction set must not be picked by the linker for all of them: outside
# of the sets' namespaces only the interfaces of core.h may be shared.
if nm -C $build/_native.*.so | grep " W chainrule::" | grep -v "chainrule::\(Core\|Predictor\|Lanes\|Many\)"; then
  echo "code is shared between instruction sets" >&2
  exit 1
fi

g++ -std=gnu++20 -O1 -g -fsanitize=thread -pthread native/pool.cpp native/pool_test.cpp -o $build/pool_test
$build/pool_test
