# SPDX-License-Identifier: BSD-3-Clause
# vmux_room(NAME [SDK] SOURCES file... [LIBS target...])
#   A folder of src/ as the target vmux_NAME (an object library). SDK: its objects become part of libvmux.
#   A room without SOURCES is header-only. LIBS are rooms (vmux_x) or outside libraries.
#
# vmux_together(TARGET file...)
#   These of its sources are compiled as one: for files that are quick themselves and include what takes seconds (JSON, the
#   command line). Names of their unnamed namespaces must differ, and no other target of the folder may have one of them. A target may have several such groups.
#
# vmux_test(NAME [NIGHTLY] SOURCES file... [APART file...] [LIBS target...] [LABELS label] [PREFIX text])
#   A GoogleTest executable, each TEST a ctest entry, labelled `unit` unless LABELS says otherwise. `threads` marks what the ThreadSanitizer run repeats.
#   SOURCES are compiled five at a time, as by vmux_together; those APART, whose names others use too, alone. PREFIX stands before the names of its
#   tests in ctest, where another executable has tests of the same names. NIGHTLY: `make test` runs it without sanitizers, `make test-all` with
#   them too. For tests of code that hears its operator and the kernel and no guest or client, or whose ground a fuzz target covers.
#
# vmux_fuzzer(NAME SOURCES file... [LIBS target...])
#   A libFuzzer target in bin/fuzz/, built with VMUX_FUZZ only. Seeds: tests/fuzz/corpus/NAME/.
#
# vmux_seeds_test(FUZZER SOURCES file... [LIBS target...])
#   The test FUZZER_seeds, of any build: a target's seeds with what tests/fuzz/steps.hpp has checked after each step.
include(GoogleTest)
if(VMUX_TESTS)
  find_package(GTest REQUIRED)
  add_custom_target(vmux-tests)         # every test and fuzz target, and no program
  add_custom_target(vmux-thread-tests)  # those that ThreadSanitizer repeats
  add_custom_target(vmux-brief-tests)   # of either, those that are not NIGHTLY
  add_custom_target(vmux-brief-thread-tests)
endif()
include(VmuxHeaders)

# No frame passes through these rooms, and they are full of JSON and of command lines, which compile for minutes when they are optimised for
# speed. The fuzz build does not optimise them at all, nor any test: nobody waits for their execution, but everybody for the compilation.
set(VMUX_UNHURRIED control control_client host app_console app_vmux app_vmuxctl app_vfio_run)
set(VMUX_FUZZ_UNOPTIMISED ${VMUX_UNHURRIED} host_fake passthrough preload)

function(vmux_room name)
  cmake_parse_arguments(ARG "SDK" "" "SOURCES;LIBS" ${ARGN})
  if(ARG_SOURCES)
    add_library(vmux_${name} OBJECT ${ARG_SOURCES})
    set(scope PUBLIC)
    set_property(GLOBAL APPEND PROPERTY VMUX_ROOMS vmux_${name})
    # Object libraries do not pass their objects on through other libraries, so link closures are resolved by hand.
    set_property(TARGET vmux_${name} PROPERTY VMUX_OBJECTS $<TARGET_OBJECTS:vmux_${name}>)
  else()
    add_library(vmux_${name} INTERFACE)
    set(scope INTERFACE)
  endif()
  if(ARG_SOURCES AND VMUX_FUZZ AND NOT name IN_LIST VMUX_FUZZ_UNOPTIMISED)
    target_compile_options(vmux_${name} PRIVATE -O1)
    vmux_precompile(vmux_${name} vmux-headers-fuzzed)
  elseif(ARG_SOURCES AND CMAKE_BUILD_TYPE STREQUAL "RelWithDebInfo" AND name IN_LIST VMUX_UNHURRIED)
    target_compile_options(vmux_${name} PRIVATE -O1)
    vmux_precompile(vmux_${name} vmux-headers-unhurried)
  elseif(ARG_SOURCES)
    vmux_precompile(vmux_${name} vmux-headers)
  endif()
  target_include_directories(vmux_${name} ${scope} $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
                             $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/src>)
  target_link_libraries(vmux_${name} ${scope} ${ARG_LIBS} Threads::Threads)
  set_property(TARGET vmux_${name} PROPERTY VMUX_LIBS "${ARG_LIBS}")
  if(ARG_SDK AND ARG_SOURCES)
    set_property(GLOBAL APPEND PROPERTY VMUX_SDK_ROOMS vmux_${name})
  endif()
