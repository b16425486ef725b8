# SPDX-License-Identifier: BSD-3-Clause
# Headers of others that most files include are compiled once for all of them: they are half of the work otherwise. Ours
# are not among them, so a change of one rebuilds what includes it and no more. Each file still includes what it uses:
# scripts/lint reads all of them without this (-D CMAKE_DISABLE_PRECOMPILE_HEADERS=ON).
set(VMUX_STANDARD_HEADERS <algorithm> <array> <atomic> <bit> <charconv> <cstdint> <cstring> <functional> <map> <memory>
    <optional> <span> <string> <string_view> <utility> <vector>)

# A set of headers for targets that are compiled with the same options: LIBS bring the headers.
function(vmux_headers name)
  cmake_parse_arguments(ARG "" "" "HEADERS;OPTIONS;LIBS" ${ARGN})
  set(source ${PROJECT_BINARY_DIR}/headers/${name}.cpp)  # a target needs one
  file(CONFIGURE OUTPUT ${source} CONTENT "")
  add_library(${name} OBJECT EXCLUDE_FROM_ALL ${source})
  target_precompile_headers(${name} PRIVATE ${ARG_HEADERS})
  target_compile_options(${name} PRIVATE ${ARG_OPTIONS})
  if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    target_compile_options(${name} PRIVATE "SHELL:-Xclang -fno-pch-timestamp")  # what ccache hands out is of another time
  endif()
  target_link_libraries(${name} PRIVATE Threads::Threads ${ARG_LIBS})
endfunction()

vmux_headers(vmux-headers HEADERS ${VMUX_STANDARD_HEADERS})
vmux_headers(vmux-headers-unhurried HEADERS ${VMUX_STANDARD_HEADERS} OPTIONS -O1)
if(VMUX_FUZZ)
  vmux_headers(vmux-headers-fuzzed HEADERS ${VMUX_STANDARD_HEADERS} OPTIONS -O1)
endif()
if(VMUX_TESTS)
  vmux_headers(vmux-headers-tests HEADERS ${VMUX_STANDARD_HEADERS} <filesystem> <fstream> <thread> <gmock/gmock.h> <gtest/gtest.h>
               OPTIONS -O0 -fPIE LIBS GTest::gmock)
endif()

function(vmux_precompile target name)
  target_precompile_headers(${target} REUSE_FROM ${name})
endfunction()
