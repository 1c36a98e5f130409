# Whether `source`, which calls a static or shared library, links with `libraries` into a shared object, as the addon is.
function(zo2_check_links result include libraries source)
  include(CheckCXXSourceCompiles)
  set(CMAKE_REQUIRED_FLAGS -fPIC)
  set(CMAKE_REQUIRED_LINK_OPTIONS -shared -Wl,-z,defs)
  set(CMAKE_REQUIRED_INCLUDES "${include}")
  set(CMAKE_REQUIRED_LIBRARIES ${libraries})
  set(CMAKE_REQUIRED_QUIET ON)
  # Kept by the check from one configuration to the next, when the library may be another.
  unset(zo2_links CACHE)
  check_cxx_source_compiles("${source}" zo2_links)
  set(${result} "${zo2_links}" PARENT_SCOPE)
endfunction()
