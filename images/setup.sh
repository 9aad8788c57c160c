#!/usr/bin/env bash
# Makes .venv from uv.lock, and build/micropython-lib from the one pinned library that a node needs.
# Does nothing when both are there and the lock file has not changed. Usage: images/setup.sh demo|dev
set -euo pipefail
cd "$(dirname "$0")/.."
group=${1:-dev}

find_python() {
    local candidate
    for candidate in "${PYTHON:-}" python3 python3.13 python3.12 python3.11 python; do
        [ -n "$candidate" ] || continue
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "ohmstead needs Python 3.11 or newer; none found. Install one, or name it: PYTHON=/path/to/python3.12 just setup" >&2
    return 1
}

if [ ! -x .venv/bin/python ] || ! .venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    python=$(find_python)
    echo "setting up .venv with $("$python" --version) (once; a minute or two)"
    "$python" -m venv .venv || { echo "This Python cannot make virtual environments; on Debian: apt install python3-venv" >&2; exit 1; }
fi

wanted="$group $(.venv/bin/python -c 'import hashlib, pathlib, sys
print(hashlib.sha256(b"".join(pathlib.Path(f).read_bytes() for f in ("uv.lock", "pyproject.toml", "images/node/library.py"))).hexdigest())')"
stamp=.venv/.ohmstead
have=$(cat "$stamp" 2>/dev/null || true)
library=build/micropython-lib/umqtt/simple.py
# All that the demo needs is in `dev` too.
if [ -f "$library" ] && { [ "$have" = "$wanted" ] || [ "$have" = "dev ${wanted#* }" ]; }; then
    exit 0
fi

uv_version=$(.venv/bin/python -c 'import tomllib
print(next(p["version"] for p in tomllib.load(open("uv.lock", "rb"))["package"] if p["name"] == "uv"))')
if [ "$(.venv/bin/uv --version 2>/dev/null | cut -d' ' -f2)" != "$uv_version" ]; then
    .venv/bin/python -m pip install --quiet --disable-pip-version-check "uv==$uv_version"
fi
echo "installing what uv.lock says ($group)"
.venv/bin/uv sync --quiet --locked --no-default-groups --group "$group"
.venv/bin/python images/node/library.py
if [ "$group" = dev ]; then
    .venv/bin/uv export --quiet --locked --only-group stubs --no-emit-project --output-file build/stubs.txt >/dev/null
    .venv/bin/uv pip install --quiet --require-hashes --target build/micropython-stubs -r build/stubs.txt
fi
echo "$wanted" > "$stamp"
