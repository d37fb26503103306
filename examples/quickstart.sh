#!/usr/bin/env bash
# What `make quickstart` does, in the commands a person would type.
set -euo pipefail
bin=$1 catalogue=$2 data=$3 port=$4 count=$5

# Shows a command as it would be typed, then runs it.
run() {
  local word typed=
  for word; do
    case $word in *[[:space:]\<\>]*) word=\'$word\' ;; esac
    typed+=" $word"
  done
  printf '\n\033[1m$%s\033[0m\n' "$typed"
  "$bin/$@"
}

if [ "$(wc -l 2>/dev/null <"$catalogue/catalogue.jsonl" || echo 0)" -ne "$count" ]; then
  run lookalike demo-catalogue --out "$catalogue" --count "$count" --seed 7
fi
# A quickstart that still runs is started anew: what it has indexed is kept.
"$bin/lookalike" down --data-dir "$data" >/dev/null 2>&1 || true
run lookalike up -f examples/quickstart.yaml --data-dir "$data" --port "$port" --detach --wait

pictures=("$catalogue"/images/*-red-striped-mug.*)
run lookalike search "red striped mug" --top-k 5 --data-dir "$data"
run lookalike search --image "${pictures[0]}" --top-k 5 --data-dir "$data"
run lookalike search "blue dotted bag" --filter 'status=active' --filter 'price<60' --top-k 5 --data-dir "$data"

printf '\nThe search page: http://127.0.0.1:%s/\nThe API:         http://127.0.0.1:%s/docs\nMore commands:   source %s/activate; lookalike --help\nStop it with:    make quickstart-down\n' "$port" "$port" "$bin"
