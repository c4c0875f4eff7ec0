#!/usr/bin/env bash
# The table of a fine-tuning: the base as it is, all weights tuned, an adapter, and what ships.
#
#     benchmarks/summarizer.sh DIALOGSUM_TRAIN.jsonl DIALOGSUM_EVAL.jsonl
#
# STEPS (40) steps of 8 for both methods. Results lie in runs/quality.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${PYTHON:-.venv/bin/python}
common=(--data "embedded,$1" --references all --steps "${STEPS:-40}" --max-prompt-tokens 320
    --mixed-precision "${MIXED:-bf16}")

$python -m detox sft "${common[@]}" --method full --lr 5e-5 --output runs/full
$python -m detox sft "${common[@]}" --method lora --lr 4e-4 --output runs/lora
$python -m detox quality embedded runs/full runs/lora before \
    --data "$2" --temperature 0 --output runs/quality
