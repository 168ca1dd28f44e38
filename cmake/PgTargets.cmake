# Warnings, sanitizers and the one way to declare a folder of sources as a library.
add_library(pg_options INTERFACE)
set(pg_warnings
  -Wall -Wextra -Wshadow -Wnon-virtual-dtor -Wold-style-cast -Woverloaded-virtual -Wcast-align
  -Wnull-dereference -Wimplicit-fallthrough
  -Wno-restrict  # GCC 12 warns of std::string's own operator+ (bug 105651)
  $<$<BOOL:${PG_WERROR}>:-Werror>)
target_compile_options(pg_options INTERFACE
  "$<$<COMPILE_LANGUAGE:CXX>:${pg_warnings}>"
  "$<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-Wall;$<$<BOOL:${PG_WERROR}>:-Werror=all-warnings>>")
if(PG_SANITIZE)
  target_compile_options(pg_options INTERFACE -fsanitize=address,undefined
    -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
  target_link_options(pg_options INTERFACE -fsanitize=address,undefined)
endif()

# ATen's headers, which take a compiler most of its time, precompiled once: in a target of nothing else,
# so that nobody waits for another's files.
if(PG_TORCH)
  file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/torch_headers.cpp CONTENT "")
  add_library(pg_torch_headers OBJECT ${PROJECT_BINARY_DIR}/torch_headers.cpp)
  target_link_libraries(pg_torch_headers PRIVATE pg_options torch)
  target_precompile_headers(pg_torch_headers PRIVATE <ATen/ATen.h>)
endif()

# pg_use_torch_headers(target lib …): the target takes them if a lib that it links stands on ATen. For
# targets without compiler flags of their own.
function(pg_use_torch_headers target)
  if(ARGN MATCHES "pg_(ops|model|shard|ledger|train|study)")
    target_precompile_headers(${target} REUSE_FROM pg_torch_headers)
  endif()
endfunction()

# pg_library(NAME SOURCES a.cpp … [WITHOUT_TORCH b.cpp …] LIBS …): a static library whose headers are
# included by their path from src/ (or from the root for postprocess/). LIBS are the layers below; CMake
# refuses cycles. WITHOUT_TORCH: sources that include nothing of ATen, which its precompiled headers
# would only make slower to compile.
function(pg_library name)
  cmake_parse_arguments(arg "" "" "SOURCES;WITHOUT_TORCH;LIBS" ${ARGN})
  add_library(${name} STATIC ${arg_SOURCES} ${arg_WITHOUT_TORCH})
  set_source_files_properties(${arg_WITHOUT_TORCH} PROPERTIES SKIP_PRECOMPILE_HEADERS ON)
  target_include_directories(${name} PUBLIC ${CMAKE_SOURCE_DIR}/src)
  target_link_libraries(${name} PRIVATE pg_options PUBLIC ${arg_LIBS})
  pg_use_torch_headers(${name} ${arg_LIBS})
endfunction()
