#!/usr/bin/env bash
# The quickstart on a TPU VM of one host: the pinned requirements, jax's wheels for the TPU, then the
# same command on all cores of the host.
#
#   bash launch/tpu_vm.sh [--config.batch_size=64 ...]

# shellcheck source=launch/environment.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/environment.sh" base tpu

show_devices tpu
exec bash launch/quickstart.sh "$@"
