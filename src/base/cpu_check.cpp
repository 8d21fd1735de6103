// Runs before everything else in the program, and is the one file compiled for the baseline processor: on a processor
// that lacks what the program was built for it says so in one line, where the first vector instruction would kill it.
// Only C functions are used: a shared inline function could have been compiled for the better processor.
#include "cpu_features.h"

#include <cstring>

#include <unistd.h>

namespace {

#define SWITCHYARD_NAME(feature) feature,
constexpr const char* kRequired[] = {SWITCHYARD_REQUIRED_FEATURES(SWITCHYARD_NAME)
#ifdef SWITCHYARD_MADE_UP_FEATURE  // the test of this file
                                         SWITCHYARD_MADE_UP_FEATURE,
#endif
                                     nullptr};

bool processor_has([[maybe_unused]] const char* feature) {
#define SWITCHYARD_TRY(name) \
  if (std::strcmp(feature, name) == 0) return __builtin_cpu_supports(name);
  SWITCHYARD_REQUIRED_FEATURES(SWITCHYARD_TRY)
  return false;
}

void append(char* line, size_t size, const char* text) { std::strncat(line, text, size - std::strlen(line) - 1); }

// 101 is the first priority free for programs: before the constructors of all other files.
__attribute__((constructor(101))) void refuse_a_lesser_processor() {
  __builtin_cpu_init();
  char line[1024] = "switchyard: this processor lacks";
  bool lacks = false;
  for (const char* const* feature = kRequired; *feature; ++feature) {
    if (processor_has(*feature)) continue;
    lacks = true;
    append(line, sizeof line, " ");
    append(line, sizeof line, *feature);
  }
  if (!lacks) return;
  append(line, sizeof line, ", for which the program was built; build it here with scripts/build.sh release\n");
  const ssize_t written = write(STDERR_FILENO, line, std::strlen(line));
  _exit(written < 0 ? 74 : 70);
}

}  // namespace
