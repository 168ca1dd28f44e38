# shellcheck shell=bash disable=SC2034
# What this site needs; the one file to edit. Sourced by submit.sh, before sbatch, and by every job.
# A copy elsewhere is used instead if PG_SITE names it.

# sbatch reads these: they stand above the #SBATCH lines of a script, below sbatch's command line.
# export SBATCH_ACCOUNT=my_project
# export SBATCH_PARTITION=batch
# export SBATCH_QOS=normal
# export SBATCH_CONSTRAINT=h100

# Where the programs are, and what starts them: srun (--mpi=pmix) or mpirun.
: "${PG_BIN:=$PG_HOME/build/release/bin}"
: "${PG_LAUNCHER:=srun}"

# Stands before the program on each node.
PG_CONTAINER=()
# PG_CONTAINER=(apptainer exec --nv /path/to/pgmpi.sif)

# Runs at the start of a job, on its first node.
site_environment() {
  # module load gcc openmpi hdf5-parallel
  # export OMPI_MCA_osc=^ucx  # Debian's Open MPI without a fast network: else "MPI_Win_allocate failed"
  :
}
