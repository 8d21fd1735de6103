// `switchyard verify`: a config on one rank and in every layout that fits the ranks at hand, in f64 and in f32.
#pragma once

#include "switchyard/verify/compare.h"

#include <nlohmann/json_fwd.hpp>

namespace switchyard::verify {

struct Options {
  int64_t steps = 10;
  bool is_tiny = true;                 // scale.h
  std::string data = {};               // what to train on instead of random tokens: a source of data.train
  std::vector<std::string> only = {};  // shell patterns of Layout::name(); none: every layout
};

// One dtype. Good on rank 0.
struct Part {
  DType dtype = DType::f64;
  double first_loss = 0, last_loss = 0, smallest_margin = 0, tokens_per_second = 0;  // of one rank
  int64_t experts = 0, idle_experts = 0;         // of all layers; without tokens in the first step
  int64_t parameters = 0, without_gradient = 0;  // whose gradient in the first step is zero throughout
  std::vector<Comparison> comparisons = {};
};

struct Report {
  std::string name = {};  // of the config
  std::string machine = {};
  int64_t ranks = 1, steps = 0;
  bool is_tiny = true;
  std::vector<Part> parts = {};  // f64, f32
  std::vector<Misfit> misfits = {};
  bool is_equal = true;  // all_equal(parts); the same on every rank
};

// Nothing failed, in any dtype; a near tie is no failure.
bool all_equal(const std::vector<Part>& parts);

// What is told while it goes on; each may be empty.
struct Listener {
  // On this rank a step begins, after `done` of `total`; "": it waits for others.
  std::function<void(const std::string& section, int64_t done, int64_t total)> begins = {};
  std::function<void(const Part&)> reference_done = {};  // on rank 0, as what follows
  std::function<void(const Comparison&)> compared = {};
};

// Collective. Throws Error(usage) for a config that one rank cannot run, and if no layout is left to compare.
Report verify(const std::string& name, const train::ExperimentConfig& config, comm::World& world,
              const Options& options, const Listener& listener = {});

// For people, at most 100 columns: a section of the table, its rows with what failed below them, and the rest.
std::string heading_of(const Part& part);
std::string row_of(const Comparison& comparison);
std::string misfits_of(const Report& report);  // "" if all layouts fit
std::string verdict_of(const Report& report);
std::string markdown_of(const Report& report);  // the same as a table of docs/equivalence.md
nlohmann::ordered_json json_of(const Report& report);

}  // namespace switchyard::verify
