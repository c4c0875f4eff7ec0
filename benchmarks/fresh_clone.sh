#!/usr/bin/env bash
# What a newcomer pays: minutes and disk of `make test` and `make app` in a fresh clone.
#
#     benchmarks/fresh_clone.sh [FOLDER]
#
# Clones HEAD into FOLDER (a new temporary one by default), runs both commands from nothing and
# prints seconds and the size of the virtual environment. The app is asked for its page and stopped.
set -euo pipefail
source=$(git -C "$(dirname "$0")" rev-parse --show-toplevel)
folder=${1:-$(mktemp -d)}/detox-arena
port=${PORT:-7999}
git clone -q "$source" "$folder"
cd "$folder"
export DETOX_CACHE="$folder/cache" DETOX_DB="$folder/data/labels.db"

start=$SECONDS
GRADIO_SERVER_PORT=$port CI=1 make app >app.log 2>&1 &
app=$!
trap 'kill $app 2>/dev/null || true' EXIT
until curl -fs -o /dev/null "http://127.0.0.1:$port/"; do
    kill -0 $app || { tail app.log; exit 1; }
    sleep 1
done
echo "make app, from nothing to the page: $((SECONDS - start)) s"
pkill -P $app || true
kill $app 2>/dev/null || true
du -sh .venv | awk '{print "virtual environment for the app: " $1}'

start=$SECONDS
GRADIO_SERVER_PORT=$port CI=1 make app >app.log 2>&1 &
app=$!
until curl -fs -o /dev/null "http://127.0.0.1:$port/"; do
    kill -0 $app || { tail app.log; exit 1; }
    sleep 0.2
done
echo "make app again, warm, to the page: $((SECONDS - start)) s"
pkill -P $app || true
kill $app 2>/dev/null || true

start=$SECONDS
make test
echo "make test, after make app: $((SECONDS - start)) s"
du -sh .venv | awk '{print "virtual environment with the test tools: " $1}'
