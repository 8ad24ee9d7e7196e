#!/usr/bin/env bash
# Puts what the checks of reports need into a folder: npm's playwright-core and axe-core; and installs Chromium and Node.js from Debian where they are missing.
#
# usage: browser.sh FOLDER
set -euo pipefail

missing=()
[[ -n "${CHROMIUM:-}" ]] || command -v chromium >/dev/null || missing+=(chromium)
command -v node >/dev/null || missing+=(nodejs)
command -v npm >/dev/null || missing+=(npm)
if ((${#missing[@]})); then
    sudo=()
    [[ $EUID == 0 ]] || sudo=(sudo -n)
    echo "Installing ${missing[*]}"
    "${sudo[@]}" apt-get update -qq
    DEBIAN_FRONTEND=noninteractive "${sudo[@]}" apt-get install -qq -y --no-install-recommends "${missing[@]}"
fi

mkdir -p "$1/compared"
cd "$1"
[[ -e package.json ]] || echo '{ "private": true }' >package.json
packages=(playwright-core@1.65.1 axe-core@4.14.1)
# What is there already is seen without asking anybody.
npm ls "${packages[@]}" >/dev/null 2>&1 || npm install --no-audit --no-fund --save-exact "${packages[@]}"
