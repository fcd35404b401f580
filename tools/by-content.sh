#!/usr/bin/env bash
# Links the file $1 beside it under a name that has its checksum, and prints that
# name: what Go has cached of tests that run the program is so of this program.
set -euo pipefail
cd "$(dirname "$1")"
file=$(basename "$1")
rm -f "$file"-*
name=$file-$(cksum <"$file" | tr -d ' ')
ln "$file" "$name"
echo "$name"
