#!/usr/bin/env bash
# report.html in a browser: runs of every kind are made and fitted, their pages opened in headless Chromium.
# report_html.sh MAKE_SYNTHETIC_RUN [SCREENSHOT_FOLDER]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)
if [ -z "$browser" ]; then
  echo "skipped: no Chromium here (Debian: apt-get install chromium)"
  exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/home"
for kind in realistic gating model_size; do
  run=$work/$kind
  "$1" "$run" "$kind"
  # A study whose name is a program: the page must show it, not run it.
  name="'<script>window.broken = 1</script><img src=x onerror=\"broken=2\">'"
  sed -i "s|^name: .*|name: $name|" "$run/study.yaml"
  grep -q 'window.broken' "$run/study.yaml"
  "$PG_BIN/pgpost" fit "$run" > "$work/fit.txt"
  cp "$run/report.html" "$work/first.html"
  "$PG_BIN/pgpost" report "$run" > /dev/null
  cmp "$work/first.html" "$run/report.html" || { echo "FAILED: other bytes the second time"; exit 1; }
  # The page stands alone: the browser gets nothing else of the run.
  mkdir "$work/alone-$kind"
  cp "$run/report.html" "$work/alone-$kind/report.html"
  HOME=$work/home python3 "$here/report_html.py" "$browser" "$work/alone-$kind/report.html" \
    "$work/profile-$kind" "$kind" ${2:+"$2"}
done
