#!/usr/bin/env bash
# Builds pgmpi against other versions of its libraries, in Debian trees of their own:
#
#   scripts/trees.sh trixie        LibTorch 2.6: builds everything, runs the tests without Slurm
#   scripts/trees.sh sid           the newest LibTorch there is: builds everything
#   scripts/trees.sh trixie-cuda   LibTorch 2.6 with CUDA, and NCCL: builds pgmpi and the gpu tests,
#                                  runs the kernels on the host,
#                                  starts pgmpi --device cuda, runs the gpu tests (without a device: to
#                                  exit 64, and until they say that they are skipped)
#
# The tree is made in build/trees/NAME (PG_TREES names another folder than build/trees) and used again
# when it is there; remove it by rm -rf: nothing stays mounted in it. It takes 2 to 9 GB and minutes.
# Needs root on a Debian machine, whose own package source it uses, and mmdebstrap.
# PG_JOBS: compilers at a time (default: as many as cores).
# Exit codes: 0 all is well, 1 a build or a test failed, 64 bad command line or machine, 74 no tree.
# shellcheck disable=SC2016  # what stands in single quotes is expanded by others: the tree, apt
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { # CODE MESSAGE...
  local code=$1
  shift
  printf 'trees.sh: %s\n' "$@" >&2
  exit "$code"
}
say() { printf '\n== %s (%d s)\n' "$*" "$SECONDS"; }

[ $# -eq 1 ] || fail 64 "expected one argument, found $#" "  try: scripts/trees.sh trixie"
tree=$1
case "$tree" in
  trixie | sid | trixie-cuda) ;;
  *) fail 64 "there is no tree '$tree'" "  expected: trixie, sid or trixie-cuda" ;;
esac
[ "$(id -u)" -eq 0 ] || fail 64 "a tree is entered by chroot, which needs root"
command -v mmdebstrap > /dev/null ||
  fail 64 "mmdebstrap is not installed" "  try: apt-get install mmdebstrap"
root=$(realpath -m "${PG_TREES:-build/trees}/$tree")

# The packages of this tree: those of setup.sh without what it is not used for here.
packages() {
  case "$tree" in
    trixie)
      scripts/setup.sh --tests --names |
        grep -v -E '^(munge|slurm.*|chromium|clang-format|shellcheck)$'
      ;;
    sid) scripts/setup.sh --names ;;
    trixie-cuda)
      scripts/setup.sh --names | grep -v -x libtorch-dev
      # CMake's side of this LibTorch does not configure without nvcc.
      printf '%s\n' libtorch-cuda-dev libnccl-dev nvidia-cuda-toolkit
      ;;
  esac
}

