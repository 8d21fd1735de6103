// Execution tags: a kernel has one overload per backend, chosen by its first argument.
#pragma once

namespace switchyard::exec {

struct Cpu {};

}  // namespace switchyard::exec
