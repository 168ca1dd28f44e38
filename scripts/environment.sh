# shellcheck shell=bash
# Sourced by the scripts: what mpirun needs to know on one machine.
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1   # one thread a rank
export OMPI_MCA_mpi_yield_when_idle=1             # ranks may outnumber cores
export OMPI_MCA_hwloc_base_binding_policy=none
if [ "$(id -u)" -eq 0 ]; then                     # containers are root; Open MPI asks for consent
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi
