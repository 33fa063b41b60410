#!/usr/bin/env bash
# What `pip install .` does without the core: without a compiler it says so, and CHAINRULE_PURE=1 gives the
# reference engine alone. PYTHON is the one whose packages the tests need.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
folder=build/installs
rm -rf $folder
mkdir -p $folder

if CXX=/nowhere/c++ "$python" -m pip install --quiet --no-deps --target $folder/none \
  --config-settings build-dir=$folder/build . >$folder/log 2>&1; then
  echo "the core was built without a compiler" >&2
  exit 1
fi
if ! grep -q "core needs a C++ compiler (GCC 11+ or Clang 14+), and none was$" $folder/log; then
  cat $folder/log >&2
  exit 1
fi
echo "without a compiler: says what to do"

"$python" -m venv $folder/pure
own=$($folder/pure/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
"$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))' >"$own/packages.pth"
CHAINRULE_PURE=1 CXX=/nowhere/c++ $folder/pure/bin/python -m pip install --quiet --no-deps .
$folder/pure/bin/python - <<'END'
import chainrule
net = chainrule.Network([2, 2, 1])
assert net.engine == "reference", net.engine
assert "installs/pure" in chainrule.__file__, chainrule.__file__
try:
    chainrule.Network([2, 2, 1], engine="native")
except ValueError as error:
    assert "pure Python installation" in str(error), error
else:
    raise AssertionError("engine='native' was taken")
END
$folder/pure/bin/python -m pytest -q -p no:cacheprovider tests/equations/test_golden.py \
  tests/engines/test_reproducibility.py tests/explain/test_lessons.py tests/explain/test_numbers.py
echo "CHAINRULE_PURE=1: the reference engine alone"
