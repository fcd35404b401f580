#!/usr/bin/env bash
# Installs what `make test` needs beside Go and finds missing: a C compiler (for
# -race), PostgreSQL's server programs, Chromium and Node.js. Returns at once
# when all are there. Knows apt-get; elsewhere it names what to install.
set -euo pipefail

has() { command -v "$1" >/dev/null 2>&1; }
postgres_installed() { has postgres || compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null; }
chromium_installed() { has chromium || has chromium-browser || has google-chrome; }

missing=()
has gcc || has cc || missing+=(gcc libc6-dev)
postgres_installed || missing+=(postgresql)
chromium_installed || missing+=(chromium)
has node || missing+=(nodejs)
has npm || missing+=(npm)
if [ ${#missing[@]} -eq 0 ]; then
	exit 0
fi

if ! has apt-get; then
	echo "please install: ${missing[*]} (the names are Debian's)" >&2
	exit 1
fi
root=()
if [ "$(id -u)" -ne 0 ]; then
	has sudo || { echo "please install as root: apt-get install ${missing[*]}" >&2; exit 1; }
	root=(sudo)
fi
apt() { "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 "$@" </dev/null; }

echo "installing ${missing[*]}"
# The tests start servers of their own: the package shall not create and start
# one on port 5432 of a developer's machine.
no_cluster=/etc/postgresql-common/createcluster.d/rolecall-tests.conf
if ! postgres_installed; then
	"${root[@]}" mkdir -p "${no_cluster%/*}"
	echo 'create_main_cluster = false' | "${root[@]}" tee "$no_cluster" >/dev/null
	trap '"${root[@]}" rm -f "$no_cluster"' EXIT
fi
apt update
apt install --no-install-recommends "${missing[@]}" >/dev/null
