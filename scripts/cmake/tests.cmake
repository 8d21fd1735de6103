# One test program `test_<folder>` per folder of tests. Folders named after a module hold unit tests (target
# `unit_tests`); the others start whole programs and ranks (target `process_tests`). In a folder, `*_test.cpp` are the
# tests, `main.cpp` replaces GoogleTest's, and each `*_program.cpp` is a program that the tests start; it and
# `switchyard` lie in the folder of the test program. Tests of the CUDA backend run in the release tree alone, on the
# simulated device (cuda.cmake).
function(switchyard_add_tests)
  switchyard_add_headers(test_headers "switchyard_base;GTest::gmock" "${build_quickly}"
                         "<gmock/gmock.h>;<gtest/gtest.h>;<fmt/format.h>;<filesystem>;<functional>;<map>")
  add_custom_target(unit_tests)
  add_custom_target(process_tests)
  file(GLOB folders CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/tests/*")
  foreach(folder IN LISTS folders)
    get_filename_component(name "${folder}" NAME)
    file(GLOB sources CONFIGURE_DEPENDS "${folder}/*_test.cpp")
    if(NOT sources OR name MATCHES "^(cuda|simgpu)$")   # those need CUDA: cuda.cmake
      continue()
    endif()
    if(name STREQUAL "simulated" AND NOT (SWITCHYARD_HAVE_CUDA AND CMAKE_BUILD_TYPE STREQUAL "Release"))
      continue()
    endif()
    set(kind unit_tests)
    set(library switchyard_${name})
    if(NOT TARGET ${library})
      set(kind process_tests)
      set(library "switchyard_bench;switchyard_verify")
    endif()
    set(main GTest::gtest_main)
    if(EXISTS "${folder}/main.cpp")
      list(APPEND sources "${folder}/main.cpp")
      set(main GTest::gtest)
    endif()
    switchyard_add_test_program(test_${name} ${kind} "${sources}" "${library};${main};GTest::gmock")
    file(GLOB programs CONFIGURE_DEPENDS "${folder}/*_program.cpp")
    foreach(program IN LISTS programs)
      get_filename_component(program_name "${program}" NAME_WE)
      switchyard_add_test_program(${program_name} ${kind} "${program}" "${library}")
      add_dependencies(test_${name} ${program_name})
    endforeach()
    if(kind STREQUAL "process_tests" AND TARGET switchyard)
      add_dependencies(test_${name} switchyard)
    endif()
  endforeach()

  if(SWITCHYARD_HAVE_CUDA AND CMAKE_BUILD_TYPE STREQUAL "Release")
    switchyard_add_simgpu()
    switchyard_add_coverage()
    add_dependencies(test_simulated simgpu)
  endif()

  # Timings: built with the tests of programs so that they keep compiling, run by hand.
  switchyard_add_test_program(op_perf process_tests "${CMAKE_SOURCE_DIR}/tests/perf/op_perf.cpp" "switchyard_bench;benchmark::benchmark;GTest::gtest")

  if(SWITCHYARD_SANITIZE STREQUAL "fuzzer")   # scripts/fuzz.sh
    foreach(target safetensors index config)
      switchyard_add_test_program(fuzz_${target} unit_tests "${CMAKE_SOURCE_DIR}/tests/convert/fuzz_main.cpp" "switchyard_convert;GTest::gtest")
      target_compile_definitions(fuzz_${target} PRIVATE FUZZ_TARGET=fuzz_${target})
      target_link_options(fuzz_${target} PRIVATE -fsanitize=fuzzer)
    endforeach()
  endif()

  # The check of the processor, asking for a feature that no processor has (tests/base/cpu_check_test.cpp).
  add_executable(cpu_check_probe EXCLUDE_FROM_ALL "${CMAKE_SOURCE_DIR}/src/base/cpu_check.cpp" "${CMAKE_SOURCE_DIR}/tests/base/cpu_check_probe.cpp")
  target_include_directories(cpu_check_probe PRIVATE "${CMAKE_BINARY_DIR}/generated")
  target_compile_definitions(cpu_check_probe PRIVATE SWITCHYARD_MADE_UP_FEATURE="time-travel")
  if(TARGET test_base)
    add_dependencies(test_base cpu_check_probe)
  endif()
endfunction()

function(switchyard_add_test_program target kind sources libraries)
  add_executable(${target} ${sources})
  target_link_libraries(${target} PRIVATE ${libraries} switchyard_flags)
  target_include_directories(${target} PRIVATE "${CMAKE_SOURCE_DIR}" "${CMAKE_SOURCE_DIR}/src")
  target_compile_options(${target} PRIVATE ${build_quickly} ${allow_cached_headers})
  if("${libraries}" MATCHES "GTest::")   # programs that tests start do without
    target_precompile_headers(${target} REUSE_FROM test_headers)
  endif()
  add_dependencies(${kind} ${target})
  if(kind STREQUAL "unit_tests" AND NOT SWITCHYARD_UNIT_TESTS)
    set_target_properties(${target} PROPERTIES EXCLUDE_FROM_ALL ON)
  endif()
endfunction()
