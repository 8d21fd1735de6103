// A program that asks for a feature no processor has: neither its static objects nor main may run.
#include <cstdio>

namespace {
struct Talker {
  Talker() { std::puts("static object made"); }
} talker;
}  // namespace

int main() { std::puts("main reached"); }
