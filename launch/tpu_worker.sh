#!/usr/bin/env bash
# On each worker of a TPU, called by tpu_vm.sh and tpu_pod.sh:  tpu_worker.sh [ARGUMENTS of python -m gcl_jax.main]
# Installs and starts the run, unless it is running still, and shows its log to the end. The run does not depend on the
# connection: when that drops, the same call shows the log again.
set -euo pipefail

running() { # a number may have gone to another process since
  [[ -s run.pid ]] && tr '\0' ' ' 2>/dev/null <"/proc/$(cat run.pid)/cmdline" | grep -qF gcl_jax.main
}

install() {
  tar -xzf ../gcl_jax.tar.gz
  # The TPU's own Python may be older than 3.11: uv brings one.
  [[ -x $HOME/.local/bin/uv ]] || python3 -m pip install --quiet --user uv
  [[ -x venv/bin/python ]] || "$HOME/.local/bin/uv" venv --quiet --python 3.12 venv
  "$HOME/.local/bin/uv" pip install --quiet --python venv/bin/python --editable '.[tf,photos]' 'jax[tpu]'
}

main() { # a function, so that bash has read all of it before the file is replaced
  cd "$(dirname "$0")/.."
  local arguments lines=+1 status
  arguments=$(printf '%q ' "$@")
  if ! running; then
    install
    rm -f run.status
    : >run.log # here, since `tail` below may be faster than what is started next
    printf %s "$arguments" >run.arguments
    # shellcheck disable=SC2016 # expanded by the shell that is started
    setsid bash -c '"$@"; echo $? >run.status' bash venv/bin/python -u -m gcl_jax.main "$@" >run.log 2>&1 </dev/null &
    echo $! >run.pid
  elif [[ $arguments != "$(cat run.arguments)" ]]; then
    echo "error: another run is still going on here: $(cat run.arguments)"
    ended 2
  else
    lines=100
  fi
  tail -s 0.1 -n "$lines" --pid="$(cat run.pid)" -f run.log
  status=$(cat run.status 2>/dev/null || echo 255)
  ended "$status"
}

ended() { # STATUS: said in words, because gcloud's own status does not tell it from a lost connection
  echo "gcl_jax on $(uname -n): the run ended with status $1"
  exit "$1"
}

main "$@"
