// The record of a step has the keys of docs/metrics.md, in that order, and the values that belong to them.
#include "switchyard/train/logbook.h"
#include "tests/train/tiny_experiment.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <sstream>

namespace switchyard::train {
namespace {

using Json = nlohmann::ordered_json;

StepFacts facts() {
  StepFacts f;
  f.step = 12;
  f.tokens = 240;
  f.lr = 0.0015;
  f.seconds = 0.5;
  f.memory_bytes = 123456789012;
  f.data_hash = 0xabc;
  f.result.loss = 2.0 / 3;
  f.result.lm_loss = 0.5;
  f.result.aux = {{"switch", 1.25}, {"z_loss", 3}};
  f.result.grad_norm = 0.75;
  f.result.routed_tokens = 20;
  f.result.expert_counts = {{10, 10, 10, 10}, {40, 0, 0, 0}};
  f.result.min_margins = {0.125, 0.25};
  f.result.traffic = {{.ranks_per_token_mean = 1, .nodes_per_token_mean = 1, .rows_N = {40}},
                      {.ranks_per_token_mean = 1.5,
                       .nodes_per_token_mean = 1.25,
                       .ranks_per_token_max = 4,
                       .nodes_per_token_max = 2,
                       .bytes_rank = 7,
                       .bytes_node = 123456789012,
                       .bytes_network = 9,
                       .rows_N = {30, 10}}};
  return f;
}

Json record(const ExperimentConfig& config, const StepFacts& f) {
  auto world = comm::World::self();
  Session session(config, world);
  const std::string line = record_of(f, session).line();
  EXPECT_EQ(line.find('\n'), line.size() - 1);
  return Json::parse(line);
}

std::vector<std::string> keys_of(const Json& json) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : json.items()) keys.push_back(key);
  return keys;
}

// The keys in the first column of the page's table, in its order. One that begins with / stands for the key before it
// with another last part.
std::vector<std::string> documented_keys() {
  std::ifstream page("docs/metrics.md");
  std::vector<std::string> keys;
  for (std::string line; std::getline(page, line);) {
    if (!line.starts_with("| `")) continue;
    std::istringstream cell(line.substr(0, line.find(" | ", 2)));
    for (std::string outside, key; std::getline(cell, outside, '`') && std::getline(cell, key, '`');)
      keys.push_back(key.starts_with('/') ? keys.back().substr(0, keys.back().rfind('/')) + key : key);
  }
  return keys;
}

// How the page names the key of a record.
std::string documented_name(const std::string& key) {
  if (key.starts_with("aux/")) return "aux/<kind>";
  return std::regex_replace(key, std::regex("/[0-9]+/"), "/<layer>/");
}

TEST(Logbook, KeysAreThoseOfTheDocumentedPageInItsOrder) {
  if (!std::filesystem::exists("docs/metrics.md")) GTEST_SKIP() << "the current folder is not the repository's root";
  ExperimentConfig config = test::tiny_experiment();
  config.model.moe.balance = {{.kind = moe::BalanceKind::bias, .rate = 0.01}};
  StepFacts f = facts();
  f.evaluation = Evaluation{.loss = 1.5, .bits_per_byte = 2.5, .loss_tokens = 7, .text_bytes = 7, .samples = 1};
  const std::vector<std::string> keys = keys_of(record(config, f));
  std::vector<std::string> names;  // of the page, each where it is first; both layers have the same ones
  std::map<std::string, std::vector<std::string>> of_layer;
  for (const std::string& key : keys) {
    const std::string name = documented_name(key);
    if (std::ranges::find(names, name) == names.end()) names.push_back(name);
    for (const std::string layer : {"/1/", "/2/"})
      if (key.find(layer) != std::string::npos) of_layer[layer].push_back(name);
  }
  EXPECT_EQ(names, documented_keys());
  EXPECT_GT(of_layer["/1/"].size(), 10u);
  EXPECT_EQ(of_layer["/1/"], of_layer["/2/"]);
}

TEST(Logbook, ValuesAreThoseOfTheStep) {
  const Json json = record(test::tiny_experiment(), facts());
  EXPECT_EQ(json["step"], 12);
  EXPECT_EQ(json["tokens"], 240);
  EXPECT_EQ(json["loss"], 2.0 / 3);  // all 17 digits in an f64 run
  EXPECT_EQ(json["aux/switch"], 1.25);
  EXPECT_EQ(json["lr"], 0.0015);
  EXPECT_EQ(json["tokens_per_second"], 40);
  EXPECT_EQ(json["memory_bytes"], 123456789012);
  EXPECT_EQ(json["data_hash"], "0000000000000abc");
  EXPECT_EQ(json["load/2/counts"], (Json{40, 0, 0, 0}));
  EXPECT_EQ(json["load/1/max_over_mean"], 1);
  EXPECT_EQ(json["load/1/entropy"], 1);
  EXPECT_EQ(json["load/2/max_over_mean"], 4);
  EXPECT_EQ(json["load/2/entropy"], 0);
  EXPECT_EQ(json["load/2/max_over_mean_rank"], 1);  // one rank holds them all
  EXPECT_EQ(json["load/2/max_over_mean_node"], 1.5);
  EXPECT_EQ(json["routing/2/ranks_per_token_mean"], 1.5);
  EXPECT_EQ(json["routing/2/ranks_per_token_max"], 4);
  EXPECT_EQ(json["routing/2/nodes_per_token_mean"], 1.25);
  EXPECT_EQ(json["routing/2/nodes_per_token_max"], 2);
  EXPECT_EQ(json["routing/2/bytes_rank"], 7);
  EXPECT_EQ(json["routing/2/bytes_node"], 123456789012);
  EXPECT_EQ(json["routing/2/bytes_network"], 9);
  EXPECT_EQ(json["routing/2/min_margin"], 0.25);
  EXPECT_FALSE(json.contains("bias/1/min"));
  EXPECT_FALSE(json.contains("eval/loss"));
}

TEST(Logbook, LossesOfOtherDtypesHaveNineDigits) {
  ExperimentConfig config = test::tiny_experiment();
  config.train.dtype = DType::f32;
  EXPECT_EQ(record(config, facts())["loss"], 0.666666667);
}

TEST(Logbook, WithoutExpertLoadThereAreNoKeysOfLayers) {
  ExperimentConfig config = test::tiny_experiment();
  config.metrics.expert_load = false;
  EXPECT_EQ(keys_of(record(config, facts())).back(), "data_hash");
}

TEST(Logbook, NumbersThatAreNotFiniteAreNull) {
  StepFacts f = facts();
  f.result.loss = std::nan("");
  f.result.grad_norm = INFINITY;
  const Json json = record(test::tiny_experiment(), f);
  EXPECT_TRUE(json["loss"].is_null());
  EXPECT_TRUE(json["grad_norm"].is_null());
}

TEST(Logbook, TheLineShowsTheMeanLoadOfTheLayers) {
  const metrics::StepLine line = line_of(facts(), 100);
  EXPECT_EQ(line.step, 12);
  EXPECT_EQ(line.steps, 100);
  EXPECT_EQ(line.tokens_per_second, 40);
  EXPECT_EQ(line.load, 2.5);
  StepFacts dense = facts();
  dense.result.expert_counts.clear();
  EXPECT_EQ(line_of(dense, 100).load, 0);
}

}  // namespace
}  // namespace switchyard::train
