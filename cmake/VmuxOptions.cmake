# SPDX-License-Identifier: BSD-3-Clause
# Compiler, warnings, sanitizers: the same for every target.
set(VMUX_SANITIZE "" CACHE STRING "Value of -fsanitize= for everything, empty for none")
option(VMUX_FUZZ "Build the libFuzzer targets (clang only)" OFF)
option(VMUX_TESTS "Build the tests" ON)
option(VMUX_LIBRARY_ONLY "Build libvmux, libvfio-user and the Python package, and nothing that NICs, DPDK or a daemon need" OFF)
option(VMUX_PYTHON "Build the Python package" ON)
option(VMUX_EACH_FILE_ALONE "Compile no files together: for tools that read compile_commands.json" OFF)

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib)
set(CMAKE_ARCHIVE_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib)

find_program(VMUX_CCACHE ccache)
if(VMUX_CCACHE)
  # What a file includes is taken from the compiler (depend mode), so that a miss costs one run of it and not two. The
  # sloppiness is what ccache wants for precompiled headers; nothing here uses __TIME__ or __DATE__.
  set(CMAKE_CXX_COMPILER_LAUNCHER env CCACHE_DEPEND=1 CCACHE_SLOPPINESS=pch_defines,time_macros ${VMUX_CCACHE})
endif()

# Designated initializers leave the rest to defaults on purpose.
add_compile_options(-Wall -Wextra -Wconversion -Wshadow -Werror -Wno-missing-field-initializers -fno-omit-frame-pointer)
set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O2 -g1 -DNDEBUG")
add_link_options(-Wl,-z,relro,-z,now)
if(VMUX_SANITIZE)
  set(CMAKE_CXX_FLAGS_DEBUG "-g1")  # lines for a report's stack; for a debugger there is the debug preset
  add_compile_options(-fsanitize=${VMUX_SANITIZE} -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${VMUX_SANITIZE})
endif()
if(VMUX_SANITIZE MATCHES "thread" AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  add_compile_options(-Wno-tsan)  # fences towards guests: no thread of ours is on the other side
endif()
if(VMUX_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
if(NOT VMUX_LIBRARY_ONLY)
  pkg_check_modules(PCAP REQUIRED IMPORTED_TARGET libpcap)  # compiles filters for vmuxctl; a second reading of them in tests
endif()
