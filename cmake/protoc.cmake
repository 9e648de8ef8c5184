# coppice_protos(NAME protos...): C sources from .proto files by protobuf-c, and one descriptor set with
# imports (for server reflection) at ${NAME}_DESCRIPTORS. Generated code is compiled without our warnings.
find_program(PROTOC_C NAMES protoc-c REQUIRED)
find_program(PROTOC NAMES protoc REQUIRED)
function(coppice_protos name)
  cmake_parse_arguments(ARG "" "ROOT" "PROTOS;WELL_KNOWN" ${ARGN})
  set(out ${CMAKE_CURRENT_BINARY_DIR}/gen)
  file(MAKE_DIRECTORY ${out})
  set(sources)
  # Each depends on all of ours: what imports a changed file is made again too.
  list(TRANSFORM ARG_PROTOS PREPEND ${ARG_ROOT}/ OUTPUT_VARIABLE proto_files)
  foreach(proto ${ARG_PROTOS} ${ARG_WELL_KNOWN})
    string(REGEX REPLACE "\\.proto$" ".pb-c" stem ${proto})
    add_custom_command(OUTPUT ${out}/${stem}.c ${out}/${stem}.h
      COMMAND ${PROTOC_C} -I${ARG_ROOT} -I/usr/include --c_out=${out} ${proto}
      DEPENDS ${proto_files} VERBATIM)
    list(APPEND sources ${out}/${stem}.c)
  endforeach()
  set(fds ${out}/${name}.fds)
  add_custom_command(OUTPUT ${fds}
    COMMAND ${PROTOC} -I${ARG_ROOT} -I/usr/include --include_imports --include_source_info
      --descriptor_set_out=${fds} ${ARG_PROTOS}
    DEPENDS ${proto_files} VERBATIM)
  add_custom_target(${name}_descriptors DEPENDS ${fds})
  add_library(${name} STATIC ${sources})
  add_dependencies(${name} ${name}_descriptors)
  target_include_directories(${name} SYSTEM PUBLIC ${out})
  target_link_libraries(${name} PUBLIC PkgConfig::PROTOBUF_C)
  set(${name}_DESCRIPTORS ${fds} PARENT_SCOPE)
endfunction()
