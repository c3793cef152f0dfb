#!/bin/sh
# usage: tools/chromium.sh PYTHON
# Prints the path of the browser for the tests; installs Chromium if there is none.
# Firefox comes along for the tests that drive a second engine; where there is none they are skipped.
# libatomic1 is for the Node.js that Playwright brings: it is missing from a bare Debian.
set -eu
python=$1

installed() { command -v google-chrome || command -v chromium; }

if [ -n "${CHROMIUM:-}" ]; then
    echo "$CHROMIUM"
elif ! installed; then
    if [ "$(id -u)" = 0 ] && grep -q '^ID=debian' /etc/os-release; then
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -q >&2
        apt-get install -q -y --no-install-recommends -o DPkg::Lock::Timeout=300 chromium firefox-esr libatomic1 >&2
        installed
    else
        "$python" -m playwright install chromium >&2
        "$python" -c 'from playwright.sync_api import sync_playwright
with sync_playwright() as p: print(p.chromium.executable_path)'
    fi
fi
