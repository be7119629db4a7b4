#!/usr/bin/env bash
# Everything that must hold before a change lands: lint, format, tests; less than 10 minutes on 2
# cores. Needs no network once it has installed what the tests use.
#
#   bash launch/test.sh [tests/proxy -k turns ...]
#
# Arguments go to pytest; paths in them are relative to the repository's root.

# shellcheck source=launch/environment.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/environment.sh" base test

# Two workers share the cores and what they compile, and the next call finds that again. Tests of a
# file stay together, since they share runs too.
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
export JAX_COMPILATION_CACHE_DIR="$PWD/.cache/jax" JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0.1

# Most programs run once or twice, which isn't worth optimising. jax 0.10 has quicker emitters, too;
# later versions abort at their name.
XLA_FLAGS="${XLA_FLAGS:-} --xla_backend_optimization_level=0"
if [[ $(python -c "from importlib import metadata; print(metadata.version('jax'))") == 0.10.* ]]; then
  XLA_FLAGS+=" --xla_cpu_use_fusion_emitters=false"
fi
export XLA_FLAGS

python -m ruff check .
python -m ruff format --check .
exec python -m pytest -n 2 --dist loadfile -q "$@"
