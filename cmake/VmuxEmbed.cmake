# SPDX-License-Identifier: BSD-3-Clause
# vmux_embed(OUTPUT DIRECTORY directory FILES file...)
#   A source that defines vmux::app::page_files() with the contents of these files: made anew when one of them changes.
#   As a script (cmake -P, with OUTPUT, DIRECTORY and FILES) this file writes it.
if(NOT CMAKE_SCRIPT_MODE_FILE)
  set(VMUX_EMBED_SCRIPT ${CMAKE_CURRENT_LIST_FILE})
  function(vmux_embed output)
    cmake_parse_arguments(ARG "" "DIRECTORY" "FILES" ${ARGN})
    list(TRANSFORM ARG_FILES PREPEND ${ARG_DIRECTORY}/ OUTPUT_VARIABLE paths)
    add_custom_command(OUTPUT ${output} DEPENDS ${paths} ${VMUX_EMBED_SCRIPT} VERBATIM
      COMMAND ${CMAKE_COMMAND} -DOUTPUT=${output} -DDIRECTORY=${ARG_DIRECTORY} "-DFILES=${ARG_FILES}" -P ${VMUX_EMBED_SCRIPT})
  endfunction()
  return()
endif()

set(type_html "text/html; charset=utf-8")
set(type_css "text/css; charset=utf-8")
set(type_js "text/javascript; charset=utf-8")
set(type_svg "image/svg+xml")
set(arrays "")
set(rows "")
set(number 0)
foreach(file IN LISTS FILES)
  file(READ ${DIRECTORY}/${file} bytes HEX)
  file(SHA256 ${DIRECTORY}/${file} hash)
  string(SUBSTRING ${hash} 0 16 tag)
  string(REGEX REPLACE "(..)" "'\\\\x\\1'," bytes "${bytes}")
  string(REGEX REPLACE "^.*\\." "" suffix ${file})
  string(APPEND arrays "constexpr char kFile${number}[] = {${bytes}};\n")
  string(APPEND rows "    {\"/${file}\", \"${type_${suffix}}\", \"${tag}\", {kFile${number}, sizeof kFile${number}}},\n")
  math(EXPR number "${number} + 1")
endforeach()
file(WRITE ${OUTPUT} "#include \"app/vmux_web/page.hpp\"\n\nnamespace vmux::app {\nnamespace {\n\n${arrays}
constexpr PageFile kFiles[] = {\n${rows}};\n\n}  // namespace\n
std::span<const PageFile> page_files() noexcept { return kFiles; }\n\n}  // namespace vmux::app\n")
