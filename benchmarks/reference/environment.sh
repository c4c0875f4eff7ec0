#!/usr/bin/env bash
# The environment of the reference implementation: trl 0.11.4 and what it ran with, in .reference/.
#
#     benchmarks/reference/environment.sh
#     .reference/bin/python benchmarks/reference/golden.py    # numbers our PPO is held to
#     .reference/bin/python benchmarks/reference/lab.py       # the lab's loop, timed
#
# Does nothing when requirements.txt beside it is installed already. PYTHON names the interpreter.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
folder=$here/../../.reference
wanted=$here/requirements.txt
if cmp -s "$wanted" "$folder/requirements.txt"; then
    exit 0
fi
[ -x "$folder/bin/pip" ] || "${PYTHON:-python3.11}" -m venv "$folder"
"$folder/bin/pip" install -q --disable-pip-version-check -r "$wanted"
# written last, so that an interrupted run is taken up again
cp "$wanted" "$folder/requirements.txt"