make_tree() {
  local mirror suite=${tree%-cuda} components=main
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' | head -n 1)
  [ -n "$mirror" ] || fail 64 "apt knows no Debian mirror" "  try: apt-get update"
  local hooks=()
  if [ "$tree" = trixie-cuda ]; then
    components=main,contrib,non-free
    # This package is a downloader: what it would get needs a licence that is the user's to accept.
    hooks=(--essential-hook='echo nvidia-cudnn nvidia-cudnn/question select I Decline |
      chroot "$1" debconf-set-selections')
  fi
  mkdir -p "$(dirname "$root")"
  # Made under another name, so that half a tree is never taken for one. Mirrors that are snapshots
  # have dates of the past.
  rm -rf --one-file-system "$root.pending"
  mmdebstrap --variant=minbase --components="$components" \
    --include="$(packages | paste -s -d , -)" "${hooks[@]}" \
    --aptopt='Acquire::Check-Valid-Until "false"' --aptopt='Acquire::Check-Date "false"' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    "$suite" "$root.pending" "$mirror" > "$root.log" 2>&1 ||
    { tail -n 20 "$root.log" >&2; fail 74 "the tree could not be made (all of it: $root.log)"; }
  mv "$root.pending" "$root"
  rm "$root.log"
}

# Runs a command in the tree: the sources read-only in /src, what is built in /build, compiled objects
# for all trees in /ccache. The mounts are in a namespace that ends with the command, so that no
# rm -rf can reach the machine's /dev.
enter() {
  mkdir -p "$root/src" "$root/build" "$root/ccache" "${root%/*}/ccache"
  unshare --mount --propagation private bash -euc '
    root=$1 source=$2
    shift 2
    mount -t proc proc "$root/proc"
    mount --rbind /sys "$root/sys"
    mount --rbind /dev "$root/dev"
    mount --bind "${root%/*}/ccache" "$root/ccache"
    mount --bind "$source" "$root/src"
    mount -o remount,bind,ro "$root/src"
    exec chroot "$root" env -i PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin HOME=/root LANG=C.UTF-8 \
      CCACHE_DIR=/ccache OMPI_MCA_btl=self,sm TORCH_CUDA_ARCH_LIST=9.0 "$@"' \
    enter "$root" "$PWD" nice -n 10 "$@"
}

# libtorch_cuda wants cuDNN by name. Nothing here calls it: functions that end the program do.
stub_cudnn() {
  enter bash -euc '
    [ ! -e /usr/local/lib/libcudnn.so.9 ] || exit 0
    names=$(nm -D --undefined-only /usr/lib/*/libtorch_cuda.so | sed -n "s/.* U \(cudnn[^@]*\).*/\1/p")
    printf "void %s(void) { __builtin_trap(); }\n" $names > /tmp/cudnn.c
    echo "libcudnn.so.9 { global: *; };" > /tmp/cudnn.map
    gcc -shared -fPIC -w -Wl,-soname,libcudnn.so.9 -Wl,--version-script=/tmp/cudnn.map \
      -o /usr/local/lib/libcudnn.so.9 /tmp/cudnn.c
    ldconfig'
}

build() { # TARGETS... (none: all)
  # Newer compilers warn of other things, some of them inside of library headers: not an error here.
  local options=(-DCMAKE_BUILD_TYPE=Release -DPG_WERROR=OFF) targets=() log=$root.build.log
  [ "$tree" != sid ] || options+=("-DCMAKE_CXX_FLAGS_RELEASE=-O1 -DNDEBUG")  # nothing runs there
  [ "$tree" != trixie-cuda ] || options+=(-DPG_CUDA=ON -DPG_NCCL=ON)
  [ $# -eq 0 ] || targets=(--target "$@")
  enter cmake -S /src -B /build -G Ninja "${options[@]}" > "$log" 2>&1 ||
    { cat "$log" >&2; fail 1 "CMake does not configure"; }
  if ! enter cmake --build /build -j "${PG_JOBS:-$(nproc)}" "${targets[@]}" -- -k 0 > "$log" 2>&1; then
    grep -E -A 3 'error: |undefined reference|^FAILED:' "$log" >&2 || tail -n 20 "$log" >&2
    fail 1 "the build failed (all of it: $log)"
  fi
  echo "built; $(grep -c 'warning:' "$log" || true) warnings in $log"
}

# Without a device the program must say so, and what to do, before it computes.
start_without_device() { # RANKS
  local code=0 output
  output=$(enter bash -c 'cd /src && . scripts/environment.sh
    mpirun --oversubscribe -n "$1" /build/bin/pgmpi --grid --quick --device cuda --run-dir /tmp/run 2>&1' \
    start "$1") || code=$?
  echo "$output"
  [ "$code" -eq 64 ] || fail 1 "pgmpi --device cuda on $1 ranks ended with $code, not with 64"
  grep -q "no CUDA device" <<< "$output" || fail 1 "pgmpi --device cuda does not say what is missing"
}

if [ -d "$root" ]; then
  say "the tree $root is there"
else
  say "making the tree $root"
  make_tree
fi

case "$tree" in
  trixie)
    say "build"
    build
    say "test"
    enter ctest --test-dir /build --output-on-failure -j 2 -E '^slurm$' || fail 1 "a test failed"
    ;;
  sid)
    say "build"
    build
    ;;
  trixie-cuda)
    stub_cudnn
    say "build"
    build pgmpi test_gpu test_gpu_ops test_gpu_memory test_cuda_on_host test_nccl_exchange bench_gpu \
      bench_gpu_ops
    if [ -e /dev/nvidia0 ]; then
      say "there is a device here: pgmpi is not started to fail without one"
    else
      say "start without a device"
      start_without_device 1
      start_without_device 2
    fi
    say "test"
    enter ctest --test-dir /build --output-on-failure -L gpu || fail 1 "a test failed"
    enter ctest --test-dir /build --output-on-failure -R '^cuda_on_host$' || fail 1 "a test failed"
    ;;
esac
say "done"
