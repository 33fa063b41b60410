#!/usr/bin/env bash
# Installs what only some tests need, with the Python that is given: PyTorch, transformers, timm, JAX, Keras, Typst,
# MLflow, Dask, Ray, readers of quizzes and what loggers write to, Zig (pip), KaTeX, TypeScript, axe-core and a player of
# quizzes (npm ci, by `make`), Python for the browser (Pyodide, into the user's cache), Chromium, Firefox, LaTeX,
# Clang, and a compiler and an emulator for ARM (apt-get, which root alone may use).
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:?the Python to install packages for}

# torch is pinned: without the pin pip may take a build that brings gigabytes of GPU libraries. The bound of
# aiobotocore keeps pip from trying one version after another, and those of botocore with each.
"$python" -m pip install --quiet --disable-pip-version-check torch==2.13.0 tensorboard transformers \
  moodle-xml-parser citolab-qti-convert nbgrader wasmtime skl2onnx ziglang mlflow 'aiobotocore>=3.10' \
  'moto[server]' pyspark 'ray[client]' \
  --editable '.[dask,jax,keras,tensorboard,mlflow,ray,s3,skops,worksheets]'

# Models of torchvision and timm, apart from the environment (tests/foreign/vision.py says why).
rm -rf build/vision
"$python" -m pip install --quiet --disable-pip-version-check --no-deps --target build/vision \
  torchvision==0.28.0 timm

"$python" -c 'from chainrule.explorer.hosts import runtime; runtime.find(tell=print)'

PYTHON=$python native/wasm/build.sh

# has NAME...: whether one of these programs is there
has() {
  for name in "$@"; do
    if command -v "$name" >/dev/null; then return 0; fi
  done
  return 1
}
wanted=()
has chromium chromium-browser google-chrome || wanted+=(chromium)
has firefox firefox-esr || wanted+=(firefox-esr)
has clang || wanted+=(clang)
has java || wanted+=(default-jre-headless)
has pdflatex || wanted+=(texlive-latex-base)
has arm-none-eabi-gcc || wanted+=(gcc-arm-none-eabi libnewlib-arm-none-eabi)
has qemu-system-arm || wanted+=(qemu-system-arm)
if [ ${#wanted[@]} = 0 ]; then exit 0; fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "Programs are missing that tests need: install them (on Debian as root," \
    "apt-get install ${wanted[*]}), and run this again" >&2
  exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
apt-get -qq install --yes --no-install-recommends "${wanted[@]}" >/dev/null
