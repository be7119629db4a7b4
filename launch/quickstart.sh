#!/usr/bin/env bash
# The shortest way to a pre-trained encoder: makes .venv, generates a few phantom scans as .nii.gz
# files in data/phantom, pre-trains on them, and says how well held-out cubes are put in order and
# turned back. Needs nothing but Python 3.11 or newer with its venv.
#
#   bash launch/quickstart.sh [--config.steps=200 ...]
#
# Arguments go to the program; paths in them are relative to the repository's root. Called again it
# resumes a run that broke off, and leaves a finished one as it is.

# shellcheck source=launch/environment.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/environment.sh" base

echo "Pre-training on phantom scans: less than 6 minutes on 2 CPU cores, the install included."
exec python -m rubik_jax.main --config=configs/pretrain.py --workdir=runs/quickstart "$@"
