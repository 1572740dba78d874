#!/usr/bin/env bash
# On a machine with an NVIDIA card, after `make install`: all that needs one, and what it gives.
set -uo pipefail
cd "$(dirname "$0")/.."
export PATH=$PWD/.venv/bin:$PATH PYTHONPATH=$PWD PYTHONUNBUFFERED=1
python=$(command -v python || command -v python3)
"$python" -c 'import torch; print(torch.__version__, torch.cuda.get_device_name())' || exit 2
bad=0
try() { echo "== $*"; "$python" -m "$@" || bad=1; }
mkdir -p runs
try pytest tests/test_scale.py
for name in linear mlp convnet resnet18; do
  try digitlab train $name --device cuda --source mnist --force --out "runs/$name.safetensors"
done
echo '== dev/bench.py card'
"$python" dev/bench.py card --source mnist || bad=1
cards=$("$python" -c 'import torch; print(torch.cuda.device_count())')
[ "$cards" -lt 2 ] || try torch.distributed.run --nproc-per-node "$cards" -m digitlab train \
  resnet18 --batch-size $((128*cards)) --device cuda --source mnist --force \
  --out runs/shared.safetensors
try digitlab run --device cuda --full --source mnist
exit $bad
