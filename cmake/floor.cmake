# coppice_floor(NAME BELOW [PRIVATE libs...]): a static library of every .c below this folder.
# A file that exists is built: there is no list to forget. `EXCLUDE dir...` leaves out sub-folders that are programs.
function(coppice_floor name)
  cmake_parse_arguments(ARG "" "" "BELOW;PRIVATE;EXCLUDE" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.c)
  foreach(dir ${ARG_EXCLUDE})
    list(FILTER sources EXCLUDE REGEX "^${CMAKE_CURRENT_SOURCE_DIR}/${dir}/")
  endforeach()
  add_library(coppice_${name} STATIC ${sources})
  target_include_directories(coppice_${name} PUBLIC include PRIVATE .)
  target_compile_definitions(coppice_${name} PRIVATE _GNU_SOURCE)
  target_link_libraries(coppice_${name} PUBLIC ${ARG_BELOW} PRIVATE coppice_warnings ${ARG_PRIVATE})
endfunction()
