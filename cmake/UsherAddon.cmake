# SPDX-License-Identifier: Apache-2.0
#
# addon.node: what the TypeScript side sees of the C libraries. cmake-js hands in CMAKE_JS_INC
# (node-api-headers and node-addon-api).

file(GLOB addon_sources CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/native/addon/*.cc"
    "${CMAKE_SOURCE_DIR}/native/addon/*.c")
if(NOT addon_sources)
    message(STATUS "addon.node: left out, native/addon holds no sources")
    return()
endif()

add_library(usher_addon MODULE ${addon_sources})
set_target_properties(usher_addon PROPERTIES PREFIX "" SUFFIX ".node" OUTPUT_NAME addon
    LIBRARY_OUTPUT_DIRECTORY "${USHER_OUT}")
usher_include_dir(addon addon_include_dir)
target_include_directories(usher_addon PRIVATE "${addon_include_dir}")
target_include_directories(usher_addon SYSTEM PRIVATE ${CMAKE_JS_INC})
target_compile_definitions(usher_addon PRIVATE NAPI_VERSION=8 NODE_ADDON_API_CPP_EXCEPTIONS
    NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS # else terminating a worker thread may abort the process
    $<$<CONFIG:Debug>:NODE_ADDON_API_ENABLE_TYPE_CHECK_ON_AS>)
target_link_libraries(usher_addon PRIVATE Threads::Threads ${CMAKE_JS_LIB})
usher_own(usher_addon)
usher_uses(usher_addon PRIVATE channel options os launcher)
