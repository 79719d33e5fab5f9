# SPDX-License-Identifier: Apache-2.0
#
# mod_usher.so, with the flags the installed httpd was built with.

file(GLOB apache_sources CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/apache/*.c")
if(NOT apache_sources)
    message(STATUS "mod_usher.so: left out, apache/ holds no sources")
    return()
endif()

find_program(USHER_APXS NAMES apxs apxs2)
find_program(USHER_APR_CONFIG NAMES apr-1-config apr-config)
if(NOT USHER_APXS OR NOT USHER_APR_CONFIG)
    message(STATUS "mod_usher.so: left out, apxs or apr-1-config is missing (Debian: apache2-dev)")
    return()
endif()

function(apxs_query name variable)
    execute_process(COMMAND "${USHER_APXS}" -q ${name} OUTPUT_VARIABLE value
        OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
    separate_arguments(value UNIX_COMMAND "${value}")
    set(${variable} "${value}" PARENT_SCOPE)
endfunction()

apxs_query(CFLAGS apxs_cflags)
apxs_query(CPPFLAGS apxs_cppflags)
apxs_query(EXTRA_CPPFLAGS apxs_extra_cppflags)
apxs_query(INCLUDEDIR apxs_include_dir)
execute_process(COMMAND "${USHER_APR_CONFIG}" --cppflags --includes OUTPUT_VARIABLE apr_flags
    OUTPUT_STRIP_TRAILING_WHITESPACE)
separate_arguments(apr_flags UNIX_COMMAND "${apr_flags}")
string(REGEX REPLACE "(^|;)-I" "\\1-isystem;" apr_flags "${apr_flags}")

add_library(mod_usher MODULE ${apache_sources})
target_compile_options(mod_usher PRIVATE ${apxs_cflags} ${apxs_cppflags} ${apxs_extra_cppflags}
    ${apr_flags})
target_include_directories(mod_usher SYSTEM PRIVATE ${apxs_include_dir})
usher_server_module(mod_usher mod_usher mod_usher.map)
