#!/usr/bin/env bash
# Everything that must hold before a change lands: lint, format, tests; less than 10 minutes on 2
# cores. Needs no network once it has installed what the tests use.
#
#   bash launch/test.sh [tests/proxy -k turns ...]
#
# Arguments go to pytest; paths in them are relative to the repository's root.

# shellcheck source=launch/environment.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/environment.sh" base test

# Two workers share the cores and what they compile, and the next call finds that again.
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
export JAX_COMPILATION_CACHE_DIR="$PWD/.cache/jax" JAX_PERSISTENT_COMPILATION_CACHE_MIN_COMPILE_TIME_SECS=0.1

python -m ruff check .
python -m ruff format --check .
exec python -m pytest -n 2 -q "$@"
