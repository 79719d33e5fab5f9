# SPDX-License-Identifier: Apache-2.0
#
# How the folders of native/ become targets, and who may include whom: a folder's headers are
# reached as "FOLDER/name.h" through an include directory that holds nothing but that folder, and
# only targets that link the folder's library (USES) are given it.

set(usher_warnings -Wall -Wextra)
if(USHER_WERROR)
    list(APPEND usher_warnings -Werror)
endif()

set(usher_sanitize_flags "")
if(USHER_SANITIZE STREQUAL "address")
    set(usher_sanitize_flags -fsanitize=address,undefined -fno-sanitize-recover=undefined
        -fno-omit-frame-pointer)
elseif(USHER_SANITIZE STREQUAL "thread")
    set(usher_sanitize_flags -fsanitize=thread -fno-omit-frame-pointer)
elseif(USHER_SANITIZE STREQUAL "fuzz")
    if(NOT CMAKE_C_COMPILER_ID MATCHES "Clang")
        message(FATAL_ERROR "USHER_SANITIZE=fuzz needs clang: add -DCMAKE_C_COMPILER=clang "
            "-DCMAKE_CXX_COMPILER=clang++")
    endif()
    set(usher_sanitize_flags -fsanitize=fuzzer-no-link,address,undefined
        -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
elseif(USHER_SANITIZE)
    message(FATAL_ERROR "USHER_SANITIZE is ${USHER_SANITIZE}: expected address, thread or fuzz")
endif()

# Settings of all our own native code; the two server modules follow their hosts' habits instead.
function(usher_own target)
    target_compile_options(${target} PRIVATE ${usher_warnings} -fvisibility=hidden
        $<$<COMPILE_LANGUAGE:C>:-Wconversion> ${usher_sanitize_flags})
    target_compile_definitions(${target} PRIVATE _GNU_SOURCE)
    if(usher_sanitize_flags)
        target_link_options(${target} PRIVATE ${usher_sanitize_flags})
    endif()
endfunction()

# usher_include_dir(FOLDER VARIABLE): an include directory that holds only native/FOLDER.
function(usher_include_dir folder variable)
    set(dir "${CMAKE_BINARY_DIR}/include/${folder}")
    file(MAKE_DIRECTORY "${dir}")
    if(NOT EXISTS "${dir}/${folder}")
        file(CREATE_LINK "${CMAKE_SOURCE_DIR}/native/${folder}" "${dir}/${folder}" SYMBOLIC)
    endif()
    set(${variable} "${dir}" PARENT_SCOPE)
endfunction()

# usher_library(FOLDER [USES FOLDER...]): native/FOLDER/*.c as static library usher_FOLDER. With
# headers only it is an interface library, with an empty folder nothing.
function(usher_library folder)
    cmake_parse_arguments(ARG "" "" "USES" ${ARGN})
    file(GLOB sources CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/native/${folder}/*.c")
    file(GLOB headers CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/native/${folder}/*.h"
        "${CMAKE_SOURCE_DIR}/native/${folder}/*.def")
    if(NOT sources AND NOT headers)
        message(STATUS "usher_${folder}: left out, native/${folder} holds no sources")
        return()
    endif()

    usher_include_dir(${folder} include_dir)
    if(sources)
        add_library(usher_${folder} STATIC ${sources})
        target_include_directories(usher_${folder} PUBLIC "${include_dir}")
        target_link_libraries(usher_${folder} PUBLIC Threads::Threads)
        usher_own(usher_${folder})
        set(scope PUBLIC)
    else()
        add_library(usher_${folder} INTERFACE)
        target_include_directories(usher_${folder} INTERFACE "${include_dir}")
        set(scope INTERFACE)
    endif()
    usher_uses(usher_${folder} ${scope} ${ARG_USES})
endfunction()

# usher_headers(FOLDER): only the right to include "FOLDER/…", for those that talk to its program.
function(usher_headers folder)
    file(GLOB headers CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/native/${folder}/*.h")
    if(headers)
        usher_include_dir(${folder} include_dir)
        add_library(usher_${folder}_headers INTERFACE)
        target_include_directories(usher_${folder}_headers INTERFACE "${include_dir}")
    endif()
endfunction()

# usher_uses(TARGET SCOPE FOLDER...): links the libraries that exist so far.
function(usher_uses target scope)
    foreach(folder IN LISTS ARGN)
        if(TARGET usher_${folder})
            target_link_libraries(${target} ${scope} usher_${folder})
        endif()
        if(TARGET usher_${folder}_headers)
            target_link_libraries(${target} ${scope} usher_${folder}_headers)
        endif()
    endforeach()
endfunction()

# usher_define(FOLDER DEFINITION...): compile definitions of one library.
function(usher_define folder)
    if(TARGET usher_${folder})
        get_target_property(type usher_${folder} TYPE)
        if(NOT type STREQUAL "INTERFACE_LIBRARY")
            target_compile_definitions(usher_${folder} PRIVATE ${ARGN})
        endif()
    endif()
endfunction()

# usher_program(NAME FOLDER FOLDER [USES FOLDER...]): native/FOLDER/*.c as program NAME.
function(usher_program name)
    cmake_parse_arguments(ARG "" "FOLDER" "USES" ${ARGN})
    if(USHER_SANITIZE STREQUAL "fuzz") # its targets are made of libraries and single files
        return()
    endif()
    file(GLOB sources CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/native/${ARG_FOLDER}/*.c")
    if(NOT sources)
        message(STATUS "${name}: left out, native/${ARG_FOLDER} holds no sources")
        return()
    endif()
    add_executable(${name} ${sources})
    set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${USHER_OUT}")
    usher_include_dir(${ARG_FOLDER} include_dir)
    target_include_directories(${name} PRIVATE "${include_dir}")
    target_link_libraries(${name} PRIVATE Threads::Threads)
    usher_own(${name})
    usher_uses(${name} PRIVATE ${ARG_USES})
endfunction()

# usher_server_module(TARGET FILE SYMBOLS): FILE.so in build/, exporting only what cmake/SYMBOLS lists.
function(usher_server_module target file symbols)
    set(map "${CMAKE_SOURCE_DIR}/cmake/${symbols}")
    set_target_properties(${target} PROPERTIES PREFIX "" SUFFIX ".so" OUTPUT_NAME "${file}"
        LIBRARY_OUTPUT_DIRECTORY "${USHER_OUT}" LINK_DEPENDS "${map}")
    target_link_options(${target} PRIVATE "-Wl,--version-script=${map}")
    target_link_libraries(${target} PRIVATE Threads::Threads)
    # nginx and APR reckon with offsets from null pointers; what the libc checks by itself would keep
    # the sanitizer from telling.
    set(instrumented ${usher_sanitize_flags})
    if(instrumented)
        list(APPEND instrumented -fno-sanitize=null,object-size -Wp,-U_FORTIFY_SOURCE)
        target_link_options(${target} PRIVATE ${usher_sanitize_flags})
    endif()
    target_compile_options(${target} PRIVATE ${usher_warnings} -Wno-unused-parameter
        -Wno-missing-field-initializers ${instrumented})
    usher_uses(${target} PRIVATE registration status channel options os)
endfunction()
