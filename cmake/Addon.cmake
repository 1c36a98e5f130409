# The addon itself: binding/ over the backends.
add_library(zo2 SHARED
  binding/addon.cc
  binding/block_conversion.cc
  binding/buffer.cc
  binding/callbacks.cc
  binding/commands.cc
  binding/conversion.cc
  binding/convert.cc
  binding/device.cc
  binding/device_core.cc
  binding/environment.cc
  binding/errors.cc
  binding/event.cc
  binding/file_lock.cc
  binding/gate.cc
  binding/handle.cc
  binding/layout.cc
  binding/mailbox.cc
  binding/program.cc
  binding/resource.cc
  binding/stream.cc
  binding/submitter.cc
  binding/values.cc
  binding/words.cc
  binding/work_queue.cc
  ${CMAKE_JS_SRC}
)
set_target_properties(zo2 PROPERTIES PREFIX "" SUFFIX ".node" CXX_STANDARD 17 CXX_STANDARD_REQUIRED ON CXX_EXTENSIONS OFF
                                     CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
target_include_directories(zo2 PRIVATE binding "${CMAKE_CURRENT_SOURCE_DIR}")
target_include_directories(zo2 SYSTEM PRIVATE ${CMAKE_JS_INC})
target_compile_options(zo2 PRIVATE -Wall -Wextra -ffp-contract=off)

# The C++ library linked in; libgcc_s, which Node itself needs, is not: its static twin asks for a later C library. What nobody
# calls is left out for the same reason, and another addon of the process must not meet our C++ library.
option(ZO2_PORTABLE "Link the C++ library in and strip: for an addon that is carried to other machines" OFF)
if(ZO2_PORTABLE)
  target_link_options(zo2 PRIVATE -static-libstdc++ LINKER:--gc-sections LINKER:--exclude-libs,ALL LINKER:--strip-all)
endif()

# What the addon says of itself (Native.build).
get_directory_property(zo2_files DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}/disk" DEFINITION zo2_files)
get_directory_property(zo2_matmul DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}/cpu" DEFINITION zo2_matmul)
string(CONCAT ZO2_BUILD "${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION}, ${CMAKE_BUILD_TYPE}; matrix product: ${zo2_matmul}; files: ${zo2_files}; "
                        "CUDA backend: ${ZO2_CUDA_STATUS}")
configure_file(cmake/build_info.h.in generated/build_info.h @ONLY)
target_include_directories(zo2 PRIVATE "${CMAKE_CURRENT_BINARY_DIR}/generated")

# Without external buffers: binding/buffer.h says why none is made.
target_compile_definitions(zo2 PRIVATE NAPI_VERSION=8 NODE_ADDON_API_CPP_EXCEPTIONS_ALL
                                       NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS NODE_API_NO_EXTERNAL_BUFFERS_ALLOWED
                                       ${zo2_definitions})
target_link_libraries(zo2 PRIVATE ${zo2_backends} ${CMAKE_JS_LIB})
