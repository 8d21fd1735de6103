// The whole experiment, and the sections `run`, `train` and `eval`. Keys and defaults: docs/config.md.
#pragma once

#include "switchyard/checkpoint/config.h"
#include "switchyard/data/config.h"
#include "switchyard/metrics/config.h"
#include "switchyard/model/config.h"
#include "switchyard/optim/config.h"
#include "switchyard/parallel/config.h"

#include <string>

namespace switchyard::train {

enum class DeviceChoice { automatic, cpu, cuda };
constexpr auto names_of(DeviceChoice) { return config::names("auto", "cpu", "cuda"); }

struct RunConfig {
  std::string dir = {};
  DeviceChoice device = DeviceChoice::automatic;
  int64_t threads = 0;
  int64_t seed = 1234;
  int64_t watchdog = 600;
  bool cuda_checked = false;
  bool cuda_pool = true;

  void fields(auto& f) {
    f("dir", dir, "all output goes below this folder", {.required = true});
    f("device", device,
      "what a rank computes on; auto: a GPU where the program has CUDA and the machine one for each rank");
    f("threads", threads, "threads per rank; 0: cores of the node / ranks on the node", {.min = 0, .max = 4096});
    f("seed", seed, "of initial weights and of the order of samples", {.min = 0, .max = 9007199254740992.0});
    f("watchdog", watchdog,
      "seconds that the start, a step, a save or an evaluation may take before the job ends with 76; 0: never",
      {.min = 0});
    f("cuda_checked", cuda_checked, "synchronise after every operation, so that a fault names the op");
    f("cuda_pool", cuda_pool, "false: every allocation straight to the driver");
  }
  bool operator==(const RunConfig&) const = default;
};

using model::Recompute;

struct TrainConfig {
  int64_t steps = 200;
  int64_t global_batch_size = 16;
  int64_t micro_batch_size = 4;
  DType dtype = DType::bf16;
  int64_t max_bad_steps = 3;
  Recompute recompute = Recompute::none;
  double clip_grad = 1.0;

  void fields(auto& f) {
    f("steps", steps, "optimizer steps", {.min = 1});
    f("global_batch_size", global_batch_size, "sequences per step over all ranks", {.min = 1});
    f("micro_batch_size", micro_batch_size, "sequences per rank and pass", {.min = 1});
    f("dtype", dtype, "of weights and activations; bf16 has f32 masters, f64 is for proofs");
    f("max_bad_steps", max_bad_steps, "steps in a row with a non-finite loss or gradient norm before exit 77",
      {.min = 1});
    f("recompute", recompute, "what backward computes again instead of keeping it");
    f("clip_grad", clip_grad, "largest global gradient norm; 0: no clipping", {.min = 0});
  }
  void validate() const;
  bool operator==(const TrainConfig&) const = default;
};

struct EvalConfig {
  int64_t every = 50;
  int64_t batches = 8;

  void fields(auto& f) {
    f("every", every, "steps between evaluations; 0: only at the end", {.min = 0});
    f("batches", batches, "global batches of held-out text", {.min = 1});
  }
  bool operator==(const EvalConfig&) const = default;
};

struct ExperimentConfig {
  RunConfig run = {};
  model::ModelConfig model = {};
  parallel::ParallelConfig parallel = {};
  data::DataConfig data = {};
  TrainConfig train = {};
  optim::OptimizerConfig optimizer = {};
  optim::ScheduleConfig schedule = {};
  EvalConfig eval = {};
  checkpoint::CheckpointConfig checkpoint = {};
  metrics::MetricsConfig metrics = {};

  void fields(auto& f) {
    f("run", run, "");
    f("model", model, "");
    f("parallel", parallel, "");
    f("data", data, "");
    f("train", train, "");
    f("optimizer", optimizer, "");
    f("schedule", schedule, "");
    f("eval", eval, "");
    f("checkpoint", checkpoint, "");
    f("metrics", metrics, "");
  }
  void validate() const;  // rules between sections
  bool operator==(const ExperimentConfig&) const = default;
};

// Data-parallel ranks of `world_size` ranks. Throws Error(usage), with both numbers, if mesh or batch do not fit it.
int64_t check_world(const ExperimentConfig& config, int64_t world_size);

}  // namespace switchyard::train
