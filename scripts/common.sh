# shellcheck shell=bash disable=SC2034
# Shared by the scripts behind `make up`, `make down`, `make test`. Sourced, never run.
#
# An installation is named by FASTABLE_INSTANCE. Its name separates everything: state, ports, subnets, cgroups, network rules.

set -euo pipefail

# The physical path, by which the kernel names running programs; and the administrators' programs, which `su` leaves out.
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
export PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
instance=${FASTABLE_INSTANCE:-dev}
case "$instance" in
'' | -* | *[!a-z0-9-]*) echo "FASTABLE_INSTANCE must be lower-case letters, digits and dashes, not ‘$instance’" >&2; exit 2 ;;
esac

configuration=${FASTABLE_CONFIGURATION:-release}
binaries=$repository/bin
controller_state=${XDG_STATE_HOME:-$HOME/.local/state}/fastable/$instance/controller
node_state=/var/lib/fastable/$instance/node
node_run=/run/fastable/$instance
image_cache=/var/cache/fastable/images
endpoints=$controller_state/endpoints.json

step() { printf '\033[1m==>\033[0m %s\n' "$*"; }
fail() { printf 'fastable: %s\n' "$*" >&2; exit 1; }

# Root is asked for only where it is needed, and not at all when we already are root.
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -- "$@"; fi; }

# Asks for the password at a moment when the question makes sense, and fails aloud when root cannot be had.
need_root() { [ "$(id -u)" = 0 ] || sudo -v || fail "this step needs root; run it where sudo works"; }

# The oldest toolchain that Package.swift accepts.
swift_wanted=6.2

# A Swift toolchain, and the libraries without which one from swift.org does not even print its version.
need_toolchain() {
    local get="get Swift $swift_wanted or newer from https://www.swift.org/install/linux and put ‘swift’ on your PATH" version
    command -v swift >/dev/null || fail "no Swift toolchain found; $get"
    install_packages "$repository/scripts/packages-build.list"
    version=$(swift --version 2>&1 | sed -n 's/.*Swift version \([0-9][0-9.]*\).*/\1/p' | head -n 1) || true
    [ -n "$version" ] || fail "$(command -v swift) does not tell its version (try ‘swift --version’); $get"
    printf '%s\n' "$swift_wanted" "$version" | sort -VC || fail "$(command -v swift) is Swift $version, which is too old; $get"
}

is_installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

# The first of the names that this distribution has a package for.
available_package() {
    local name
    for name in "$@"; do
        if [[ $(LC_ALL=C apt-cache policy "$name" 2>/dev/null) == *"Candidate: "[!\(]* ]]; then echo "$name"; return 0; fi
    done
    fail "no package source of this machine has ${*}; this set-up knows Debian 12 and Ubuntu 24.04"
}

# install_packages FILE…: installs what the lists name and the machine lacks. A line ‘a|b’ is satisfied by either.
install_packages() {
    local lines line names name missing=() packages=()
    command -v apt-get >/dev/null || fail "this set-up needs Debian 12 or Ubuntu 24.04 (apt-get was not found)"
    mapfile -t lines < <(grep -hv '^#' "$@" | sort -u)
    for line in "${lines[@]}"; do
        IFS='|' read -ra names <<<"$line"
        for name in "${names[@]}"; do is_installed "$name" && continue 2; done
        missing+=("$line")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    step "Installing ${#missing[@]} packages: ${missing[*]}"
    # A machine that has just booted may still be installing updates: wait for it, and for the registry.
    local apt=(as_root env DEBIAN_FRONTEND=noninteractive apt-get -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300)
    retry "${apt[@]}" update -qq
    for line in "${missing[@]}"; do
        IFS='|' read -ra names <<<"$line"
        name=$(available_package "${names[@]}")
        packages+=("$name")
    done
    # Tests run a registry themselves; as a service of the machine it would listen on all of its addresses.
    if [[ " ${packages[*]} " == *" docker-registry "* && -d /run/systemd/system ]]; then
        as_root systemctl mask --quiet docker-registry.service
        echo "  docker-registry is for the tests alone: its service is off (systemctl unmask docker-registry.service)"
    fi
    "${apt[@]}" install -y -qq --no-remove --no-install-recommends "${packages[@]}" >/dev/null
}

# retry COMMAND…: a few times with pauses, for package registries that are away for a moment.
retry() {
    local pause
    for pause in 5 15 30; do
        "$@" && return 0
        echo "that failed; trying again in $pause s: $*" >&2
        sleep "$pause"
    done
    "$@"
}

# As ourselves where that is enough, as root otherwise.
plainly() { "$@" 2>/dev/null || as_root "$@"; }

# A daemon is ours when its pid file names a process that runs the program we expect.
running_pid() {
    local pid_file=$1 program=$2 pid
    [ -e "$pid_file" ] || as_root test -e "$pid_file" || return 1
    pid=$(plainly cat "$pid_file" 2>/dev/null) || return 1
    [ -n "$pid" ] && [ "$(plainly readlink "/proc/$pid/exe" 2>/dev/null | sed 's/ (deleted)$//')" = "$program" ] && echo "$pid"
}

# A daemon whose program was rebuilt since it started.
is_outdated() {
    local pid
    pid=$(running_pid "$1" "$2") && plainly readlink "/proc/$pid/exe" | grep -q ' (deleted)$'
}

stop_daemon() {
    local name=$1 pid_file=$2 program=$3 pid waited=0
    pid=$(running_pid "$pid_file" "$program") || return 0
    step "Stopping $name (pid $pid)"
    plainly kill -TERM "$pid"
    while [ -e "/proc/$pid" ]; do
        sleep 0.1
        waited=$((waited + 1))
        # A daemon allows itself 35 s.
        if [ "$waited" = 400 ]; then
            echo "$name did not stop within 40 s; killing it" >&2
            plainly kill -KILL "$pid"
        fi
        # One that nobody reaps is as good as gone.
        [ "$waited" -lt 500 ] || break
    done
    plainly rm -f "$pid_file"
}
