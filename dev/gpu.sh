#!/usr/bin/env bash
# On a machine with an NVIDIA card, after `make install`: all that needs one, and what it gives.
set -uo pipefail
cd "$(dirname "$0")/.."
export PATH=$PWD/.venv/bin:$PATH
python -c 'import torch; print(torch.__version__, torch.cuda.get_device_name())' || exit 2
bad=0
try() { echo "== $*"; "$@" || bad=1; }
try pytest tests/test_scale.py
try python dev/bench.py card --source mnist
for name in linear mlp convnet resnet18; do
  try digitlab train $name --device cuda --source mnist --force --out "runs/$name.safetensors"
done
cards=$(nvidia-smi --list-gpus | wc -l)
[ "$cards" -lt 2 ] || try torchrun --nproc-per-node "$cards" -m digitlab train resnet18 --force \
  --batch-size $((128*cards)) --device cuda --source mnist --out runs/shared.safetensors
try digitlab run --device cuda --full --source mnist
exit $bad
