#!/usr/bin/env bash
# Train on a slice of a Cloud TPU pod, several hosts, one process on each:
#   launch/tpu_pod.sh --name=NAME --zone=ZONE [OPTION ...] CONFIG gs://BUCKET/WORKDIR [--config.KEY=VALUE ...]
#   launch/tpu_pod.sh --name=NAME --zone=ZONE --delete
set -euo pipefail
worker=all distributed=(--distributed) type=v5litepod-16
# shellcheck source-path=SCRIPTDIR source=tpu_common.sh
source "$(dirname "$0")/tpu_common.sh"
main "$@"
