#!/usr/bin/env bash
# The Python environment of this repository, in .venv: made the first time, added to when the
# requirements change, otherwise left alone. The other scripts source it, and then stand in the
# repository's root with `python` being the one of .venv:
#
#   source launch/environment.sh base [test] [cuda|tpu]
#
#   base   requirements.txt: what training needs, on the CPU
#   test   tests/requirements.txt: what linting and testing need as well
#   cuda   jax's wheels for an NVIDIA GPU, at the version of jax that requirements.txt pins
#   tpu    jax's wheels for a TPU VM, likewise
#
# PYTHON=/path/to/python names the Python to build .venv with. Without it an existing .venv is kept,
# and a new one is built with the first of python3, python3.13, python3.12 and python3.11 that is
# new enough.

set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
unset PYTHONHOME PYTHONPATH # they would put other packages before the pinned ones

stop() {
  echo "${0##*/}: $*" >&2
  exit 2
}

# Prints X.Y of a Python, and fails where that is too old.
python_version() {
  "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2]); sys.exit(sys.version_info < (3, 11))'
}

find_python() {
  local candidate version seen=""
  if [ -n "${PYTHON:-}" ]; then set -- "$PYTHON"; else set -- python3 python3.13 python3.12 python3.11; fi
  for candidate; do
    if version=$(python_version "$candidate" 2>/dev/null); then
      echo "$candidate"
      return
    fi
    seen+="${version:+${seen:+, }$candidate ($version)}"
  done
  stop "Python 3.11 or newer is needed, found ${seen:-none called $*}: install one with its venv" \
    "(apt-get install python3.12 python3.12-venv, for example) or name it with PYTHON=/path/to/python."
}

# Whether .venv can be installed into: whole, new enough, and no install broke off half-way.
venv_works() {
  [ ! -e .venv/unfinished ] && python_version .venv/bin/python && .venv/bin/python -c "import pip"
} &>/dev/null

make_venv() {
  local python version
  if [ -z "${PYTHON:-}" ] && venv_works; then return; fi
  python=$(find_python)
  version=$(python_version "$python")
  if venv_works && [ "$(python_version .venv/bin/python)" = "$version" ]; then return; fi
  "$python" -c "import ensurepip, venv" 2>/dev/null ||
    stop "Python $version was found ($python) but it cannot make virtual environments:" \
      "install its venv (apt-get install python$version-venv, for example)."
  echo "Making .venv with Python $version."
  "$python" -m venv --clear .venv
}

# install_once STAMP PIP_ARGUMENTS...: does nothing where the same has been installed from the same
# requirements. pip takes a package that it was killed in the middle of for installed, so a mark
# stays until it has ended by itself, and .venv is made anew where one is found.
install_once() {
  local stamp=".venv/installed-$1" wanted
  shift
  wanted="$* $(cat requirements.txt tests/requirements.txt | cksum)"
  if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then return; fi
  echo "Installing $* into .venv."
  touch .venv/unfinished
  trap "exit 130" INT # without it bash goes on when pip has caught the interrupt
  python -m pip install --quiet --disable-pip-version-check "$@" || {
    rm .venv/unfinished
    stop "pip could not install $* (its message is above); the next call tries again."
  }
  trap - INT
  echo "$wanted" >"$stamp"
  rm .venv/unfinished
}

# The extra of jax for this machine's driver: CUDA 13 needs 580 or newer, CUDA 12 runs on older ones.
cuda_extra() {
  local driver
  driver=$(nvidia-smi --query-gpu=driver_version --format=csv,noheader 2>/dev/null) ||
    stop "no NVIDIA GPU answers (nvidia-smi is missing or fails): install the driver first," \
      "or run launch/quickstart.sh on the CPU."
  if [ "${driver%%.*}" -ge 580 ]; then echo cuda13; else echo cuda12; fi
}

# show_devices PLATFORM: prints what jax sees, and stops where that isn't a PLATFORM (gpu, tpu).
show_devices() {
  python -c 'import sys, jax; print(jax.devices()); sys.exit(jax.default_backend() != sys.argv[1])' "$1" ||
    stop "jax sees no $1 on this machine (its devices or its error are above)."
}

install_part() {
  local extra
  case "$1" in
    base) install_once base -r requirements.txt ;;
    test) install_once test -r tests/requirements.txt ;;
    cuda)
      extra=$(cuda_extra)
      install_once accelerator -c requirements.txt "jax[$extra]"
      ;;
    tpu) install_once accelerator -c requirements.txt "jax[tpu]" ;;
    *) stop "environment.sh installs base, test, cuda or tpu, not $1." ;;
  esac
}

make_venv
export VIRTUAL_ENV="$PWD/.venv" PATH="$PWD/.venv/bin:$PATH"
for part; do install_part "$part"; done
