# shellcheck shell=bash
# Sourced by tpu_vm.sh and tpu_pod.sh, which set `worker` (on which hosts), `distributed` (their flags) and `type`.
: "${worker:?}" "${type:?}"
# shellcheck source-path=SCRIPTDIR source=saved.sh
source "$(dirname "${BASH_SOURCE[0]}")/saved.sh"

options() {
  cat <<END

Creates the TPU NAME, or uses the one that is there; copies the code, installs it, starts the run and shows its log.
When the TPU is preempted it is created again and the run goes on from its last checkpoint. When the connection drops,
or this script is stopped with Ctrl-C, the run goes on; the same command follows it again. CONFIG is a file of configs/.
The workdir is in a bucket, because what is on the TPU's own disks goes with it.

  --type=TYPE        of the accelerator ($type)
  --version=VERSION  of the TPU's software (by --type)
  --project=PROJECT  (gcloud's default)
  --spot             cheaper, and preempted at any time
  --queued           ask for a queued resource, and wait for it for as long as it takes
  --retries=N        give up after N failures in a row between which nothing was saved ($retries)
  --wait=SECONDS     after the first failure; twice as long after each further one, up to 16 times ($wait)
  --delete           delete the TPU: at once, or with CONFIG when the run has finished. Else it stays, and costs
  --dry-run          print the commands, and run none
END
}

name='' zone='' version='' project='' spot=false queued=false retries=10 wait=30 delete=false dry_run=false
repository=$(cd "$(dirname "$0")/.." && pwd)

main() {
  local this=$0
  while [[ ${1:-} == -* ]]; do
    case $1 in
      -h | --help) sed -n '2,4s/^# //p' "$this" && options && exit 0 ;;
      --name=* | --zone=* | --type=* | --version=* | --project=* | --retries=* | --wait=*)
        local option=${1%%=*}
        printf -v "${option#--}" %s "${1#*=}"
        ;;
      --spot | --queued | --delete) printf -v "${1#--}" true ;;
      --dry-run) dry_run=true ;;
      *) stop "$1 is no option of $this: see --help; arguments of the run come after the workdir" 2 ;;
    esac
    shift
  done
  [[ $name && $zone ]] || stop "--name=NAME and --zone=ZONE are needed: see $this --help" 2
  local number
  for number in "$retries" "$wait"; do
    [[ $number =~ ^[0-9]{1,5}$ ]] || stop "--retries and --wait are whole numbers, not '$number'" 2
  done
  describe_commands
  if [[ $# == 0 ]] && $delete; then
    remove
    exit
  fi
  [[ $# -ge 2 ]] || stop "CONFIG and gs://BUCKET/WORKDIR are needed: see $this --help" 2
  config=$1 workdir=${2%/}
  shift 2
  [[ $config == configs/* && -f $repository/${config%%:*} ]] ||
    stop "CONFIG is '$config'; it must be a file of configs/, such as configs/cifar10_lt.py:gcl,100" 2
  [[ $workdir == gs://?* ]] || stop "the workdir is '$workdir'; it must be gs://BUCKET/..., which outlives the TPU" 2
  describe_run "$@"
  if $dry_run; then
    print_plan
  else
    train
  fi
}

stop() { # MESSAGE [STATUS]
  echo "error: $1" >&2
  exit "${2:-1}"
}
say() { echo "== $*" >&2; }
show() { printf '%q ' "$@" | sed 's/ $//' && echo; } # a command, as a shell would read it back

describe_commands() {
  vm=(gcloud compute tpus tpu-vm)
  where=(--zone="$zone" --quiet)
  [[ -z $project ]] || where+=(--project="$project")
  if [[ -z $version ]]; then
    case $type in
      v5litepod-*) version=v2-alpha-tpuv5-lite ;;
      v5p-*) version=v2-alpha-tpuv5 ;;
      v6e-*) version=v2-alpha-tpuv6e ;;
      *) version=tpu-ubuntu2204-base ;;
    esac
  fi
  if $queued; then
    resource=(gcloud compute tpus queued-resources)
    create=("${resource[@]}" create "$name" --node-id="$name" --accelerator-type="$type" --runtime-version="$version")
    delete_it=("${resource[@]}" delete "$name" "${where[@]}" --force)
  else
    create=("${vm[@]}" create "$name" --accelerator-type="$type" --version="$version")
    delete_it=("${vm[@]}" delete "$name" "${where[@]}")
  fi
  create+=("${where[@]}")
  ! $spot || create+=(--spot)
}

describe_run() { # ARGUMENTS of the run, after config and workdir
  # shellcheck disable=SC2154 # set by the script that sources this one
  local arguments=(--config="$config" --workdir="$workdir" ${distributed[@]+"${distributed[@]}"} "$@") quoted
  # gcloud hands the text over as it is, and the shell of the worker reads it: quoted once, for that shell.
  quoted=$(printf ' %q' "${arguments[@]}")
  archive=gcl_jax.tar.gz
  pack=(tar -czf "$archive" -C "$repository" --exclude=__pycache__ gcl_jax configs launch pyproject.toml setup.py README.md)
  copy=("${vm[@]}" scp "$archive" "$name:gcl_jax.tar.gz" "${where[@]}" --worker="$worker")
  local unpack="mkdir -p gcl_jax && tar -xzf gcl_jax.tar.gz -C gcl_jax launch/tpu_worker.sh"
  run=("${vm[@]}" ssh "$name" "${where[@]}" --worker="$worker"
    --command="$unpack && bash gcl_jax/launch/tpu_worker.sh$quoted")
  result=$(result_of "$@")
}

print_plan() {
  echo "# unless $name is there and READY (after a preemption it is deleted first):"
  show "${create[@]}"
  echo "# the code, from a temporary folder, and the run; again after each failure, at most $retries in a row:"
  show "${pack[@]}"
  show "${copy[@]}"
  show "${run[@]}"
  echo "# finished when $workdir/$result has been written:"
  show gcloud storage ls --long "$workdir/**"
  if $delete; then
    show "${delete_it[@]}"
  fi
}

remove() {
  if $dry_run; then
    show "${delete_it[@]}"
  else
    "${delete_it[@]}"
  fi
}

# FIELD COMMAND, of the TPU or its queued resource: gcloud's word; NONE, where there is none; UNKNOWN, where gcloud fails
state() {
  local found field=$1
  shift
  if found=$("$@" describe "$name" "${where[@]}" --format="value($field)" 2>"$scratch/error"); then
    echo "${found:-UNKNOWN}"
  elif grep -Eqi 'not.?found' "$scratch/error"; then
    echo NONE
  else
    tail -n 1 "$scratch/error" >&2
    echo UNKNOWN
  fi
}
vm_state() { state state "${vm[@]}"; }

attempt() { # COMMAND: run it; stop where to run it again would not help
  if "$@" 2>"$scratch/error"; then
    return 0
  fi
  stop_if_hopeless
  cat "$scratch/error" >&2
  return 1
}
stop_if_hopeless() { # by what gcloud said last
  local reasons='quota|permission|unauthenticated|log ?in|invalid|unrecognized|not enabled|not been used|billing' line
  if line=$(grep -Eim 1 "$reasons" "$scratch/error"); then
    stop "$name cannot be had, and trying again would not help: $line"
  fi
}

make_ready() { # 0: the TPU is ready; 1: something failed; 2: nothing failed, but it takes time
  local found
  rm -f "$scratch/error"
  if $queued; then
    found=$(state state.state "${resource[@]}")
    [[ $found == ACTIVE ]] && found=$(vm_state)
  else
    found=$(vm_state)
  fi
  case $found in
    READY) return 0 ;;
    NONE) ;;
    PREEMPTED | TERMINATED | SUSPENDED | FAILED)
      if [[ $found == FAILED ]] && $queued; then # why is told in the resource alone
        state state.failedData.error.message "${resource[@]}" >"$scratch/reason"
        mv "$scratch/reason" "$scratch/error"
        stop_if_hopeless
      fi
      say "$name is $found: it is deleted and created again"
      attempt "${delete_it[@]}" || return 1
      ;;
    STOPPED)
      say "$name is stopped: it is started"
      attempt "${vm[@]}" start "$name" "${where[@]}"
      return
      ;;
    UNKNOWN) return 1 ;;
    *) say "$name is $found" && return 2 ;;
  esac
  say "creating $name"
  attempt "${create[@]}" || return 1
  if $queued && [[ $found == FAILED ]]; then
    return 1
  elif $queued; then
    return 2
  fi
}

train() {
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  trap 'say "$name still exists, and a run that was started goes on there: the same command follows it again"; exit 130' INT
  (cd "$scratch" && "${pack[@]}")
  local failures=0 pause=$wait before now code
  before=$(saved)
  while true; do
    code=0
    make_ready || code=$?
    if ((code == 0)); then
      follow || code=$?
      now=$(saved)
      if ((code == 0)) && finished "$result" "$before" "$now"; then
        break
      elif [[ $(added "$before" "$now") ]]; then
        failures=0 pause=$wait
      fi
      before=$now
      code=1
    fi
    if ((code == 1)); then
      ((++failures <= retries)) || stop "gave up on $name after $retries failures in a row$(still_there)"
      say "going on in $pause s (failure $failures of at most $retries in a row)"
    fi
    sleep "$pause"
    # A run that was at fault itself would fail again; one whose TPU was lost beneath it would not.
    if [[ -e $scratch/log ]] && grep -Eq '^gcl_jax on .*: the run ended with status [12]$' "$scratch/log" &&
      [[ $(vm_state) == READY ]]; then
      stop "the run failed, see above$(still_there)"
    fi
    rm -f "$scratch/log"
    ((code == 2 || (pause *= 2) <= 16 * wait)) || pause=$((16 * wait))
  done
  say "finished: $workdir"
  if $delete; then
    remove
  else
    say "done$(still_there)"
  fi
}

follow() { # the run and its log, on the workers
  (cd "$scratch" && "${copy[@]}") || return 1
  "${run[@]}" 2>&1 | tee "$scratch/log"
  return "$((PIPESTATUS[0] > 0))"
}

still_there() {
  [[ $(vm_state) == NONE ]] ||
    echo "; $name still exists and costs: $0 --name=$name --zone=$zone$($queued && echo ' --queued') --delete"
}
