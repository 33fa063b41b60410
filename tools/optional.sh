#!/usr/bin/env bash
# Installs what only some tests need, with the Python that is given: PyTorch, JAX, Typst, readers of quizzes and what loggers write to
# (pip), KaTeX, TypeScript and axe-core (npm ci, by `make`), Chromium (apt-get, which root alone may use).
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:?the Python to install packages for}

# torch is pinned: without the pin pip may take a build that brings gigabytes of GPU libraries.
"$python" -m pip install --quiet --disable-pip-version-check torch==2.13.0 tensorboard \
  moodle-xml-parser citolab-qti-convert nbgrader \
  --editable '.[jax,tensorboard,mlflow,worksheets]'

for browser in chromium chromium-browser google-chrome; do
  if command -v $browser >/dev/null; then exit 0; fi
done
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "Chromium is missing, which the tests of the explorer need: install it (on Debian and Ubuntu as root," \
    "apt-get install chromium), and run this again" >&2
  exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
apt-get -qq install --yes --no-install-recommends chromium >/dev/null