endfunction()

# All rooms that `start` rests on, itself included.
function(vmux_closure out)
  set(todo ${ARGN})
  set(seen)
  while(todo)
    list(POP_FRONT todo room)
    if(NOT room IN_LIST seen AND room MATCHES "^vmux_" AND TARGET ${room})
      list(APPEND seen ${room})
      get_target_property(libs ${room} VMUX_LIBS)
      if(libs)
        list(APPEND todo ${libs})
      endif()
    endif()
  endwhile()
  set(${out} ${seen} PARENT_SCOPE)
endfunction()

# Links an executable (or library) with rooms and everything they rest on.
function(vmux_link target)
  vmux_closure(rooms ${ARGN})
  target_link_libraries(${target} PRIVATE ${rooms})
  foreach(lib IN LISTS ARGN)
    if(NOT lib IN_LIST rooms)
      target_link_libraries(${target} PRIVATE ${lib})
    endif()
  endforeach()
endfunction()

function(vmux_together target)
  if(VMUX_EACH_FILE_ALONE)
    return()
  endif()
  list(GET ARGN 0 first)
  list(TRANSFORM ARGN REPLACE "(.+)" "#include \"${CMAKE_CURRENT_SOURCE_DIR}/\\1\"\n" OUTPUT_VARIABLE lines)
  list(JOIN lines "" content)
  get_filename_component(name ${first} NAME)
  set(source ${CMAKE_CURRENT_BINARY_DIR}/${target}_from_${name})
  file(CONFIGURE OUTPUT ${source} CONTENT "${content}" @ONLY)
  set_source_files_properties(${ARGN} PROPERTIES HEADER_FILE_ONLY ON)
  target_sources(${target} PRIVATE ${source})
endfunction()

function(vmux_test name)
  if(NOT VMUX_TESTS)
    return()
  endif()
  cmake_parse_arguments(ARG "NIGHTLY" "PREFIX" "SOURCES;APART;LIBS;LABELS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES} ${ARG_APART})
  if(NOT VMUX_EACH_FILE_ALONE)
    set_target_properties(${name} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 5)
    set_source_files_properties(${ARG_APART} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
  endif()
  # Compiled about as often as run: optimising a test takes longer than it saves.
  target_compile_options(${name} PRIVATE -O0)
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  vmux_precompile(${name} vmux-headers-tests)
  vmux_link(${name} ${ARG_LIBS} GTest::gmock GTest::gtest_main)
  # One label only: gtest_discover_tests flattens a list of them, and ctest then reads the second as something else.
  set(label unit)
  if(ARG_LABELS)
    list(GET ARG_LABELS 0 label)
  endif()
  gtest_discover_tests(${name} TEST_PREFIX "${ARG_PREFIX}" DISCOVERY_TIMEOUT 600 PROPERTIES TIMEOUT 120 LABELS ${label})
  set(sets vmux-tests)
  if("threads" IN_LIST ARG_LABELS)
    list(APPEND sets vmux-thread-tests)
  endif()
  if(NOT ARG_NIGHTLY)
    list(TRANSFORM sets REPLACE "^vmux-" "vmux-brief-" OUTPUT_VARIABLE brief)
    list(APPEND sets ${brief})
  endif()
  foreach(set IN LISTS sets)
    add_dependencies(${set} ${name})
  endforeach()
endfunction()

function(vmux_seeds_test name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LIBS" ${ARGN})
  vmux_test(${name}_seeds NIGHTLY SOURCES ${PROJECT_SOURCE_DIR}/tests/fuzz/seeds_test.cpp APART ${ARG_SOURCES} LIBS ${ARG_LIBS} PREFIX ${name}.)
  if(VMUX_TESTS)
    target_compile_definitions(${name}_seeds PRIVATE VMUX_SEEDS="${PROJECT_SOURCE_DIR}/tests/fuzz/corpus/${name}")
  endif()
endfunction()

function(vmux_fuzzer name)
  if(NOT VMUX_FUZZ)
    return()
  endif()
  cmake_parse_arguments(ARG "" "" "SOURCES;LIBS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests)
  target_compile_options(${name} PRIVATE -O1)
  target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin/fuzz)
  vmux_link(${name} ${ARG_LIBS})
  if(VMUX_TESTS)
    add_dependencies(vmux-tests ${name})
    add_dependencies(vmux-brief-tests ${name})
  endif()
endfunction()
