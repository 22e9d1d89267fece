#!/usr/bin/env bash
# Train on this machine:  launch/local.sh CONFIG WORKDIR [--config.KEY=VALUE ...]
# CONFIG is a path such as configs/cifar10_lt/gcl.py:100. Run again, it goes on where it stands.
set -euo pipefail

usage() { sed -n '2,3s/^# //p' "$0"; }
if [[ ${1:-} == -h || ${1:-} == --help ]]; then
  usage
  exit 0
elif [[ $# -lt 2 ]]; then
  usage >&2
  exit 2
fi
config=$1 workdir=$2
shift 2
repository=$(cd "$(dirname "$0")/.." && pwd)
python=python3
[[ -x $repository/.venv/bin/python ]] && python=$repository/.venv/bin/python
# Not from the repository: CONFIG and WORKDIR are relative to where the user stands.
PYTHONPATH="$repository${PYTHONPATH:+:$PYTHONPATH}" exec "$python" -m gcl_jax.main --config="$config" --workdir="$workdir" "$@"
