#!/usr/bin/env bash
# Installs the wheel of dist/ in a fresh environment, without a compiler in reach, and runs the tests
# of the sdist of dist/ against it: what is tested is what a user gets, and the sdist holds what its
# tests need. Arguments go to pytest. PYTHON makes the environment; it need not be the one that built.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
folder=$PWD/build/check-wheel
wheels=(dist/chainrule-*.whl)
[ -f "${wheels[0]}" ] || { echo "dist/ holds no wheel; build one: make wheel" >&2; exit 1; }

rm -rf "$folder"
mkdir -p "$folder"
tar --extract --gzip --strip-components=1 --directory "$folder" --file dist/chainrule-*.tar.gz
"$python" -m venv "$folder/.venv"
export CXX=/nowhere/c++
pip=("$folder/.venv/bin/python" -m pip install --disable-pip-version-check --quiet)
"${pip[@]}" --no-index --no-deps --find-links dist --only-binary :all: chainrule # the one that suits
"${pip[@]}" 'chainrule[test]'                                                    # what its tests need

cd "$folder"
.venv/bin/python - <<'PYTHON'
import importlib.metadata
import pathlib

import chainrule

place = pathlib.Path(chainrule.__file__)
assert ".venv" in place.parts, place
network = chainrule.Network([2, 2, 1])
assert network.engine == "native", f"the wheel has no core: {network.engine}"
files = {file.name: file for file in importlib.metadata.files("chainrule") or ()}
for name in ("LICENSE", "THIRD_PARTY_NOTICES", "py.typed", "core.wasm", "core-relaxed.wasm", "core.js"):
    assert name in files, f"the wheel lacks {name}"
notices = files["THIRD_PARTY_NOTICES"].read_text()
assert all(name in notices for name in ("Wenzel Jakob", "Tessil", "Rich Felker"))
print(f"{place.parent}: {network.engine} engine, notices included")
PYTHON
.venv/bin/python -m pytest -p no:cacheprovider "${@:-tests}"
