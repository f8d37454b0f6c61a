#!/usr/bin/env bash
# Retrain the drive world from nothing: pictures, tokenizer, dynamics, export, evaluation. Resumable: run it again.
#   worlds/drive/recipe/train.sh [minutes of the dynamics]
set -euo pipefail
cd "$(dirname "$0")/../../.."
run=runs/drive
# Large temporaries come and go every step; without these the allocator returns them to the system each time.
export MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=100000000000 MALLOC_TOP_PAD_=268435456
for part in 0 1; do
    if [ ! -e "$run/labels_$part.npy" ]; then
        OMP_NUM_THREADS=1 .venv/bin/python -m nextframe.worlds.drive.recipe.data --out "$run" --frames 9000 --part "$part" --parts 2 &
    fi
done
wait
for part in decoder:22 encoder:18; do
    OMP_NUM_THREADS=1 .venv/bin/python -m nextframe.worlds.drive.recipe.tokenizer --out "$run" \
        --part "${part%:*}" --minutes "${part#*:}" --resume &
done
wait
.venv/bin/python -m nextframe.worlds.drive.recipe.dynamics --out "$run" --minutes "${1:-150}" --threads 2 --compile --resume
.venv/bin/python -m nextframe.worlds.drive.recipe.export --run "$run"
.venv/bin/nextframe eval drive
