# SPDX-License-Identifier: Apache-2.0
#
# Script of UsherNginx.cmake (cmake -P), two steps:
#   STEP=key        KEY says which nginx is installed; rewritten only when that changed
#   STEP=configure  TREE becomes a copy of SOURCE, configured as NGINX was, with MODULE added

execute_process(COMMAND "${NGINX}" -V ERROR_VARIABLE version RESULT_VARIABLE failed OUTPUT_QUIET)
if(failed)
    message(FATAL_ERROR "${NGINX} -V failed: ${version}")
endif()

if(STEP STREQUAL "key")
    # Debian has changed structures between two packages of one nginx version, and dpkg keeps the
    # packager's file times: only the inode change time tells that the files are others.
    execute_process(COMMAND stat -L -c "%n %s %Z" "${NGINX}" "${SOURCE}/src/core/nginx.h"
        "${SOURCE}/src/core/ngx_connection.h" "${SOURCE}/auto/options" OUTPUT_VARIABLE files)
    set(key "${version}${files}")
    set(old_key "")
    if(EXISTS "${KEY}")
        file(READ "${KEY}" old_key)
    endif()
    if(NOT key STREQUAL old_key)
        file(WRITE "${KEY}" "${key}")
    endif()
    return()
endif()

file(REMOVE_RECURSE "${TREE}")
file(MAKE_DIRECTORY "${TREE}")
file(COPY "${SOURCE}/" DESTINATION "${TREE}")

string(REGEX MATCH "configure arguments: (.*)" found "${version}")
string(STRIP "${CMAKE_MATCH_1}" arguments)
separate_arguments(arguments UNIX_COMMAND "${arguments}")
# What the distribution builds as modules of their own needs libraries that we do not, and is not
# part of the signature that nginx compares when it loads a module.
list(FILTER arguments EXCLUDE REGEX "=dynamic$")
list(FILTER arguments EXCLUDE REGEX "^--add-(dynamic-)?module=")

execute_process(COMMAND sh ./configure ${arguments} "--add-dynamic-module=${MODULE}"
    WORKING_DIRECTORY "${TREE}" OUTPUT_VARIABLE output ERROR_VARIABLE output
    RESULT_VARIABLE failed)
file(WRITE "${TREE}/configure.log" "${output}")
if(failed OR NOT EXISTS "${TREE}/objs/ngx_http_usher_module_modules.c")
    message(FATAL_ERROR "./configure of nginx failed:\n${output}")
endif()
