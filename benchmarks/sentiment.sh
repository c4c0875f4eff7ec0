#!/usr/bin/env bash
# The second task: base, all weights and adapter side by side; then a search on the validation split.
#
#     benchmarks/sentiment.sh
#
# Learns from 72 of the embedded posts and measures on 28. Results lie in runs/sentiment.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${PYTHON:-.venv/bin/python}
common=(--task sentiment --steps 40 --mixed-precision "${MIXED:-bf16}")

$python -m detox sft "${common[@]}" --method full --lr 5e-5 --output runs/sentiment/full
$python -m detox sft "${common[@]}" --method lora --lr 4e-4 --output runs/sentiment/lora
$python -m detox quality embedded runs/sentiment/full runs/sentiment/lora \
    --task sentiment --temperature 0 --output runs/sentiment/quality
$python -m detox tune sft "${common[@]}" --validate-every 10 --trials 8 \
    --study runs/sentiment/search
