# Every library that the project uses is found here, and nowhere else. On Debian,
# scripts/setup.sh installs them; on a cluster, load the modules and point CMAKE_PREFIX_PATH at them.
set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)
find_package(MPI REQUIRED COMPONENTS CXX)
set(HDF5_PREFER_PARALLEL TRUE)
find_package(HDF5 REQUIRED COMPONENTS C)
if(NOT HDF5_IS_PARALLEL)
  message(FATAL_ERROR "HDF5 was found, but without MPI support. "
    "Debian: libhdf5-openmpi-dev; elsewhere: load the parallel HDF5 module and set HDF5_ROOT.")
endif()
find_package(OpenSSL REQUIRED COMPONENTS Crypto)
find_path(XXHASH_INCLUDE_DIR xxhash.h REQUIRED)
find_library(XXHASH_LIBRARY xxhash REQUIRED)
add_library(pg_xxhash INTERFACE IMPORTED)
target_include_directories(pg_xxhash SYSTEM INTERFACE ${XXHASH_INCLUDE_DIR})
target_link_libraries(pg_xxhash INTERFACE ${XXHASH_LIBRARY})
find_package(fmt REQUIRED)
find_package(yaml-cpp REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(CLI11 REQUIRED)
find_package(Boost 1.74 REQUIRED COMPONENTS unit_test_framework)  # also the header-only Boost.Math

if(PG_TORCH)
  find_package(Torch REQUIRED)
  # Not find_package(dnnl): Debian's config file insists on OpenCL headers that nothing here uses.
  find_path(DNNL_INCLUDE_DIR oneapi/dnnl/dnnl.h REQUIRED)
  find_library(DNNL_LIBRARY dnnl REQUIRED)
  add_library(pg_dnnl INTERFACE IMPORTED)
  target_include_directories(pg_dnnl SYSTEM INTERFACE ${DNNL_INCLUDE_DIR})
  target_link_libraries(pg_dnnl INTERFACE ${DNNL_LIBRARY})
  find_package(hwy REQUIRED)
  find_package(OpenMP REQUIRED COMPONENTS CXX)
endif()
