# SPDX-License-Identifier: BSD-3-Clause
# vmux_room(NAME [SDK] SOURCES file... [LIBS target...])
#   A folder of src/ as the target vmux_NAME (an object library). SDK: its objects become part of libvmux.
#   A room without SOURCES is header-only. LIBS are rooms (vmux_x) or outside libraries.
#
# vmux_together(TARGET file...)
#   These of its sources are compiled as one: for files that are quick themselves and include what takes seconds (JSON, the
#   command line). Names of their unnamed namespaces must differ, and no other target of the folder may have one of them. A target may have several such groups.
#
# vmux_test(NAME [PLAIN] SOURCES file... [APART file...] [LIBS target...] [LABELS label] [PREFIX text])
#   A GoogleTest executable, each TEST a ctest entry. `make test` runs each once: with sanitizers (ctest's label `sanitized`), or without if it is
#   PLAIN (label `plain`), which is for tests of code that hears its operator and the kernel and no guest or client, or whose ground a fuzz target
#   covers. `make test-all` runs all of them both ways. With LABELS threads the run with ThreadSanitizer repeats it (`threads`, `plain-threads`).
#   SOURCES are compiled five at a time, as by vmux_together; those APART, whose names others use too, alone. PREFIX stands before the names of its
#   tests in ctest, where another executable has tests of the same names. Not part of the target `all`, as nobody who builds vMux to use it wants it.
#
# vmux_fuzzer(NAME SOURCES file... [LIBS target...])
#   A libFuzzer target in bin/fuzz/, built with VMUX_FUZZ only. Seeds: tests/fuzz/corpus/NAME/.
#
# vmux_seeds_test(FUZZER SOURCES file... [LIBS target...])
#   The test FUZZER_seeds, of any build: a target's seeds with what tests/fuzz/steps.hpp has checked after each step.
include(GoogleTest)
if(VMUX_TESTS)
  find_package(GTest REQUIRED)
  add_custom_target(vmux-tests)         # every test and fuzz target, and what they run
  add_custom_target(vmux-thread-tests)  # those that ThreadSanitizer repeats
  add_custom_target(vmux-plain-tests)   # those that are PLAIN
  add_custom_target(vmux-sanitized-tests)         # of the first two, those that are not
  add_custom_target(vmux-sanitized-thread-tests)
endif()
include(VmuxHeaders)

# No frame passes through these rooms, and they are full of JSON and of command lines, which compile for minutes when they are optimised for
# speed. The fuzz build does not optimise them at all, nor any test: nobody waits for their execution, but everybody for the compilation.
set(VMUX_UNHURRIED control control_client host app_console app_vmux app_vmuxctl app_vmux_web app_vfio_run)
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

# The ctest label of a test.
function(vmux_test_label out is_plain labels)
  set(kinds sanitized threads)
  if(is_plain)
    set(kinds plain plain-threads)
  endif()
  list(FIND labels threads place)
  if(place EQUAL -1)
    list(GET kinds 0 label)
  else()
    list(GET kinds 1 label)
  endif()
  set(${out} ${label} PARENT_SCOPE)
endfunction()

# Programs that tests with this label are, or run.
function(vmux_test_needs label)
  set(sets vmux-tests)
  if(label MATCHES "threads")
    list(APPEND sets vmux-thread-tests)
  endif()
  if(label MATCHES "plain")
    list(APPEND sets vmux-plain-tests)
  elseif(label STREQUAL "threads")
    list(APPEND sets vmux-sanitized-tests vmux-sanitized-thread-tests)
  else()
    list(APPEND sets vmux-sanitized-tests)
  endif()
  foreach(set IN LISTS sets)
    add_dependencies(${set} ${ARGN})
  endforeach()
  set_target_properties(${ARGN} PROPERTIES EXCLUDE_FROM_ALL ON)
endfunction()

function(vmux_test name)
  if(NOT VMUX_TESTS)
    return()
  endif()
  cmake_parse_arguments(ARG "PLAIN" "PREFIX" "SOURCES;APART;LIBS;LABELS" ${ARGN})
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
  vmux_test_label(label "${ARG_PLAIN}" "${ARG_LABELS}")
  gtest_discover_tests(${name} TEST_PREFIX "${ARG_PREFIX}" DISCOVERY_TIMEOUT 600 PROPERTIES TIMEOUT 120 LABELS ${label})
  vmux_test_needs(${label} ${name})
endfunction()

function(vmux_seeds_test name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LIBS" ${ARGN})
  vmux_test(${name}_seeds PLAIN SOURCES ${PROJECT_SOURCE_DIR}/tests/fuzz/seeds_test.cpp APART ${ARG_SOURCES} LIBS ${ARG_LIBS} PREFIX ${name}.)
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
    add_dependencies(vmux-sanitized-tests ${name})
  endif()
endfunction()
