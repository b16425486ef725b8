# SPDX-License-Identifier: BSD-3-Clause
# libvmux: the SDK rooms as one static and one shared library, with headers, vmux.pc and a CMake package.
include(CMakePackageConfigHelpers)
get_property(sdk_rooms GLOBAL PROPERTY VMUX_SDK_ROOMS)

foreach(kind IN ITEMS static shared)
  string(TOUPPER ${kind} upper)
  add_library(vmux-${kind} ${upper})
  foreach(room IN LISTS sdk_rooms)
    target_sources(vmux-${kind} PRIVATE $<TARGET_OBJECTS:${room}>)
  endforeach()
  set_target_properties(vmux-${kind} PROPERTIES OUTPUT_NAME vmux EXPORT_NAME ${kind} LINKER_LANGUAGE CXX)
  target_include_directories(vmux-${kind} PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
                             $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  target_link_libraries(vmux-${kind} PUBLIC Threads::Threads)
  target_compile_features(vmux-${kind} PUBLIC cxx_std_20)
endforeach()
set_target_properties(vmux-shared PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION 0)

install(TARGETS vmux-static vmux-shared EXPORT vmuxTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/vmux DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT vmuxTargets NAMESPACE vmux:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/vmux)
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/vmuxConfig.cmake.in ${PROJECT_BINARY_DIR}/vmuxConfig.cmake
                              INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/vmux)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/vmuxConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/vmuxConfig.cmake ${PROJECT_BINARY_DIR}/vmuxConfigVersion.cmake
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/vmux)
# The prefix may be given as late as `cmake --install --prefix`, which is how `make install PREFIX=` gives it.
install(CODE "set(CMAKE_INSTALL_LIBDIR \"${CMAKE_INSTALL_LIBDIR}\")
set(CMAKE_INSTALL_INCLUDEDIR \"${CMAKE_INSTALL_INCLUDEDIR}\")
set(PROJECT_VERSION \"${PROJECT_VERSION}\")
configure_file(\"${PROJECT_SOURCE_DIR}/cmake/vmux.pc.in\" \"${PROJECT_BINARY_DIR}/vmux.pc\" @ONLY)")
install(FILES ${PROJECT_BINARY_DIR}/vmux.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
