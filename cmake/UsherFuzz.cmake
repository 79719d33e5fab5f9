# SPDX-License-Identifier: Apache-2.0
#
# native/fuzz/NAME_fuzz.c is a libFuzzer target: build-fuzz/fuzz/NAME_fuzz. Sources of ours that are
# in no library, because they belong to a program or a server module, are named here.

set(launcher_dir "${CMAKE_SOURCE_DIR}/native/launcher")
set(apache_dir "${CMAKE_SOURCE_DIR}/apache")

# usher_fuzz(NAME [USES FOLDER...] [SOURCES FILE...] [LIBRARIES IMPORTED...])
function(usher_fuzz name)
    cmake_parse_arguments(ARG "" "" "USES;SOURCES;LIBRARIES" ${ARGN})
    set(target ${name}_fuzz)
    add_executable(${target} "${CMAKE_SOURCE_DIR}/native/fuzz/${target}.c" ${ARG_SOURCES})
    set_target_properties(${target} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${USHER_OUT}/fuzz")
    target_include_directories(${target} PRIVATE "${CMAKE_SOURCE_DIR}/native/fuzz")
    target_link_options(${target} PRIVATE -fsanitize=fuzzer)
    target_link_libraries(${target} PRIVATE ${ARG_LIBRARIES})
    usher_own(${target})
    usher_uses(${target} PRIVATE ${ARG_USES})
endfunction()

# Between any two of the channel's steps another process may write: so does the input. Most of its
# comparisons are those of loops over whole tables, which teach the fuzzer nothing.
target_compile_options(usher_channel PRIVATE -fno-sanitize-coverage=trace-cmp
    -include "${CMAKE_SOURCE_DIR}/native/fuzz/channel_steps.h")

set(channel_world "${CMAKE_SOURCE_DIR}/native/fuzz/channel_world.c")
usher_fuzz(channel_manager USES channel os SOURCES "${channel_world}")
usher_fuzz(channel_worker USES channel os SOURCES "${channel_world}")
usher_fuzz(dialect USES registration channel)
usher_fuzz(allow USES registration channel options launcher SOURCES "${launcher_dir}/allow.c"
    "${launcher_dir}/gateway.c" "${launcher_dir}/message.c" "${launcher_dir}/text.c"
    "${launcher_dir}/failure.c")
usher_fuzz(message USES launcher SOURCES "${launcher_dir}/message.c" "${launcher_dir}/text.c"
    "${launcher_dir}/failure.c" "${launcher_dir}/limits.c")
usher_fuzz(options USES options)
usher_fuzz(state USES launcher os SOURCES "${launcher_dir}/state.c" "${launcher_dir}/message.c"
    "${launcher_dir}/text.c" "${launcher_dir}/failure.c" "${launcher_dir}/proc_linux.c")

# httpd itself cannot be linked; httpd_parts.c stands for what the two files call in it.
find_package(PkgConfig)
if(PKG_CONFIG_FOUND)
    pkg_check_modules(APR IMPORTED_TARGET apr-1 apr-util-1)
endif()
find_program(USHER_APXS NAMES apxs apxs2)
if(APR_FOUND AND USHER_APXS)
    execute_process(COMMAND "${USHER_APXS}" -q INCLUDEDIR OUTPUT_VARIABLE httpd_include_dir
        OUTPUT_STRIP_TRAILING_WHITESPACE)
    usher_fuzz(answer USES registration channel options LIBRARIES PkgConfig::APR SOURCES "${apache_dir}/fcgi_records.c"
        "${apache_dir}/answer.c" "${CMAKE_SOURCE_DIR}/native/fuzz/httpd_parts.c")
    target_include_directories(answer_fuzz PRIVATE "${apache_dir}")
    target_include_directories(answer_fuzz SYSTEM PRIVATE "${httpd_include_dir}")
    # APR's rings take offsets of members by a null pointer.
    target_compile_options(answer_fuzz PRIVATE -Wno-unused-parameter -Wno-conversion
        -fno-sanitize=null,object-size)
else()
    message(STATUS "answer_fuzz: left out, apr-1, apr-util-1 or apxs is missing (Debian: apache2-dev)")
endif()
