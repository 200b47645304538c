#!/bin/sh
# Says which tool of the system is missing, and the apt line that brings it, before anything else fails.
# usage: tools/preflight.sh PYTHON [build|test]...
python=$1
shift
missing=""
packages=""

need() { # what is missing, the Debian packages that bring it
    missing="$missing${missing:+, }$1"
    packages="$packages $2"
}

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    need "Python 3.11 or newer as $python" "python3 python3-venv python3-dev"
else
    "$python" -c 'import ensurepip, venv' 2>/dev/null || need "Python's venv" python3-venv
    header=$("$python" -c 'import sysconfig; print(sysconfig.get_paths()["include"])')/Python.h
    [ -f "$header" ] || need "Python.h" python3-dev
fi
if ! command -v "${CC:-gcc}" >/dev/null 2>&1; then
    need "a C compiler" "gcc libc6-dev"
elif ! echo '#include <stdio.h>' | "${CC:-gcc}" -E - >/dev/null 2>&1; then
    need "the C library's headers" libc6-dev
fi
for wanted in "$@"; do
    if [ "$wanted" = test ]; then
        command -v qemu-x86_64 >/dev/null 2>&1 || need qemu-x86_64 qemu-user
        command -v valgrind >/dev/null 2>&1 || need valgrind valgrind
        command -v ps >/dev/null 2>&1 || need ps procps
    fi
done

if [ -n "$missing" ]; then
    echo "memtwin: missing $missing; install it with: apt-get install -y$packages" >&2
    exit 2
fi
