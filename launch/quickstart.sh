#!/usr/bin/env bash
# The shortest way through: makes .venv, generates a few phantom scans as .nii.gz files in
# data/phantom, pre-trains on them, and fine-tunes what came of it to segment and to classify them,
# each beside its twin from scratch. Needs nothing but Python 3.11 or newer with its venv.
#
#   bash launch/quickstart.sh [--config.steps=200 ...]
#
# Arguments go to the pre-training; paths in them are relative to the repository's root. Called again
# it resumes a run that broke off, and leaves a finished one as it is.

# shellcheck source=launch/environment.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/environment.sh" base

run() { # run CONFIG NAME [ARGUMENTS...]
  local config="$1" name="$2"
  shift 2
  python -m rubik_jax.main --config="configs/$config" --workdir="runs/quickstart$name" "$@"
}

echo "Six to nine minutes on 2 free CPU cores, the install included; twice that beside other work."
run pretrain.py "" "$@"
for config in segment.py:head=duc classify.py; do
  task="${config%%.*}"
  echo "To $task, from the pre-trained encoder and from scratch."
  run "$config" "_$task" --config.init_from=runs/quickstart
  run "$config" "_${task}_scratch" --config.data.split.run=runs/quickstart
done
python - <<'END'
import json, pathlib
print("On 10 test cases, after so few steps that the twins can hardly be told apart:")
for task, measure in (("segment", "foreground_dice"), ("classify", "accuracy")):
    for twin, name in (("pre-trained", task), ("from scratch", f"{task}_scratch")):
        file = pathlib.Path(f"runs/quickstart_{name}/results.json")
        print(f"{task:8} {twin:12} {measure} {json.loads(file.read_text())['test'][measure]:.3f}")
END
