#!/usr/bin/env bash
# A real Slurm of four nodes on this machine, for as long as a command runs:
#   tests/slurm/mini_cluster.sh COMMAND…        (for a look around: tests/slurm/mini_cluster.sh bash)
# Each node claims 64 processors and 8 GPUs that it does not have. Everything, the command too, lives
# in a process namespace of its own: its end is the daemons' end, however it comes. Nothing outside
# the folder $PG_CLUSTER is written; the daemons listen on 127.0.0.1 only.
# Exit codes: the command's, or 77 where no such cluster can be: the reason is printed.
set -uo pipefail
PATH=$PATH:/usr/sbin:/sbin
skip() { echo "SKIPPED: $*"; exit 77; }

if [ "${1:-}" != --inside ]; then
  [ $# -gt 0 ] || { echo "mini_cluster.sh: expected a command" >&2; exit 64; }
  for program in munged slurmctld slurmd sbatch unshare; do
    command -v "$program" > /dev/null || skip "no $program here (scripts/setup.sh --tests)"
  done
  [ "$(id -u)" -eq 0 ] || skip "a cluster on one machine needs root"
  apart=(unshare --pid --fork --kill-child --mount --uts --mount-proc)
  "${apart[@]}" true 2> /dev/null || skip "the kernel refuses new namespaces"
  exec "${apart[@]}" "$0" --inside "$@"
fi

# From here on this is process 1 of the namespace.
[ $$ -eq 1 ] || { echo "mini_cluster.sh: --inside is for its own use" >&2; exit 64; }
shift
nodes=4
PG_CLUSTER=$(mktemp -d "${TMPDIR:-/tmp}/pgmpi-slurm-XXXXXX")
export PG_CLUSTER SLURM_CONF=$PG_CLUSTER/slurm.conf
port=$((20000 + RANDOM % 10000))
cd "$PG_CLUSTER" || exit 74
chmod 755 .  # munged's clients pass through
mkdir munge state log gpus
(umask 077 && head -c 1024 /dev/urandom > munge/key)
{ cat /etc/hosts; echo "127.0.0.1 head"; for n in $(seq $nodes); do echo "127.0.0.1 n$n"; done; } > hosts
mount --bind hosts /etc/hosts && hostname head || exit 74
for gpu in {0..7}; do ln -s /dev/null "gpus/gpu$gpu"; done
echo "NodeName=n[1-$nodes] Name=gpu File=$PG_CLUSTER/gpus/gpu[0-7]" > gres.conf
cat > slurm.conf << CONF
ClusterName=mini
SlurmctldHost=head(127.0.0.1)
SlurmctldPort=$port
SlurmUser=root
SlurmdUser=root
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
AuthType=auth/munge
# A requeued job waits until its credential has expired: 5 s instead of two minutes.
AuthInfo=socket=$PG_CLUSTER/munge/socket,cred_expire=5
StateSaveLocation=$PG_CLUSTER/state
SlurmdSpoolDir=$PG_CLUSTER/spool.%n
TmpFS=$PG_CLUSTER/tmp.%n
SlurmctldPidFile=$PG_CLUSTER/slurmctld.pid
SlurmdPidFile=$PG_CLUSTER/slurmd.%n.pid
SlurmctldLogFile=$PG_CLUSTER/log/slurmctld
SlurmdLogFile=$PG_CLUSTER/log/slurmd.%n
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
PropagateResourceLimits=NONE
ReturnToService=2
MinJobAge=3600
EnforcePartLimits=ALL
KillWait=10
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
GresTypes=gpu
NodeName=n[1-$nodes] NodeAddr=127.0.0.1 Port=$((port + 1))-$((port + nodes)) CPUs=64 RealMemory=65536 Gres=gpu:8
PartitionName=normal Nodes=ALL Default=YES PriorityTier=10 GraceTime=20
# Who is preempted here has KillWait, and no time before.
PartitionName=abrupt Nodes=ALL PriorityTier=10
PartitionName=urgent Nodes=ALL PriorityTier=100 PreemptMode=OFF
CONF

daemons=()
start() {  # start NAME COMMAND…: a daemon in the foreground of its own log
  local name=$1
  shift
  setsid "$@" > "log/$name.out" 2>&1 < /dev/null &
  daemons+=($!)
}
stop_all() {
  kill -KILL "${daemons[@]}" 2> /dev/null
  wait "${daemons[@]}" 2> /dev/null
  rm -rf "$PG_CLUSTER"
}
trap stop_all EXIT

start munged munged --foreground --socket=munge/socket --key-file=munge/key --pid-file=munge/pid \
  --log-file=munge/log --seed-file=munge/seed
for _ in $(seq 100); do [ -S munge/socket ] && break; sleep 0.05; done
start slurmctld slurmctld -D
for n in $(seq $nodes); do
  mkdir -m 1777 "tmp.n$n"  # where the node's PMIx server meets its ranks
  # Its own name and its own /dev/shm, where Open MPI keeps what ranks of one node share.
  # shellcheck disable=SC2016
  start "slurmd.n$n" unshare --uts --mount sh -c \
    'hostname "$1" && mount -t tmpfs shm /dev/shm && exec slurmd -D -N "$1"' sh "n$n"
done
idle() { timeout 10 sinfo -h -N -p normal -o %T 2> /dev/null | grep -c '^idle$'; }
for _ in $(seq 300); do [ "$(idle)" -eq $nodes ] && break; sleep 0.1; done
if [ "$(idle)" -ne $nodes ]; then
  tail -n 20 log/* munge/log
  skip "Slurm does not start here (its words are above)"
fi
cd "$OLDPWD" || exit 74
"$@"
