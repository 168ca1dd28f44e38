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
  # Beside the library first: a downloaded LibTorch has headers of another oneDNN.
  find_library(DNNL_LIBRARY dnnl REQUIRED)
  cmake_path(GET DNNL_LIBRARY PARENT_PATH dnnl_folder)
  find_path(DNNL_INCLUDE_DIR oneapi/dnnl/dnnl.h NO_DEFAULT_PATH
    PATHS ${dnnl_folder}/../include ${dnnl_folder}/../../include)
  find_path(DNNL_INCLUDE_DIR oneapi/dnnl/dnnl.h REQUIRED)
  add_library(pg_dnnl INTERFACE IMPORTED)
  target_include_directories(pg_dnnl SYSTEM INTERFACE ${DNNL_INCLUDE_DIR})
  target_link_libraries(pg_dnnl INTERFACE ${DNNL_LIBRARY})
  # And the oneDNN itself, some of whose functions both libraries export by one name: the one that is
  # loaded second calls the first one's, finds none of its kernels and refuses many products. So ours
  # goes to the front of what is linked (tests/app/link_order.sh).
  set(pg_dnnl_first "LINKER:--no-as-needed,${DNNL_LIBRARY},--as-needed")
  # And headers of another fmt. Those of the libraries that are linked here come before all of them:
  # by a link to each folder, because /usr/include must not come before the compiler's own.
  set(linked_headers ${PROJECT_BINARY_DIR}/linked_headers)
  get_target_property(fmt_folders fmt::fmt INTERFACE_INCLUDE_DIRECTORIES)
  find_path(FMT_INCLUDE_DIR fmt/format.h NO_DEFAULT_PATH PATHS ${fmt_folders} REQUIRED)
  file(MAKE_DIRECTORY ${linked_headers})
  file(CREATE_LINK ${FMT_INCLUDE_DIR}/fmt ${linked_headers}/fmt SYMBOLIC)
  file(CREATE_LINK ${DNNL_INCLUDE_DIR}/oneapi ${linked_headers}/oneapi SYMBOLIC)
  include_directories(BEFORE SYSTEM ${linked_headers})
  find_package(hwy REQUIRED)
  find_package(OpenMP REQUIRED COMPONENTS CXX)
endif()

if(PG_CUDA)
  if(NOT TARGET torch_cuda)
    message(FATAL_ERROR "PG_CUDA is on, but there is no LibTorch with CUDA. "
      "Debian: libtorch-cuda-dev; elsewhere: CMAKE_PREFIX_PATH to one, and PG_TORCH=ON.")
  endif()
  enable_language(CUDA)  # nvcc; LibTorch's CMake files chose its architectures (TORCH_CUDA_ARCH_LIST)
  set(CMAKE_CUDA_STANDARD 20)
  set(CMAKE_CUDA_STANDARD_REQUIRED ON)
  find_package(CUDAToolkit REQUIRED)
  # The C++ compiler links, with its own library and not with that of nvcc's compiler, which may be
  # another one; and CUDA's runtime is LibTorch's, or two would not agree on the current GPU.
  set(CMAKE_CUDA_IMPLICIT_LINK_DIRECTORIES "")
  set(CMAKE_CUDA_IMPLICIT_LINK_LIBRARIES "")
  set(CMAKE_CUDA_RUNTIME_LIBRARY None)
endif()

if(PG_NCCL)
  if(NOT TARGET torch_cuda)
    message(FATAL_ERROR "PG_NCCL is on, but there is no LibTorch with CUDA. "
      "Debian: libtorch-cuda-dev; elsewhere: CMAKE_PREFIX_PATH to one, and PG_TORCH=ON.")
  endif()
  find_path(NCCL_INCLUDE_DIR nccl.h HINTS ${NCCL_ROOT} ENV NCCL_ROOT PATH_SUFFIXES include)
  find_library(NCCL_LIBRARY nccl HINTS ${NCCL_ROOT} ENV NCCL_ROOT PATH_SUFFIXES lib lib64)
  if(NOT NCCL_INCLUDE_DIR OR NOT NCCL_LIBRARY)
    message(FATAL_ERROR "PG_NCCL is on, but nccl.h and libnccl were not found. "
      "Debian: libnccl-dev; elsewhere: load the module and set NCCL_ROOT.")
  endif()
  add_library(pg_nccl_library INTERFACE IMPORTED)
  target_include_directories(pg_nccl_library SYSTEM INTERFACE ${NCCL_INCLUDE_DIR})
  target_link_libraries(pg_nccl_library INTERFACE ${NCCL_LIBRARY})
endif()
