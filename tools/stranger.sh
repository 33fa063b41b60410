#!/usr/bin/env bash
# What README promises to a stranger: `make test` in a fresh clone, on a machine without any optional tool.
# What is installed here does not help: PATH is a folder with links to all other programs. Arguments go
# to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$PWD/build/stranger
rm -rf "$folder"
mkdir -p "$folder/bin"
git clone --quiet . "$folder/chainrule"
if [ -n "$(git status --porcelain)" ]; then echo "the clone has what is committed, and no more" >&2; fi

IFS=:
for place in $PATH; do # the first of a name counts
  [ -d "$place" ] || continue
  find "$place" -maxdepth 1 ! -type d ! -name 'chromium*' ! -name 'google-chrome*' ! -name node \
    ! -name nodejs ! -name npm ! -name npx ! -name corepack \
    -exec ln --symbolic --target-directory "$folder/bin" {} + 2>/dev/null || true
done
unset IFS CHAINRULE_NO_SKIPS PYTHONPATH VIRTUAL_ENV MAKEFLAGS MAKELEVEL
PATH=$folder/bin exec make --directory "$folder/chainrule" --no-print-directory test PYTEST="$*"
