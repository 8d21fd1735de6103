# Runs scripts/check-layers.sh with every build in which a source has changed.
function(switchyard_add_layer_check)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/include/*.h" "${CMAKE_SOURCE_DIR}/src/*.h"
       "${CMAKE_SOURCE_DIR}/src/*.cpp" "${CMAKE_SOURCE_DIR}/kernels/*.h" "${CMAKE_SOURCE_DIR}/kernels/*.cpp"
       "${CMAKE_SOURCE_DIR}/kernels/*.cu" "${CMAKE_SOURCE_DIR}/kernels/*.cuh" "${CMAKE_SOURCE_DIR}/tests/*.h"
       "${CMAKE_SOURCE_DIR}/tests/*.cpp" "${CMAKE_SOURCE_DIR}/tests/*.cu" "${CMAKE_SOURCE_DIR}/tests/*.cuh")
  set(script "${CMAKE_SOURCE_DIR}/scripts/check-layers.sh")
  set(stamp "${CMAKE_BINARY_DIR}/layers.stamp")
  add_custom_command(OUTPUT "${stamp}" COMMAND "${script}" COMMAND "${CMAKE_COMMAND}" -E touch "${stamp}"
                     DEPENDS ${sources} "${script}" "${CMAKE_SOURCE_DIR}/scripts/layers.txt" COMMENT "Checking layers and sizes" VERBATIM)
  add_custom_target(layers ALL DEPENDS "${stamp}")
endfunction()
