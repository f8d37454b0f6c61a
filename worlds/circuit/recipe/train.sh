#!/usr/bin/env bash
# Retrain the circuit world from nothing: tokenizer, dynamics, export, evaluation. Resumable: run it again.
#   worlds/circuit/recipe/train.sh [minutes on the teacher's drives] [minutes more, with the network's own]
set -euo pipefail
cd "$(dirname "$0")/../../.."
minutes=${1:-80}
own=${2:-177}
run=runs/circuit
# Large temporaries come and go every step; without these the allocator returns them to the system each time.
export MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=100000000000 MALLOC_TOP_PAD_=268435456
.venv/bin/python -m nextframe.worlds.circuit.recipe.tokenizer --out "$run" --minutes 25 --resume
.venv/bin/python -m nextframe.worlds.circuit.recipe.tokenizer --out "$run" --part reader --scenes 8000 --batch 32 --minutes 12 --resume
train=(.venv/bin/python -m nextframe.worlds.circuit.recipe.dynamics --out "$run" --compile --resume)
"${train[@]}" --minutes "$minutes"
"${train[@]}" --minutes $((minutes + own)) --batch 24 --own-share 0.4
.venv/bin/python -m nextframe.worlds.circuit.recipe.export --run "$run"
.venv/bin/nextframe eval circuit
