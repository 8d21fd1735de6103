// Gives a variable another value for a while.
#pragma once

#include <utility>

namespace switchyard {

// Sets `variable` for its lifetime; an exception that leaves the scope restores it too.
template <class T>
class Scoped {
 public:
  Scoped(T& variable, T value) : variable_(variable), before_(std::exchange(variable, std::move(value))) {}
  ~Scoped() { variable_ = std::move(before_); }
  Scoped(const Scoped&) = delete;
  Scoped& operator=(const Scoped&) = delete;

 private:
  T& variable_;
  T before_;
};

}  // namespace switchyard
