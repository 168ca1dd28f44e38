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

# pg_library(NAME SOURCES a.cpp … LIBS …): a static library whose headers are included by their path
# from src/ (or from the root for postprocess/). LIBS are the layers below; CMake refuses cycles.
function(pg_library name)
  cmake_parse_arguments(arg "" "" "SOURCES;LIBS" ${ARGN})
  add_library(${name} STATIC ${arg_SOURCES})
  target_include_directories(${name} PUBLIC ${CMAKE_SOURCE_DIR}/src)
  target_link_libraries(${name} PRIVATE pg_options PUBLIC ${arg_LIBS})
endfunction()
