# Native code as explicit flags: -march=native is asked once, when CMake configures, so that the compiler cache and
# rebuilds see what it means here. The features that matter go into a header for src/base/cpu_check.cpp.
set(processor_flags "")
if(SWITCHYARD_NATIVE AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  execute_process(COMMAND "${CMAKE_CXX_COMPILER}" -march=native "-###" -x c++ -c /dev/null -o /dev/null
                  ERROR_VARIABLE native_line OUTPUT_QUIET RESULT_VARIABLE status)
  string(REGEX MATCHALL "[ \"]-m[a-z0-9.=_-]+" processor_flags "${native_line}")
  list(TRANSFORM processor_flags REPLACE "^[ \"]" "")
  list(FILTER processor_flags EXCLUDE REGEX "^-march=native$")
  if(status OR NOT "${processor_flags}" MATCHES "-march=")
    message(FATAL_ERROR "cannot tell what -march=native means to ${CMAKE_CXX_COMPILER}; configure with -DSWITCHYARD_NATIVE=OFF")
  endif()
elseif(SWITCHYARD_NATIVE)
  set(processor_flags -march=native)
endif()
target_compile_options(switchyard_flags INTERFACE ${processor_flags})

# Names known both to -m and to __builtin_cpu_supports; a compiler uses them unasked, or our kernels do.
set(known_features sse3 ssse3 sse4.1 sse4.2 popcnt avx avx2 fma f16c bmi bmi2 lzcnt movbe adx avx512f avx512bw avx512cd
    avx512dq avx512vl avx512ifma avx512vbmi avx512vbmi2 avx512vnni avx512bitalg avx512vpopcntdq avx512bf16 avx512fp16
    avxvnni gfni vaes vpclmulqdq amx-tile amx-bf16 amx-int8)
set(SWITCHYARD_REQUIRED_FEATURES "")
foreach(feature IN LISTS known_features)
  if("-m${feature}" IN_LIST processor_flags)
    string(APPEND SWITCHYARD_REQUIRED_FEATURES " X(\"${feature}\")")
  endif()
endforeach()
configure_file("${CMAKE_SOURCE_DIR}/scripts/cmake/cpu_features.h.in" "${CMAKE_BINARY_DIR}/generated/cpu_features.h" @ONLY)

# scripts/lib.sh configures again when this file no longer describes the processor.
file(READ /proc/cpuinfo cpuinfo)
string(REGEX MATCH "\nflags[^\n]*" cpu_line "${cpuinfo}")
string(REGEX MATCH "\nmodel name[^\n]*" cpu_model "${cpuinfo}")
string(STRIP "${cpu_model}${cpu_line}" cpu_line)
file(WRITE "${CMAKE_BINARY_DIR}/processor.txt" "${cpu_line}\n")

# Compiled for the baseline: it runs where nothing else of the program could.
add_library(switchyard_cpu_check OBJECT "${CMAKE_SOURCE_DIR}/src/base/cpu_check.cpp")
target_include_directories(switchyard_cpu_check PRIVATE "${CMAKE_BINARY_DIR}/generated")
