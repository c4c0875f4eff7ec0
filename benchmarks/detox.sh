#!/usr/bin/env bash
# The shipped detox again, with three seeds: PPO from "before", then every seed on unseen dialogues.
#
#     benchmarks/detox.sh [DIALOGSUM_EVAL.jsonl]
#
# About 17 minutes a seed and half an hour of evaluation on two cores with AMX; without bfloat16
# (MIXED=no) about twice that. A run that was cut off goes on. Results lie in runs/seeds.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${PYTHON:-.venv/bin/python}

for seed in 0 1 2; do
    [ -f "runs/ppo-$seed/detox.json" ] && continue
    resume=()
    [ -f "runs/ppo-$seed/checkpoint.pt" ] && resume=(--resume)
    $python -m detox ppo --policy before --reward mixed:classifier=1.5,rouge=1.5 \
        --steps 40 --lr 2e-4 --kl-target 6 --kl-horizon 300 --save-every 5 \
        --mixed-precision "${MIXED:-bf16}" --seed $seed --output "runs/ppo-$seed" "${resume[@]}"
done
$python benchmarks/seeds.py runs/ppo-{0,1,2} --samples 2 --output runs/seeds/embedded
if [ $# -gt 0 ]; then
    $python benchmarks/seeds.py runs/ppo-{0,1,2} --data "$1" --samples 1 --output runs/seeds/dialogsum
fi
