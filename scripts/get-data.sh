#!/usr/bin/env bash
# Gets a public text to train on and proves by its SHA-256 that it is the right one.
#
#   scripts/get-data.sh tinyshakespeare [FOLDER]
#
# FOLDER (default: data) receives tinyshakespeare.txt. A file that is there already is only checked.
# PG_TINYSHAKESPEARE_URL names another origin, such as a mirror or a file:// address.
# Exit codes: 0 the file is there and right, 64 bad command line, 65 wrong content, 74 no download.
set -euo pipefail

kDone=0 kUsage=64 kBadData=65 kInputOutput=74

fail() { # CODE MESSAGE...
  local code=$1
  shift
  printf 'get-data.sh: %s\n' "$@" >&2
  exit "$code"
}

sha256_of() {
  if command -v sha256sum >/dev/null; then
    sha256sum -- "$1" | cut -d ' ' -f 1
  else
    shasum -a 256 -- "$1" | cut -d ' ' -f 1
  fi
}

# Prints what is wrong with file $1 (expected: $2 bytes, checksum $3); prints nothing if all is well.
complaint_about() {
  local size checksum
  size=$(wc -c <"$1" | tr -d ' ')
  if [[ $size -ne $2 ]]; then
    echo "it has $size bytes, expected $2"
    return
  fi
  checksum=$(sha256_of "$1")
  [[ $checksum == "$3" ]] || echo "its SHA-256 is $checksum, expected $3"
}

download() { # URL FILE
  if command -v curl >/dev/null; then
    curl --fail --silent --show-error --location --retry 2 --max-time 300 --output "$2" -- "$1"
  elif command -v wget >/dev/null; then
    wget --quiet --tries 3 --timeout 60 --output-document "$2" -- "$1"
  else
    fail "$kInputOutput" "neither curl nor wget is installed" "  try: install one, or save $1 as ${2%.pending-*}"
  fi
}

get() { # NAME FOLDER URL SIZE SHA256
  local name=$1 folder=$2 url=$3 size=$4 checksum=$5
  local target=$folder/$name complaint
  if [[ -e $target ]]; then
    [[ -f $target && -r $target ]] ||
      fail "$kInputOutput" "$target is no readable file" "  try: move it away"
    complaint=$(complaint_about "$target" "$size" "$checksum")
    [[ -z $complaint ]] ||
      fail "$kBadData" "$target is not the file it should be: $complaint" \
        "  try: move it away and run this again"
    echo "$target is there and right ($size bytes)"
    exit "$kDone"
  fi
  if ! mkdir -p -- "$folder" 2>/dev/null || [[ ! -w $folder ]]; then
    fail "$kInputOutput" "cannot write into the folder $folder" "  try: another folder"
  fi
  pending=$target.pending-$$
  trap 'rm -f -- "$pending"' EXIT
  echo "downloading $url"
  download "$url" "$pending" ||
    fail "$kInputOutput" "cannot download $url" \
      "  try: check the network, or set PG_TINYSHAKESPEARE_URL to a mirror"
  complaint=$(complaint_about "$pending" "$size" "$checksum")
  [[ -z $complaint ]] ||
    fail "$kBadData" "what $url gave is not the expected file and was deleted: $complaint" \
      "  try: another origin in PG_TINYSHAKESPEARE_URL"
  mv -- "$pending" "$target" || fail "$kInputOutput" "cannot write $target"
  echo "$target is there and right ($size bytes)"
}

main() {
  [[ $# -ge 1 && $# -le 2 ]] ||
    fail "$kUsage" "expected one or two arguments, found $#" \
      "  try: scripts/get-data.sh tinyshakespeare [FOLDER]"
  case $1 in
    tinyshakespeare)
      get tinyshakespeare.txt "${2:-data}" \
        "${PG_TINYSHAKESPEARE_URL:-https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt}" \
        1115394 86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed
      ;;
    -h | --help)
      echo "usage: scripts/get-data.sh tinyshakespeare [FOLDER]"
      ;;
    *)
      fail "$kUsage" "there is no text '$1'" "  expected: tinyshakespeare"
      ;;
  esac
}

main "$@"
