# coppice_unit_test(FLOOR source.c...): one cmocka program per file, named after it, labelled `unit`, and `tsan` because
# each of them also runs under the thread sanitizer. No network, no mount, under a second each; the time-out is for a
# hang, not a budget. Allocations of the program can be made to fail (tests/lib/alloc_fault.h).
function(coppice_unit_test floor)
  foreach(source ${ARGN})
    get_filename_component(test ${source} NAME_WE)
    add_executable(${floor}_${test} ${source})
    target_compile_definitions(${floor}_${test} PRIVATE _GNU_SOURCE)
    # A unit test may see the private headers of the floor it tests.
    target_include_directories(${floor}_${test} PRIVATE ${CMAKE_SOURCE_DIR}/${floor} ${CMAKE_CURRENT_SOURCE_DIR})
    # The fixtures come first: what they need of the floors is linked after them.
    target_link_libraries(${floor}_${test} PRIVATE
      coppice_warnings coppice_alloc_fault coppice_testlib coppice_${floor} PkgConfig::CMOCKA)
    add_test(NAME unit/${floor}/${test} COMMAND ${floor}_${test})
    set_tests_properties(unit/${floor}/${test} PROPERTIES LABELS "unit;tsan" TIMEOUT 120)
  endforeach()
endfunction()
