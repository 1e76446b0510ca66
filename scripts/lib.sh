# shellcheck shell=bash disable=SC2034  # the callers read what is set here
# What the set-up scripts share: where the project is, how they speak, and how Python and uv are found.
# Sourced, never run. The caller has set `set -euo pipefail`.

ROOT=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
STATE=$ROOT/.connbench # private to this checkout: uv, environments, locks
CANNOT_RUN=3 # the exit code for a machine that lacks something; `connbench` has the same

say() { printf 'set-up: %s\n' "$*" >&2; }

# fail WHAT [REMEDY…]: what happened, then what to do about it, a line each.
fail() {
    say "error: $1"
    shift
    local line
    for line in "$@"; do say "       $line"; done
    exit "$CANNOT_RUN"
}

# --- Python -----------------------------------------------------------------------------------------------

# probe_python CMD: if CMD is CPython 3.11 or newer, says so in PY_EXE, PY_VERSION and PY_INCLUDE.
# It is asked rather than trusted by its name: a version manager's stand-in for a version that is not
# switched on is on the PATH too. The real path is kept, so that someone's activated environment is seen through.
probe_python() {
    local facts
    facts=$("$1" -I -S -c '
import os, sys, sysconfig
if sys.version_info < (3, 11) or sys.implementation.name != "cpython":
    sys.exit(1)
print(os.path.realpath(sys.executable), "%d.%d" % sys.version_info[:2], sysconfig.get_path("include"), sep="\n")
' 2>/dev/null) || return 1
    { read -r PY_EXE && read -r PY_VERSION && read -r PY_INCLUDE; } <<<"$facts"
}

# find_python: the environment's own interpreter if there is one already, then the PATH, uv's and pyenv's.
# PYTHON=… (a name or a path) goes before all of them.
find_python() {
    local name candidate
    if [ -n "${PYTHON:-}" ]; then
        probe_python "$PYTHON" || fail "PYTHON=$PYTHON is not a CPython 3.11 or newer" "unset PYTHON, or name another one"
        return 0
    fi
    if [ -x "$ROOT/.venv/bin/python" ] && probe_python "$ROOT/.venv/bin/python"; then return 0; fi
    for name in python3.13 python3.12 python3.11 python3; do
        if command -v "$name" >/dev/null && probe_python "$name"; then return 0; fi
    done
    if find_uv && candidate=$(UV_PYTHON_DOWNLOADS=never "$UV_EXE" python find --no-project --system '>=3.11' 2>/dev/null) &&
        probe_python "$candidate"; then
        return 0
    fi
    for name in 3.13 3.12 3.11; do
        for candidate in "${PYENV_ROOT:-${HOME:-}/.pyenv}/versions/$name"*/bin/python; do
            if [ -x "$candidate" ] && probe_python "$candidate"; then return 0; fi
        done
    done
    return 1
}

# find_pip: a Python of any version that has pip, in PIP_PYTHON. Only uv is ever installed with it.
find_pip() {
    local candidate
    for candidate in "${PY_EXE:-}" python3 /usr/bin/python3; do
        if [ -n "$candidate" ] && "$candidate" -c 'import pip' >/dev/null 2>&1; then
            PIP_PYTHON=$candidate
            return 0
        fi
    done
    return 1
}

# --- uv ---------------------------------------------------------------------------------------------------

# new_enough UV: 0.8 or newer, which is what brings the build backend that pyproject.toml names along.
new_enough() {
    local version major minor
    version=$("$1" --version 2>/dev/null) || return 1
    [[ $version =~ ^uv\ ([0-9]+)\.([0-9]+) ]] || return 1
    major=${BASH_REMATCH[1]} minor=${BASH_REMATCH[2]}
    ((major > 0 || minor >= 8))
}

# find_uv: the uv on the PATH if it is new enough, else the private one of the locked version, in UV_EXE.
find_uv() {
    UV_EXE=$(command -v uv) && new_enough "$UV_EXE" && return 0
    UV_EXE=$STATE/uv/bin/uv
    [ -x "$UV_EXE" ] && cmp -s "$ROOT/requirements/uv.txt" "$STATE/uv/requirements.txt"
}

# ensure_uv: as find_uv, installing the private one with pip where neither is there.
ensure_uv() {
    find_uv && return 0
    mkdir -p "$STATE"
    exec {uv_lock}>"$STATE/uv.lock"
    flock "$uv_lock"
    if ! find_uv; then
        find_pip || fail "uv is not installed, and no Python with pip was found to install it with" \
            "install either one, for example: apt-get install python3-pip"
        say "installing uv into ${STATE#"$ROOT"/}/uv"
        rm -rf "$STATE/uv.new"
        if ! "$PIP_PYTHON" -m pip install -qq --disable-pip-version-check --no-deps --only-binary :all: \
            --require-hashes --target "$STATE/uv.new" --requirement "$ROOT/requirements/uv.txt" >&2; then
            fail "pip could not install uv (its own words are above)" \
                "check the network and pip's index (pip config list), or put uv 0.8 or newer on the PATH"
        fi
        cp "$ROOT/requirements/uv.txt" "$STATE/uv.new/requirements.txt"
        rm -rf "$STATE/uv"
        mv "$STATE/uv.new" "$STATE/uv"
        UV_EXE=$STATE/uv/bin/uv
    fi
    exec {uv_lock}>&-
}

# use_pip_mirrors: uv does not read pip's configuration; a machine that has its mirror and its certificates there
# gets them as uv's variables. What is set for uv already is kept.
use_pip_mirrors() {
    local exports
    find_pip || return 0
    exports=$("$PIP_PYTHON" "$ROOT/scripts/pip_to_uv.py") || fail "pip's configuration could not be read (pip config list)"
    eval "$exports"
}
