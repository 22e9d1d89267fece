#!/usr/bin/env bash
# make_venv.sh FOLDER [PYTHON]: make a virtual environment with PYTHON, or the one that find_python.sh finds. One that is
# there stays as it is, unless it was made with another Python than the one that is asked for: that is an error.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
folder=$1 python=${2-}
origin='import sys; print(sys.base_prefix, "%d.%d" % sys.version_info[:2])'

if [[ -z $python && -x $folder/bin/python ]]; then
  if [[ -e $folder/pyvenv.cfg ]]; then
    exit 0
  fi
  echo "error: VENV=$folder is no virtual environment: name a folder for a new one" >&2
  exit 1
fi
python=$("$here/find_python.sh" ${python:+"$python"})
if [[ ! -e $folder/pyvenv.cfg ]]; then
  if [[ -e $folder/bin/python ]]; then
    echo "error: VENV=$folder is no virtual environment: name a folder for a new one" >&2
    exit 1
  fi
  exec "$python" -m venv "$folder"
fi
asked=$("$python" -c "$origin") made=$("$folder/bin/python" -c "$origin" || echo "a Python that is gone")
if [[ $asked != "$made" ]]; then
  echo "error: $folder was made with $made, not with PYTHON=$python ($asked): name another VENV, or make clean" >&2
  exit 1
fi
