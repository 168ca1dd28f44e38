#!/usr/bin/env bash
# Installs what pgmpi needs on Debian 12 or a relative of it: scripts/setup.sh [--tests] [--names]
# --tests: what the tests need as well. --names: prints the packages and installs nothing.
# Needs root or sudo. Installs nothing that is already there, and says what it installs.
# On a cluster, load modules instead: README, "On a cluster".
set -euo pipefail

packages=(
  g++ cmake ninja-build ccache git             # tools
  libopenmpi-dev openmpi-bin                   # MPI: ranks
  libhdf5-openmpi-dev                          # parallel HDF5: result files
  libtorch-dev libopenblas0-openmp             # LibTorch: tensors, autograd; a BLAS it can share
  libdnnl-dev libhwy-dev                       # oneDNN: matrix products; Highway: SIMD
  libyaml-cpp-dev libcli11-dev nlohmann-json3-dev libfmt-dev libssl-dev  # settings, text, hashes
  libxxhash-dev                                # checksums of checkpoints
  libboost-dev libboost-test-dev               # Boost.Math: distributions; Boost.Test
  gnuplot-nox fonts-dejavu-core                # plots
  curl ca-certificates                         # scripts/get-data.sh
)
test_packages=(
  python3 python3-torch                        # the independent truth for the training step
  clang-format shellcheck                      # the format of the sources; mistakes in the scripts
  python3-h5py hdf5-tools                      # other readers of the files
  chromium                                     # a browser, for report.html
  munge slurmctld slurmd slurm-client          # a Slurm on this machine, for the job scripts
)

only_names=no
for option in "$@"; do
  case "$option" in
    --tests) packages+=("${test_packages[@]}") ;;
    --names) only_names=yes ;;
    *) echo "setup.sh: unknown option '$option'; expected --tests or --names" >&2; exit 64 ;;
  esac
done
if [ "$only_names" = yes ]; then
  printf '%s\n' "${packages[@]}"
  exit 0
fi

if ! command -v apt-get > /dev/null; then
  echo "setup.sh: no apt-get here. Install these by other means (README, \"On a cluster\"):" >&2
  printf '  %s\n' "${packages[@]}" >&2
  exit 64
fi

missing=()
for package in "${packages[@]}"; do
  state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2> /dev/null || true)
  [ "$state" = installed ] || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then
  echo "setup: all ${#packages[@]} packages are installed"
  exit 0
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo > /dev/null; then
    echo "setup.sh: root or sudo is needed to install: ${missing[*]}" >&2
    exit 64
  fi
  as_root=(sudo)
fi
echo "setup: installing ${#missing[@]} packages: ${missing[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
install() {
  "${as_root[@]}" apt-get update &&
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
      apt-get install -y --no-install-recommends "${missing[@]}"
}
if ! install > "$log" 2>&1; then
  tail -n 30 "$log" >&2
  echo "setup.sh: the installation failed (above); try: apt-get update, then this script again" >&2
  exit 74
fi
echo "setup: done"
