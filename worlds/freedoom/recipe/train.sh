#!/usr/bin/env bash
# The shipped keep from nothing: pictures from the game, the looks, who reads pictures, and how one walks. Needs ViZDoom
# (pip install 'nextframe[freedoom]'). Each part goes on where it stopped (--resume). Two parts fit on two cores at once.
set -euo pipefail
out=${1:-runs/freedoom}
# Given-back memory costs page faults: glibc is told to keep it.
export OMP_NUM_THREADS=1 MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=100000000000 MALLOC_TOP_PAD_=268435456
[ -e "$out/latents.npy" ] || python -m nextframe.worlds.freedoom.recipe.shots --out "$out" --frames 6000
python -m nextframe.worlds.freedoom.recipe.walk --out "$out" --minutes 95 --threads 1 --batch 80 --compile --resume &
python -m nextframe.worlds.freedoom.recipe.looks --out "$out" --part looks --minutes 30 --threads 1 --resume
python -m nextframe.worlds.freedoom.recipe.looks --out "$out" --part reader --minutes 8 --threads 1 --resume
wait
python -m nextframe.worlds.freedoom.recipe.export --run "$out"
