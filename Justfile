# ohmstead: `just` alone lists what there is to do. Everything a recipe needs it sets up itself, in .venv, from the lock file.

set shell := ["bash", "-euo", "pipefail", "-c"]

bin := justfile_directory() / ".venv/bin"

# What there is to do
[private]
default:
    @just --list --unsorted

# Make .venv from the lock file and fetch what the node needs (again only after a change)
setup group="dev":
    @PYTHON="${PYTHON:-}" bash images/setup.sh {{ group }}

# The whole appliance on this machine, with a simulated inverter, until Ctrl-C
demo *options: (setup "demo")
    @{{ bin }}/ohmstead demo {{ options }}

# The demo without a face: ends by itself, says what it verified
smoke *options: (setup "demo")
    @{{ bin }}/ohmstead smoke {{ options }}

# All tests; what they need and this machine lacks is skipped with a word. `just test tests/unit -k modbus` runs some
test *options: setup
    @{{ bin }}/python -m pytest {{ if options == "" { "-n 3 --dist loadgroup" } else { options } }}

# Every entity, state, command and availability in a real Home Assistant (needs Python 3.13; takes minutes the first time)
test-ha *options: setup
    @{{ bin }}/python -m pytest tests/ha {{ options }}

# Style, types (also against the MicroPython stubs) and the rules of the house
lint: setup
    {{ bin }}/ruff check .
    {{ bin }}/ruff format --check .
    {{ bin }}/mypy
    {{ bin }}/mypy --config-file shared/mypy-micropython.ini
    {{ bin }}/lint-imports

# Put the code into the form that `just lint` expects
format: setup
    {{ bin }}/ruff check --fix .
    {{ bin }}/ruff format .

# The figures of the README, each beside its peer or its physical limit in the same run
bench *options: setup
    @{{ bin }}/python -m tests.bench {{ options }}

# Faults of all kinds against the house, counted, repeatable by --seed: one table, exit code 1 for any finding (some 40 minutes; --quick 5)
chaos *options: setup
    @{{ bin }}/python -m tests.chaos {{ options }}

# The files that a node gets (build/node-image) and their package for updates: the same bytes every time. --romfs makes a ROMFS image too
node-image *options: setup
    @{{ bin }}/python images/node/build.py
    @{{ bin }}/python images/node/package.py {{ options }}

# The gateway's image with buildah or docker, whichever there is
image tag="ohmstead:local":
    @bash images/build.sh {{ tag }}
