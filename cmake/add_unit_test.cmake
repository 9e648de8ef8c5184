# coppice_unit_test(FLOOR source.c...): one cmocka program per file, named after it, labelled `unit`.
# No network, no mount, under a second each; the time-out is for a hang, not a budget.
pkg_check_modules(CMOCKA IMPORTED_TARGET cmocka)
function(coppice_unit_test floor)
  foreach(source ${ARGN})
    get_filename_component(test ${source} NAME_WE)
    add_executable(${floor}_${test} ${source})
    target_compile_definitions(${floor}_${test} PRIVATE _GNU_SOURCE)
    # A unit test may see the private headers of the floor it tests.
    target_include_directories(${floor}_${test} PRIVATE ${CMAKE_SOURCE_DIR}/${floor} ${CMAKE_SOURCE_DIR}/tests/lib)
    target_link_libraries(${floor}_${test} PRIVATE coppice_${floor} coppice_testlib PkgConfig::CMOCKA)
    add_test(NAME unit/${floor}/${test} COMMAND ${floor}_${test})
    set_tests_properties(unit/${floor}/${test} PROPERTIES LABELS unit TIMEOUT 120)
  endforeach()
endfunction()
