# SPDX-License-Identifier: Apache-2.0
#
# native/test/NAME_test.c    a test program that prints TAP: build/test/NAME_test
# native/test/NAME_helper.c  a program that tests start:     build/test/NAME_helper
# native/test/*.c otherwise  a library that each of them may use

set(usher_test_uses registration status channel options fastcgi os launcher forker)

file(GLOB test_programs CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/native/test/*_test.c"
    "${CMAKE_SOURCE_DIR}/native/test/*_helper.c")
file(GLOB test_support CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/native/test/*.c")
foreach(program IN LISTS test_programs)
    list(REMOVE_ITEM test_support "${program}")
endforeach()

add_library(usher_test_support STATIC ${test_support})
target_compile_definitions(usher_test_support PRIVATE USHER_TEST_BUILD="${USHER_OUT}")
usher_own(usher_test_support)
usher_uses(usher_test_support PRIVATE ${usher_test_uses})

foreach(program IN LISTS test_programs)
    get_filename_component(name "${program}" NAME_WE)
    add_executable(${name} "${program}")
    set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${USHER_OUT}/test")
    target_compile_definitions(${name} PRIVATE USHER_TEST_BUILD="${USHER_OUT}"
        USHER_TEST_NODE="${USHER_NODE}")
    target_link_libraries(${name} PRIVATE usher_test_support Threads::Threads)
    usher_own(${name})
    usher_uses(${name} PRIVATE ${usher_test_uses})
    if(TARGET usher-launcher)
        add_dependencies(${name} usher-launcher)
    endif()
    if(TARGET usher-forker)
        add_dependencies(${name} usher-forker)
    endif()
endforeach()
