#!/bin/sh
# Installs lcm-daemon for this user, on Linux and macOS:
#
#   sh examples/install/install.sh [--dry-run] [--yes] [--run] [--uninstall] [...]
#
# It installs what the system lacks (on Debian and Ubuntu, after a question), finds a Python, and hands over to install.py.
# README.md beside this file describes every option.

set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
dry='' yes='' only_python=''
for word in "$@"; do
    case $word in
        --dry-run) dry=1 ;;
        --yes) yes=1 ;;
        --uninstall | --help | -h) only_python=1 ;;
    esac
done

# Print a Python that lcm-daemon runs with and that can make environments. On a Mac without Apple's command line tools,
# /usr/bin/python3 only opens a window that offers them.
find_python() {
    for name in python3.12 python3.13 python3.11 python3 python; do
        path=$(command -v "$name") || continue
        if [ "$path" = /usr/bin/python3 ] && [ "$(uname)" = Darwin ] && ! xcode-select -p >/dev/null 2>&1; then
            continue
        fi
        if "$path" -c 'import sys, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null; then
            echo "$path"
            return
        fi
    done
    if command -v uv >/dev/null; then  # uv downloads a Python where the system has none
        uv python find --quiet '>=3.11,<3.14' 2>/dev/null && return
        if [ -z "$dry" ]; then
            uv python install --quiet 3.12 || return 0
            uv python find --quiet 3.12
        fi
    fi
}

has_library() {
    PATH=$PATH:/sbin:/usr/sbin ldconfig -p 2>/dev/null | grep -q "$1"
}

# Print the Debian packages that this machine lacks.
missing_packages() {
    [ -n "$(find_python)" ] || echo python3 python3-venv
    [ -z "$only_python" ] || return 0
    has_library libavahi-client.so.3 || echo libavahi-client3  # NDI
    [ -x /usr/sbin/avahi-daemon ] || echo avahi-daemon         # NDI finds senders by their names
    if ! has_library libasound.so.2; then                      # MIDI; Debian 13 and Ubuntu 24.04 gave it another name
        apt-cache show libasound2t64 >/dev/null 2>&1 && echo libasound2t64 || echo libasound2
    fi
    if command -v nvidia-smi >/dev/null; then                  # torch.compile
        command -v g++ >/dev/null || echo g++
        ls /usr/include/python3*/Python.h >/dev/null 2>&1 || echo python3-dev
    fi
}

as_root() {
    echo "  $*" >&2
    [ -z "$dry" ] || return 0
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        echo "This needs root, and sudo is not installed. Run it as root, then run this script again." >&2
        return 1
    fi
}

agreed() {
    [ -z "$yes$dry" ] || return 0
    if [ ! -t 0 ]; then
        echo "Not installed, for no one can answer here: give --yes."
        return 1
    fi
    printf 'Install them with apt-get? [Y/n] '
    read -r answer
    case $answer in [nN]*) return 1 ;; esac
}

install_packages() {
    [ "$(id -u)" != 0 ] || [ -z "${SUDO_USER:-}" ] || return 0  # install.py says why not
    command -v apt-get >/dev/null || return 0
    packages=$(missing_packages | tr '\n' ' ')
    [ -n "${packages% }" ] || return 0
    echo "This system lacks: ${packages% }"
    agreed || return 0
    as_root apt-get update --quiet=2 || return 0
    # shellcheck disable=SC2086  # one word a package
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet=2 --no-install-recommends \
        -o Dpkg::Use-Pty=0 -o Dpkg::Progress-Fancy=0 $packages >/dev/null || true
}

install_packages
python=$(find_python)
if [ -z "$python" ]; then
    if [ -n "$dry" ] && command -v apt-get >/dev/null; then
        echo "With Python installed, install.py --dry-run would print the rest. Nothing was changed."
        exit 0
    fi
    echo "lcm-daemon needs Python 3.11, 3.12 or 3.13 with venv, or uv, which brings one. Install either, and run this again:" >&2
    echo "  https://www.python.org/downloads, or https://docs.astral.sh/uv" >&2
    exit 1
fi
exec "$python" "$here/install.py" "$@"
