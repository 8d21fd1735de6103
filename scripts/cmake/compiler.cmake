# How our code is compiled: warnings, arithmetic, sanitizers, ccache.
find_program(CCACHE ccache)
if(CCACHE)
  # Paths below the source tree are hashed relative to it, so that another clone finds what this one compiled.
  # The two kinds of sloppiness are what it asks for to cache sources that use a precompiled header.
  set(CMAKE_CXX_COMPILER_LAUNCHER "${CMAKE_COMMAND}" -E env "CCACHE_BASEDIR=${CMAKE_SOURCE_DIR}" CCACHE_NOHASHDIR=1
      CCACHE_SLOPPINESS=pch_defines,time_macros "${CCACHE}")
endif()

add_library(switchyard_flags INTERFACE)
target_compile_options(switchyard_flags INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Werror)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND NOT SWITCHYARD_SANITIZE STREQUAL "")
  # Instrumented code hides from g++ what has been written.
  target_compile_options(switchyard_flags INTERFACE -Wno-maybe-uninitialized -Wno-uninitialized)
endif()
target_compile_options(switchyard_flags INTERFACE -fno-math-errno -fno-trapping-math -ffp-contract=fast)
set(CMAKE_CXX_FLAGS_RELEASE "-O3 -DNDEBUG")
# For code that runs once a step or less and is mostly templates of libraries (JSON, command line, test macros): half
# the time to compile.
set(build_quickly $<$<CONFIG:Release>:-O1>)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  set(allow_cached_headers -fpch-preprocess)  # ccache's condition for precompiled headers
endif()

# Headers that many sources include, compiled once: an object library of nothing else, for REUSE_FROM. Sources include
# what they need all the same (scripts/lint.sh compiles them without).
function(switchyard_add_headers target libraries options headers)
  file(CONFIGURE OUTPUT "${CMAKE_BINARY_DIR}/generated/${target}.cpp" CONTENT "")
  add_library(${target} OBJECT EXCLUDE_FROM_ALL "${CMAKE_BINARY_DIR}/generated/${target}.cpp")
  target_link_libraries(${target} PRIVATE ${libraries} switchyard_flags)
  target_compile_options(${target} PRIVATE ${options} ${allow_cached_headers})
  target_precompile_headers(${target} PRIVATE ${headers})
endfunction()

if(SWITCHYARD_SANITIZE STREQUAL "address")
  set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O1 -g1")
  add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
  add_link_options(-fsanitize=address,undefined)
elseif(SWITCHYARD_SANITIZE STREQUAL "thread")
  set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O1 -g1")
  add_compile_options(-fsanitize=thread -fno-omit-frame-pointer -fopenmp-simd)  # vector loops without the library
  add_link_options(-fsanitize=thread)
  target_compile_definitions(switchyard_flags INTERFACE SWITCHYARD_TSAN)
elseif(SWITCHYARD_SANITIZE STREQUAL "fuzzer")   # clang's libFuzzer; the library is linked to its programs alone
  set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O1 -g1")
  add_compile_options(-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined -Wno-pass-failed)
  add_link_options(-fsanitize=address,undefined)
elseif(NOT SWITCHYARD_SANITIZE STREQUAL "")
  message(FATAL_ERROR "SWITCHYARD_SANITIZE is '${SWITCHYARD_SANITIZE}'; accepted: address, thread, fuzzer, or nothing")
endif()
