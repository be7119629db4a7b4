#!/usr/bin/env bash
# The paper's two tables on generated phantoms: four pre-trainings, and each strategy into
# classification, U-Net and DUC segmentation; UCF101's place is taken by generated action clips.
#
#   bash launch/tables.sh [--config.seeds="(0,1,2)" ...]
#
# Arguments go to the plan. Called again it goes on where it stopped, and does nothing twice. JOBS
# (2 unless it's set) processes share the plan's runs: as many as there are cores or accelerators.

# shellcheck source=launch/environment.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/environment.sh" base

work() {
  python -m rubik_jax.main --mode=tables --config=configs/tables.py --workdir=runs/tables "$@"
}

# The others begin once the first has made the cohort and the plan; they say what they do in a file.
mkdir -p runs/tables
work --dry_run "$@"
trap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT
for job in $(seq 2 "${JOBS:-2}"); do
  work "$@" >"runs/tables/worker$job.txt" 2>&1 &
done
work "$@" || status=$? # a run that failed is no reason to stop the others
wait
exit "${status:-0}"
