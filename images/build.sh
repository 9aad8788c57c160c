#!/usr/bin/env bash
# Builds the gateway's image with whichever tool is there. BASE names another base image with Python 3.11 or newer.
set -euo pipefail
cd "$(dirname "$0")/.."
tag=${1:-ohmstead:local}
arguments=()
[ -z "${BASE:-}" ] || arguments+=(--build-arg "BASE=$BASE")
if command -v docker >/dev/null && docker info >/dev/null 2>&1; then
    docker build -f images/Dockerfile -t "$tag" "${arguments[@]}" .
elif command -v buildah >/dev/null; then
    # shellcheck disable=SC2086 - BUILDAH_OPTIONS is several words on purpose
    buildah ${BUILDAH_OPTIONS:-} bud ${BUILDAH_BUD_OPTIONS:-} --format docker -f images/Dockerfile -t "$tag" "${arguments[@]}" .
else
    echo "neither a Docker engine nor buildah is here; on Debian: apt install buildah" >&2
    exit 1
fi
