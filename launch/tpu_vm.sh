#!/usr/bin/env bash
# Train on one Cloud TPU VM, a single host:
#   launch/tpu_vm.sh --name=NAME --zone=ZONE [OPTION ...] CONFIG gs://BUCKET/WORKDIR [--config.KEY=VALUE ...]
#   launch/tpu_vm.sh --name=NAME --zone=ZONE --delete
set -euo pipefail
worker=0 distributed=() type=v5litepod-8
# shellcheck source-path=SCRIPTDIR source=tpu_common.sh
source "$(dirname "$0")/tpu_common.sh"
main "$@"
