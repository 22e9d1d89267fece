#!/usr/bin/env bash
# Train on this machine:  launch/local.sh CONFIG WORKDIR [--config.KEY=VALUE ...]
# CONFIG is a path such as configs/cifar10_lt.py:gcl,100. Run again, it goes on where it stands.
# Before CONFIG: --dry-run prints the commands, and starts nothing. --processes=N starts N processes that train together
# over the loopback, to try what several hosts do (one uses every device of the machine); a signal to this script goes
# to all of them, and where one fails the others are ended.
set -euo pipefail

usage() { sed -n '2,6s/^# //p' "$0"; }
processes=1 dry_run=false
while [[ ${1:-} == -* ]]; do
  case $1 in
    -h | --help) usage && exit 0 ;;
    --dry-run) dry_run=true ;;
    --processes=*) processes=${1#*=} ;;
    *) echo "error: $1 is no option of $0: see --help; arguments of the run come after WORKDIR" >&2 && exit 2 ;;
  esac
  shift
done
if [[ $# -lt 2 ]]; then
  usage >&2
  exit 2
elif [[ ! $processes =~ ^[1-9][0-9]{0,2}$ ]]; then
  echo "error: --processes is '$processes'; it must be a whole number from 1 on" >&2
  exit 2
fi
config=$1 workdir=$2
shift 2
repository=$(cd "$(dirname "$0")/.." && pwd)
python=python3
[[ -x $repository/.venv/bin/python ]] && python=$repository/.venv/bin/python
# Not from the repository: CONFIG and WORKDIR are relative to where the user stands.
export PYTHONPATH="$repository${PYTHONPATH:+:$PYTHONPATH}"
command=("$python" -m gcl_jax.main --config="$config" --workdir="$workdir" "$@")

# --dry-run of the scripts: a command as a shell would read it back.
show() { printf '%q ' "$@" | sed 's/ $//' && echo; }

if ((processes == 1)); then
  $dry_run && show "PYTHONPATH=$PYTHONPATH" "${command[@]}" && exit 0
  exec "${command[@]}"
fi

port=PORT # of this moment: a free one is found when the run starts
$dry_run || port=$("$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
together=(--coordinator="127.0.0.1:$port" --num_processes="$processes")
if $dry_run; then
  for ((i = 0; i < processes; i++)); do
    show "PYTHONPATH=$PYTHONPATH" "${command[@]}" "${together[@]}" --process_id="$i"
  done
  exit 0
fi

pids=() stop=''
tell() { # SIGNAL: to every process that is still there
  local pid
  for pid in "${pids[@]}"; do kill -s "$1" "$pid" 2>/dev/null || true; done
}
set -m # a process group each: a Ctrl-C then reaches them once, through this script, and is not ignored as in `cmd &`
trap 'stop=1; tell TERM' TERM
trap 'stop=1; tell INT' INT
trap 'tell KILL' EXIT
for ((i = 0; i < processes; i++)); do
  "${command[@]}" "${together[@]}" --process_id="$i" &
  pids+=($!)
done
[[ ! $stop ]] || tell TERM # those that were not there yet

status=0 left=("${pids[@]}") until=
while ((${#left[@]})); do
  alive=()
  for pid in "${left[@]}"; do
    if kill -0 "$pid" 2>/dev/null; then
      alive+=("$pid")
      continue
    fi
    code=0
    wait "$pid" || code=$?
    if ((code && !status)); then
      status=$code until=$((SECONDS + 60))
      echo "process $pid ended with status $code: the others are told to stop, and killed after a minute" >&2
      tell TERM
    fi
  done
  left=("${alive[@]+"${alive[@]}"}")
  [[ $until ]] && ((SECONDS > until)) && tell KILL
  ((${#left[@]})) && sleep 0.2
done
trap - EXIT
exit "$status"
