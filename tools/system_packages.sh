#!/bin/sh
# Make sure of the few system packages that pip cannot bring: a compiler for the messages, and a
# software renderer for the simulator; with the argument `browser` also Chromium, in which tests open
# the console. Installs what is missing where it may, else names the command.
set -eu

missing=''
need() { # need PACKAGE TEST...: the package, unless the test succeeds
    package=$1
    shift
    "$@" >/dev/null 2>&1 || missing="$missing $package"
}

have_library() { ldconfig -p 2>/dev/null | grep -q "$1" || /sbin/ldconfig -p | grep -q "$1"; }

python=${PYTHON:-python3}
need g++ command -v g++
need python3-venv "$python" -c 'import ensurepip, venv'
need python3-dev "$python" -c 'import os, sysconfig
assert os.path.isfile(os.path.join(sysconfig.get_paths()["include"], "Python.h"))'
need libegl1 have_library libEGL.so.1
need libegl-mesa0 have_library libEGL_mesa.so.0
need libgl1-mesa-dri sh -c 'ls /usr/lib/*/dri/swrast_dri.so /usr/lib/*/dri/libdril_dri.so /usr/lib/*/libgallium*.so'
need libgl1 have_library libGL.so.1
if [ "${1:-}" = browser ]; then
    need chromium sh -c 'command -v chromium || command -v chromium-browser || command -v google-chrome'
fi

[ -z "$missing" ] && exit 0

install="apt-get install -y --no-install-recommends$missing"
if ! command -v apt-get >/dev/null; then
    echo "gsc_ros needs the system packages (Debian's names):$missing" >&2
    exit 1
elif [ "$(id -u)" = 0 ]; then
    apt-get update -q && $install
elif sudo -n true 2>/dev/null; then
    sudo apt-get update -q && sudo $install
else
    echo "gsc_ros needs system packages. Run this, then try again:" >&2
    echo "    sudo apt-get update && sudo $install" >&2
    exit 1
fi
