#!/usr/bin/env bash
# The quickstart on one machine with NVIDIA GPUs: the pinned requirements, jax's wheels for the CUDA
# that the driver supports (they bring CUDA and cuDNN; only the driver must be there), then the same
# command on all GPUs of the machine.
#
#   bash launch/gpu_vm.sh [--config.batch_size=64 ...]

# shellcheck source=launch/environment.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/environment.sh" base cuda

show_devices gpu
exec bash launch/quickstart.sh "$@"
