# add_pg_test(NAME name SOURCES a.cpp … LIBS … [RANKS n …] COST fast|slow [LABELS …] [TIMEOUT s]
#             [WITHOUT_TORCH])
# A Boost.Test program; with RANKS it runs under mpirun, once per rank count (tests name_r1, name_r2),
# more ranks than cores allowed. WITHOUT_TORCH: no precompiled headers of ATen, because it includes nothing
# of it or has compiler flags of its own.
function(add_pg_test)
  cmake_parse_arguments(arg "WITHOUT_TORCH" "NAME;COST;TIMEOUT" "SOURCES;LIBS;LABELS;RANKS" ${ARGN})
  if(NOT arg_COST MATCHES "^(fast|slow)$")
    message(FATAL_ERROR "add_pg_test(${arg_NAME}): COST must be fast or slow")
  endif()
  if(NOT arg_TIMEOUT)
    if(arg_COST STREQUAL "fast")
      set(arg_TIMEOUT 120)
    else()
      set(arg_TIMEOUT 900)
    endif()
  endif()
  set(target test_${arg_NAME})
  add_executable(${target} ${arg_SOURCES})
  target_compile_definitions(${target} PRIVATE BOOST_TEST_DYN_LINK
    PG_SOURCE_DIR="${CMAKE_SOURCE_DIR}" PG_BINARY_DIR="${CMAKE_BINARY_DIR}")
  target_include_directories(${target} PRIVATE ${CMAKE_SOURCE_DIR}/tests)
  target_link_libraries(${target} PRIVATE pg_options ${arg_LIBS} Boost::unit_test_framework)
  set_target_properties(${target} PROPERTIES
    RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  if(NOT arg_WITHOUT_TORCH)
    pg_use_torch_headers(${target} ${arg_LIBS})
  endif()
  foreach(ranks IN LISTS arg_RANKS)
    add_test(NAME ${arg_NAME}_r${ranks}
      COMMAND mpirun --oversubscribe -n ${ranks} $<TARGET_FILE:${target}>)
    pg_test_properties(${arg_NAME}_r${ranks} ${ranks} ${arg_COST} ${arg_TIMEOUT} "${arg_LABELS}")
  endforeach()
  if(NOT arg_RANKS)
    add_test(NAME ${arg_NAME} COMMAND ${target})
    pg_test_properties(${arg_NAME} "" ${arg_COST} ${arg_TIMEOUT} "${arg_LABELS}")
  endif()
endfunction()

# add_pg_script_test(NAME name COMMAND … [RANKS n] COST fast|slow [LABELS …] [TIMEOUT s]):
# the same rules for a test that is a script; RANKS only tells CTest how many processors it takes.
# A script that ends with 77 was skipped, and its output says why.
function(add_pg_script_test)
  cmake_parse_arguments(arg "" "NAME;RANKS;COST;TIMEOUT" "COMMAND;LABELS" ${ARGN})
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 600)
  endif()
  add_test(NAME ${arg_NAME} COMMAND ${arg_COMMAND})
  pg_test_properties(${arg_NAME} "${arg_RANKS}" ${arg_COST} ${arg_TIMEOUT} "${arg_LABELS}")
  set_tests_properties(${arg_NAME} PROPERTIES SKIP_RETURN_CODE 77)
endfunction()

function(pg_test_properties name ranks cost timeout labels)
  set_tests_properties(${name} PROPERTIES
    TIMEOUT ${timeout}
    LABELS "${cost};${labels}"
    ENVIRONMENT "OMPI_MCA_mpi_yield_when_idle=1;OMPI_MCA_hwloc_base_binding_policy=none;OMPI_ALLOW_RUN_AS_ROOT=1;OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1;OMP_NUM_THREADS=1;OPENBLAS_NUM_THREADS=1;PG_BIN=${CMAKE_BINARY_DIR}/bin")
  if(ranks)
    set_tests_properties(${name} PROPERTIES PROCESSORS 2)
  endif()
  if(ranks AND PG_SANITIZE)  # Open MPI leaks at its end, from plug-ins that are no longer loaded
    set_property(TEST ${name} APPEND PROPERTY ENVIRONMENT "ASAN_OPTIONS=detect_leaks=0")
  endif()
endfunction()
