# SPDX-License-Identifier: Apache-2.0
#
# ngx_http_usher_module.so. nginx has no installed headers: they come out of ./configure, which runs
# once in a copy of the source of Debian's nginx-dev (cmake/nginx-configure.cmake). The module is
# then compiled here, so that a change to it costs a second and not a run of nginx's own make.

file(GLOB nginx_sources CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/nginx/*.c")
if(NOT nginx_sources OR NOT EXISTS "${CMAKE_SOURCE_DIR}/nginx/config")
    message(STATUS "ngx_http_usher_module.so: left out, nginx/ holds no sources or no config")
    return()
endif()

set(USHER_NGINX_SOURCE /usr/share/nginx/src CACHE PATH
    "Source tree of exactly the nginx that will load the module")
find_program(USHER_NGINX NAMES nginx PATHS /usr/sbin /usr/local/sbin)
if(NOT USHER_NGINX OR NOT EXISTS "${USHER_NGINX_SOURCE}/auto/options")
    message(STATUS "ngx_http_usher_module.so: left out, nginx or its source in "
        "${USHER_NGINX_SOURCE} is missing (Debian: nginx nginx-dev)")
    return()
endif()

# A sanitized build takes the one that the plain build has configured.
set(USHER_NGINX_TREES "${CMAKE_BINARY_DIR}" CACHE PATH "Build directory with the configured nginx")
set(nginx_tree "${USHER_NGINX_TREES}/nginx")
set(nginx_key "${USHER_NGINX_TREES}/nginx.key")
set(nginx_modules_c "${nginx_tree}/objs/ngx_http_usher_module_modules.c")
set(nginx_configure_script "${CMAKE_SOURCE_DIR}/cmake/nginx-configure.cmake")
set(nginx_configure ${CMAKE_COMMAND} -D NGINX=${USHER_NGINX} -D SOURCE=${USHER_NGINX_SOURCE}
    -D MODULE=${CMAKE_SOURCE_DIR}/nginx -D TREE=${nginx_tree} -D KEY=${nginx_key})

# Every build compares what is installed with what was configured; only a difference configures anew.
add_custom_target(nginx_installed BYPRODUCTS "${nginx_key}"
    COMMAND ${nginx_configure} -D STEP=key -P "${nginx_configure_script}"
    COMMENT "" VERBATIM)
add_custom_command(OUTPUT "${nginx_modules_c}"
    COMMAND ${nginx_configure} -D STEP=configure -P "${nginx_configure_script}"
    DEPENDS "${nginx_key}" nginx_installed "${nginx_configure_script}"
        "${CMAKE_SOURCE_DIR}/nginx/config"
    COMMENT "Configuring the nginx source of the installed nginx (once, about 15 s)" VERBATIM)

add_library(ngx_http_usher_module MODULE ${nginx_sources} "${nginx_modules_c}")
target_include_directories(ngx_http_usher_module SYSTEM PRIVATE
    "${nginx_tree}/src/core"
    "${nginx_tree}/src/event"
    "${nginx_tree}/src/event/modules"
    "${nginx_tree}/src/os/unix"
    "${nginx_tree}/objs"
    "${nginx_tree}/src/http"
    "${nginx_tree}/src/http/modules"
    "${nginx_tree}/src/http/v2")
target_compile_options(ngx_http_usher_module PRIVATE -fno-strict-aliasing)

# Preprocessor settings of the distribution's build can change structures (32-bit time and offsets).
execute_process(COMMAND "${USHER_NGINX}" -V ERROR_VARIABLE nginx_version OUTPUT_QUIET)
if(nginx_version MATCHES "--with-cc-opt='([^']*)'")
    separate_arguments(nginx_cc_opt UNIX_COMMAND "${CMAKE_MATCH_1}")
    list(FILTER nginx_cc_opt INCLUDE REGEX "^-D")
    target_compile_options(ngx_http_usher_module PRIVATE ${nginx_cc_opt})
endif()
# A worker that ends unloads its modules while its second thread (ngx_http_usher_bell.c) may still wake
# up in this one.
target_link_options(ngx_http_usher_module PRIVATE -Wl,-z,nodelete)
usher_server_module(ngx_http_usher_module ngx_http_usher_module ngx_http_usher_module.map)
usher_uses(ngx_http_usher_module PRIVATE fastcgi)
