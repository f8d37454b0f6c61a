#!/usr/bin/env bash
# Everything this project wants to know from a machine with one GPU, in one command, as one JSON document.
#   bash tools/lab/gpu/run.sh [--minutes 25] [--steps machine,checks,...] [--out FILE.json]
#   bash tools/lab/gpu/run.sh --rehearse        the same at tiny sizes on a CPU, in two minutes
# Installs nothing: takes the first Python that has a torch which sees the GPU. See docs/gpu.md.
set -euo pipefail
cd "$(dirname "$0")/../../.."
source tools/lab/links.sh
export PYTHONPATH="$PWD/build/src:$PWD${PYTHONPATH:+:$PYTHONPATH}"
wanted="import torch, numpy, safetensors; assert torch.cuda.is_available()"
for argument in "$@"; do
    case "$argument" in --rehearse|--device|--help|-h) wanted="import torch, numpy, safetensors" ;; esac
done
for python in ${NEXTFRAME_PYTHON:-} .venv/bin/python python3 python; do
    if command -v "$python" >/dev/null && "$python" -c "$wanted" 2>/dev/null; then
        exec "$python" -m nextframe.tools.lab.gpu "$@"
    fi
done
echo "no Python here has numpy, safetensors and a torch that sees a GPU; name one with NEXTFRAME_PYTHON=..." >&2
exit 2
