#!/usr/bin/env bash
# Runs the tests and counts the lines that they run: of Python with coverage.py, in subprocesses too, of
# the core with gcov. Prints both tables, and writes build/coverage/{python/index,core}.html and
# summary.md. Arguments go to pytest. PYTHON makes the environment; GCC compiles the core.
set -euo pipefail
cd "$(dirname "$0")/.."
build=$PWD/build/coverage
python=$build/.venv/bin/python
mkdir -p "$build"

# An environment of its own: an editable installation would be found before the core that counts.
[ -x "$python" ] || "${PYTHON:-python3}" -m venv "$build/.venv"
"$python" -m pip install --disable-pip-version-check --quiet --config-settings "build-dir=$build/core" \
  --config-settings cmake.build-type=None --config-settings cmake.define.CHAINRULE_COVERAGE=ON '.[coverage]'
find "$build/core" -name '*.gcda' -delete
rm -f "$build"/data.*

export COVERAGE_FILE=$build/data
status=0
"$python" -m coverage run -m pytest -q -p no:cacheprovider "${@:-tests}" || status=$?
"$python" -m coverage combine --quiet
"$python" -m coverage html --quiet --directory "$build/python"
"$python" -m gcovr --root . --filter native/ --exclude-throw-branches --merge-mode-functions merge-use-line-min \
  --gcov-ignore-parse-errors negative_hits.warn --gcov-ignore-parse-errors suspicious_hits.warn_once_per_file \
  --gcov-ignore-errors source_not_found \
  --gcov-ignore-errors no_working_dir_found --html-details "$build/core.html" --txt "$build/core.txt" \
  --markdown-summary "$build/core.md" "$build/core" >/dev/null
{
  echo "## Python"
  "$python" -m coverage report --format=markdown --skip-covered --sort=miss
  echo "## The core"
  cat "$build/core.md"
} >"$build/summary.md"
"$python" -m coverage report --skip-covered --sort=miss
cat "$build/core.txt"
exit $status
