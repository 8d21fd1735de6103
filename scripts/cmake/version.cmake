# Writes switchyard_version.h. Included by CMakeLists.txt it adds a target that runs with every build; run as a script
# (cmake -P) it does the work, and touches the header only if its content changes.
if(CMAKE_SCRIPT_MODE_FILE)
  cmake_minimum_required(VERSION 3.25)
  execute_process(COMMAND git -C "${SOURCE}" rev-parse --short=12 HEAD OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  execute_process(COMMAND git -C "${SOURCE}" status --porcelain --untracked-files=no OUTPUT_VARIABLE changes ERROR_QUIET)
  if(NOT commit)
    set(commit "unknown")
  elseif(changes)
    string(APPEND commit ", changed")
  endif()
  file(CONFIGURE OUTPUT "${OUT}" CONTENT "#define SWITCHYARD_VERSION \"@VERSION@\"
#define SWITCHYARD_COMMIT \"@commit@\"
#define SWITCHYARD_COMPILER \"@COMPILER@\"
#define SWITCHYARD_BUILD_TYPE \"@BUILD_TYPE@\"
#define SWITCHYARD_ARCHITECTURE \"@ARCHITECTURE@\"
")
else()
  set(version_folder "${CMAKE_BINARY_DIR}/generated/version")
  set(architecture "the baseline of the platform")
  if(processor_flags MATCHES "-march=([^;]+)")
    set(architecture "${CMAKE_MATCH_1}")
  endif()
  add_custom_target(switchyard_version
    COMMAND "${CMAKE_COMMAND}" "-DSOURCE=${CMAKE_SOURCE_DIR}" "-DOUT=${version_folder}/switchyard_version.h"
            "-DVERSION=${PROJECT_VERSION}" "-DCOMPILER=${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION}"
            "-DBUILD_TYPE=${CMAKE_BUILD_TYPE}" "-DARCHITECTURE=${architecture}" -P "${CMAKE_CURRENT_LIST_FILE}"
    BYPRODUCTS "${version_folder}/switchyard_version.h")
endif()
