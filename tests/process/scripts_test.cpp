// Scripts on copies of themselves, in a tree of a few files and with stand-ins for the tools that change a system:
// nothing outside the scratch folder is touched.
#include "tests/support/runs.h"

namespace switchyard::test {
namespace {

class Scripts : public testing::Test {
 protected:
  std::string tree(const std::string& file) const { return scratch_.path("tree/" + file); }
  std::string write(const std::string& file, std::string_view text) const {
    return scratch_.write("tree/" + file, text);
  }
  std::string copy(const std::string& file) const {
    fs::create_directories(fs::path(tree(file)).parent_path());
    fs::copy_file(source_file(file), tree(file), fs::copy_options::overwrite_existing);
    return tree(file);
  }
  // A program that is found before the system's own of this name. $calls is a file for what it was called with.
  void stand_in(const std::string& name, const std::string& script) const {
    const std::string file =
        scratch_.write("bin/" + name, fmt::format("#!/bin/sh\ncalls={}\n{}\n", scratch_.path("calls"), script));
    fs::permissions(file, fs::perms::owner_all);
  }
  Outcome run_script(const Command& command, Environment environment = {}) const {
    environment.try_emplace("PATH", scratch_.path("bin") + ":" + getenv("PATH"));
    return run(command, environment);
  }
  std::string calls() const { return scratch_.read("calls"); }

  Scratch scratch_;
};

class Layers : public Scripts {
 protected:
  Layers() {
    write("scripts/layers.txt", "# module: may use\nbase:\nkernels: base\ntensor: base\nops:    tensor\n");
    write("include/switchyard/base/error.h", "#pragma once\n");
    write("include/switchyard/tensor/tensor.h", "#pragma once\n#include \"switchyard/base/error.h\"\n");
    write("src/ops/add.cpp", "#include \"switchyard/base/error.h\"\n");  // may use what those it may use may use
    write("kernels/add.h", "#pragma once\n");
    write("tests/ops/add_test.cpp", "#include \"switchyard/ops/add.h\"\n");  // tests may use everything
  }
  Outcome check_layers() const { return run({source_file("scripts/check-layers.sh"), tree("")}); }
};

TEST_F(Layers, AnIncludeAgainstTheTableIsRefusedWithTheNamesOfBothFiles) {
  expect_outcome(check_layers(), 0);
  write("include/switchyard/base/error.h", "#pragma once\n#include \"switchyard/tensor/tensor.h\"\n");
  expect_outcome(check_layers(), 1,
                 {"include/switchyard/base/error.h:2 includes include/switchyard/tensor/tensor.h: base may not use "
                  "tensor"});
}

TEST_F(Layers, AHeaderInSrcBelongsToItsModuleAlone) {
  write("src/tensor/strides.h", "#pragma once\n");
  write("src/tensor/tensor.cpp", "#include \"tensor/strides.h\"\n");
  expect_outcome(check_layers(), 0);
  write("src/ops/add.cpp", "#include \"tensor/strides.h\"\n");
  expect_outcome(check_layers(), 1, {"src/ops/add.cpp:1 includes src/tensor/strides.h", "its own module"});
}

TEST_F(Layers, AModuleThatIsNotInTheTableAndAFileThatIsTooLongAreNamed) {
  write("scripts/layers.txt", "base:\ntensor: base\nops: tensor\n");
  std::string lines;
  for (int i = 0; i < 401; ++i) lines += "//\n";
  write("src/ops/long.cpp", lines);
  expect_outcome(check_layers(), 1,
                 {"kernels/add.h: module kernels is not in scripts/layers.txt", "src/ops/long.cpp: longer than 400"});
}

TEST_F(Layers, TheSimulatorWithoutItsTestsHasAMostOfLines) {
  std::string lines;
  for (int i = 0; i < 400; ++i) lines += "//\n";
  for (int k = 0; k < 12; ++k) write(fmt::format("tests/simgpu/part_{}.cpp", k), lines);
  for (const char* test : {"warp_test.cpp", "rank_program.cpp", "check_kernels.cu", "support.h"})
    write(std::string("tests/simgpu/") + test, lines);
  expect_outcome(check_layers(), 0);
  write("tests/simgpu/more.h", lines);
  expect_outcome(check_layers(), 1, {"tests/simgpu: 5200 lines without its tests, and 5150 are the most"});
}

TEST_F(Layers, WhatHasNoPlaceInAKernelIsNamedWithItsLine) {
  write("src/ops/print.cpp", "void f() { assert(1); }\n");
  write("kernels/cuda/add.cu", "// no assert\nstatic_assert(true);\nint printf_count;\n");
  expect_outcome(check_layers(), 0);
  write("kernels/cuda/add.cu",
        "#include <cooperative_groups.h>\n#if __CUDA_ARCH__ >= 900\n#endif\n\nvoid f() { printf(\"\"); assert(true); "
        "}\n");
  write("kernels/cuda/tile.cuh", "namespace cg = cooperative_groups;\n");
  expect_outcome(check_layers(), 1,
                 {"kernels/cuda/add.cu:1: cooperative_groups has no place in a kernel\n",
                  "kernels/cuda/add.cu:2: __CUDA_ARCH__ has no place", "kernels/cuda/add.cu:5: printf has no place",
                  "kernels/cuda/add.cu:5: assert has no place", "kernels/cuda/tile.cuh:1: cooperative_groups has no"});
}

constexpr const char* kAsRoot = "echo 0";
constexpr const char* kAsUser = "echo 1000";

class Setup : public Scripts {
 protected:
  Setup() {
    copy("scripts/setup.sh");
    if (run({"dpkg-query", "-W", "dpkg"}).code != 0) skip_reason_ = "this system has no packages of Debian";
    write("scripts/packages.txt", "# Debian packages\ndpkg\nnot-a-package\n");
    stand_in("id", kAsRoot);
  }
  void SetUp() override {
    if (!skip_reason_.empty()) GTEST_SKIP() << skip_reason_;
  }
  Outcome set_up(const Environment& environment = {}) const {
    return run_script({tree("scripts/setup.sh")}, environment);
  }
  std::string skip_reason_;
};

TEST_F(Setup, WithEverythingThereNothingIsCalled) {
  write("scripts/packages.txt", "# Debian packages\ndpkg\n");
  stand_in("id", kAsUser);
  for (const char* tool : {"apt-get", "sudo"}) stand_in(tool, "echo \"$0 $*\" >> $calls; exit 1");
  const Outcome outcome = set_up();
  expect_outcome(outcome, 0);
  EXPECT_EQ(outcome.text() + calls(), "");
}

TEST_F(Setup, WhatIsMissingIsInstalledWithNewListsIfNeedBe) {
  stand_in("apt-get", "echo \"$*\" >> $calls; grep -q update $calls");
  expect_outcome(set_up(), 0, {"setup: installing not-a-package\n"});
  const std::string install = "install -y --no-install-recommends not-a-package\n";
  EXPECT_EQ(calls(), install + "update\n" + install);
}

TEST_F(Setup, WhatIsStillMissingIsNamedBelowTheReasons) {
  stand_in("apt-get", "echo Reading package lists...; echo 'E: Unable to locate package not-a-package' >&2; exit 100");
  const Outcome outcome = set_up();
  expect_outcome(outcome, 69, {"E: Unable to locate package not-a-package\nsetup: still missing: not-a-package ("});
  EXPECT_EQ(outcome.err.find("Reading"), std::string::npos);
}

TEST_F(Setup, AReasonThatIsNotOfAptIsShownToo) {
  stand_in("id", kAsUser);
  stand_in("sudo", "echo 'sudo: a password is required' >&2; exit 1");
  expect_outcome(set_up(), 69, {"sudo: a password is required\nsetup: still missing: not-a-package ("});
}

TEST_F(Setup, AUserWithoutSudoIsToldWhatToInstall) {
  stand_in("id", kAsUser);
  for (const std::string tool : {"bash", "comm", "dirname", "dpkg-query", "grep", "sed", "sort"}) {
    const Outcome found = run({"sh", "-c", "command -v " + tool});
    fs::create_symlink(found.out.substr(0, found.out.find('\n')), scratch_.path("bin/" + tool));
  }
  expect_outcome(set_up({{"PATH", scratch_.path("bin")}}), 69,
                 {"setup: missing packages: not-a-package; install them as root (there is no sudo here)"});
}

class PrepareCorpus : public Scripts {
 protected:
  PrepareCorpus() {
    for (const char* script : {"scripts/lib.sh", "scripts/prepare-corpus.sh"}) copy(script);
    fs::create_directories(tree("build/release"));
    fs::create_symlink(program(), tree("build/release/switchyard"));
    stand_in("id", kAsRoot);
  }
  Outcome prepare() const { return run_script({tree("scripts/prepare-corpus.sh")}); }
  // An apt-get that fetches a package of 40 such documents, which end with their numbers.
  void stand_in_for_package(const std::string& document) const {
    scratch_.write("package/DEBIAN/control",
                   "Package: linux-doc-6.1\nVersion: 6.1.0-test\nArchitecture: all\nMaintainer: nobody <a@b.c>\n"
                   "Description: documents\n");
    for (int d = 0; d < 40; ++d)
      scratch_.write(fmt::format("package/usr/share/doc/linux-doc-6.1/html/_sources/{:02}.rst.txt", d),
                     fmt::format("{} {}\n", document, d));
    fs::permissions(scratch_.path("package/DEBIAN"), fs::perms(0755));
    const std::string package = scratch_.path("linux-doc-6.1.deb");
    expect_outcome(run({"dpkg-deb", "--build", scratch_.path("package"), package}), 0);
    stand_in("apt-get", fmt::format("echo \"apt-get $*\" >> $calls; cp {} .", package));
  }
  void expect_nothing_left() const {
    EXPECT_FALSE(fs::exists(tree("data/linux-doc-6.1.version")));
    EXPECT_TRUE(!fs::exists(tree("data")) || fs::is_empty(tree("data")));
  }
};

TEST_F(PrepareCorpus, WithoutThePackageTheReasonIsShown) {
  stand_in("apt-get", "echo Hit:1; echo 'E: Unable to locate package linux-doc-6.1' >&2; exit 100");
  const Outcome outcome = prepare();
  expect_outcome(outcome, 74, {"E: Unable to locate package linux-doc-6.1\n", "cannot fetch", "linux-doc-6.1"});
  EXPECT_EQ(outcome.err.find("Hit:1"), std::string::npos);
  expect_nothing_left();
}

TEST_F(PrepareCorpus, AReasonThatIsNotOfAptIsShownToo) {
  stand_in("apt-get", "echo 'no space is left for a log' >&2; exit 100");
  expect_outcome(prepare(), 74, {"no space is left for a log\n", "cannot fetch", "linux-doc-6.1"});
  stand_in("id", kAsUser);
  stand_in("apt-get", "echo 'E: Unable to locate package linux-doc-6.1' >&2; exit 100");
  stand_in("sudo", "echo 'sudo: a password is required' >&2; exit 1");
  expect_outcome(prepare(), 74, {"E: Unable to locate package", "sudo: a password is required\n", "cannot fetch"});
  expect_nothing_left();
}

TEST_F(PrepareCorpus, ThePackageIsFetchedUnpackedAndTokenizedOnce) {
  if (run({"dpkg-deb", "--version"}).code != 0) GTEST_SKIP() << "this system has no dpkg-deb";
  stand_in_for_package("Document");
  expect_outcome(prepare(), 0, {"corpus: linux-doc-6.1 6.1.0-test, 40 documents"});
  EXPECT_EQ(scratch_.read("tree/data/linux-doc-6.1.version"), "6.1.0-test\n");
  std::set<std::string> made;
  for (const auto& entry : fs::directory_iterator(tree("data"))) made.insert(entry.path().filename());
  EXPECT_EQ(made.count("linux-doc-6.1.bin") + made.count("linux-doc-6.1-valid.bin"), 2u)
      << testing::PrintToString(made);
  for (const std::string& name : made) EXPECT_FALSE(name.starts_with("unpack")) << name << " is left over";
  expect_outcome(prepare(), 0, {"corpus: linux-doc-6.1 6.1.0-test, 40 documents"});
  EXPECT_EQ(count_of(calls(), "download linux-doc-6.1"), 1);
  fs::remove(tree("data/linux-doc-6.1.idx"));  // what is not whole is made anew
  expect_outcome(prepare(), 0, {"corpus: linux-doc-6.1 6.1.0-test, 40 documents"});
  EXPECT_EQ(count_of(calls(), "download linux-doc-6.1"), 2);
  EXPECT_TRUE(fs::exists(tree("data/linux-doc-6.1.idx")));
}

// The whole way, of a model that is made in a moment.
class Quickstart : public PrepareCorpus {
 protected:
  Quickstart() {
    for (const char* script : {"scripts/quickstart.sh", "scripts/setup.sh"}) copy(script);
    write("scripts/packages.txt", "dpkg\n");
    write("configs/quickstart.yaml",
          "model: {family: qwen2_moe, hidden_size: 16, num_layers: 1, attention: {num_heads: 2, num_kv_heads: 2, "
          "head_dim: 8, bias: qkv}, moe: {num_experts: 4, top_k: 2, intermediate_size: 16, shared: {num_experts: 1, "
          "intermediate_size: 16, gate: sigmoid}, router: {normalize: false}}}\n"
          "parallel: {expert: 2}\n"
          "data: {tokenizer: byte, sequence_length: 32, train: [{path: data/linux-doc-6.1}], "
          "valid: [{path: data/linux-doc-6.1-valid}]}\n"
          "train: {steps: 9, global_batch_size: 2, micro_batch_size: 1}\n"
          "schedule: {kind: constant, lr: 1e-3}\neval: {every: 4, batches: 1}\ncheckpoint: {every: 2, keep: 2}\n");
    stand_in("cmake",
             "echo cmake >> $calls; mkdir -p build/release; touch build/release/build.ninja\n"
             "bash -c 'source scripts/lib.sh; this_processor > \"$root/build/release/processor.txt\"'");
    stand_in("ninja", "echo ninja >> $calls");
  }
  Outcome start(const std::string& steps) const {
    fs::remove(scratch_.path("calls"));
    return run_script({tree("scripts/quickstart.sh"), "--steps", steps});
  }
  std::string verdict(const std::string& run) const { return scratch_.read("tree/" + run + "/verdict.json"); }
};

TEST_F(Quickstart, ASecondCallInstallsAndFetchesNothingAndKeepsTheFirstRun) {
  if (run({"dpkg-deb", "--version"}).code != 0) GTEST_SKIP() << "this system has no dpkg-deb";
  stand_in_for_package(std::string(400, 'a'));
  expect_outcome(start("4"), 0,
                 {"corpus: linux-doc-6.1 6.1.0-test", "step 4/4", "bits per byte", "every hash matches", "done in"});
  EXPECT_EQ(calls(), "cmake\nninja\napt-get -o APT::Sandbox::User=root download linux-doc-6.1\n");

  const Outcome again = start("4");
  expect_outcome(again, 0, {"the finished run in runs/quickstart is now in runs/quickstart.1", "step 4/4", "done in"});
  EXPECT_EQ(again.text().find("installing"), std::string::npos) << again.text();
  EXPECT_EQ(calls(), "ninja\n");
  for (const char* run : {"runs/quickstart", "runs/quickstart.1"})
    EXPECT_NE(verdict(run).find("finished"), std::string::npos) << run;

  fs::remove(tree("runs/quickstart/verdict.json"));  // as of a run that was killed
  fs::remove_all(tree("runs/quickstart/checkpoints/step-00000004"));
  const Outcome resumed = start("4");
  expect_outcome(resumed, 0, {"an unfinished run of 4 steps is in runs/quickstart: it goes on", "step 4/4", "done in"});
  EXPECT_EQ(resumed.text().find("step 2/4"), std::string::npos) << resumed.text();
  expect_outcome(start("6"), 0, {"the finished run in runs/quickstart is now in runs/quickstart.2", "step 6/6"});
}

// scripts/build.sh, with a cmake that leaves what a configured folder has.
class Build : public Scripts {
 protected:
  Build() {
    for (const char* script : {"scripts/lib.sh", "scripts/build.sh"}) copy(script);
    processor_ = run({"bash", "-c", "source \"$0\"; this_processor", tree("scripts/lib.sh")}).out;
    scratch_.write("processor", processor_);
    stand_in("cmake",
             fmt::format("echo \"cmake $*\" >> $calls; mkdir -p build/release; touch build/release/build.ninja; "
                         "cp {} build/release/processor.txt",
                         scratch_.path("processor")));
    stand_in("ninja", "echo \"ninja $*\" >> $calls");
  }
  Outcome build() const {
    fs::remove(scratch_.path("calls"));
    return run_script({tree("scripts/build.sh"), "release", "switchyard"});
  }
  std::string processor_;
  std::string ninja_ = fmt::format("ninja -C {} switchyard\n", tree("build/release"));
  const std::string cmake_ = "cmake --preset release\n";
};

TEST_F(Build, AFolderIsConfiguredOnceForAProcessor) {
  expect_outcome(build(), 0);
  EXPECT_EQ(calls(), cmake_ + ninja_);
  expect_outcome(build(), 0);
  EXPECT_EQ(calls(), ninja_);
}

TEST_F(Build, AFolderOfAnotherProcessorIsConfiguredAgain) {
  expect_outcome(build(), 0);
  write("build/release/processor.txt", processor_.substr(0, processor_.size() - 1) + " time-travel\n");
  expect_outcome(build(), 0, {"another processor than at the last build: configuring release again"});
  EXPECT_EQ(calls(), cmake_ + ninja_);
  expect_outcome(build(), 0);
  EXPECT_EQ(calls(), ninja_);
}

TEST_F(Build, ACmakeThatFailsIsHeard) {
  stand_in("cmake", "echo 'No CMAKE_CXX_COMPILER could be found'; exit 1");
  expect_outcome(build(), 70, {"No CMAKE_CXX_COMPILER could be found", "cmake could not configure preset release"});
  EXPECT_EQ(calls(), "");
}

// Else every build would configure again.
TEST_F(Build, CmakeDescribesAProcessorAsTheScriptsDo) {
  const auto keys = [](const std::string& text) {
    std::string found;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) found += line.substr(0, line.find(':') + 2) + "|";
    return found + (text.ends_with("\n") ? "" : " without an end");
  };
  EXPECT_EQ(keys(read_text(build_folder() / "processor.txt")), keys(processor_));
}

TEST_F(Scripts, WithoutAGpuTheCheckOfGpusSaysSoAtOnce) {
  stand_in("nvidia-smi", "echo 'NVIDIA-SMI has failed'; exit 9");
  const Outcome outcome = run_script({source_file("scripts/gpu-check.sh"), scratch_.path("report")});
  expect_outcome(outcome, 69);
  EXPECT_EQ(outcome.text(),
            "gpu-check.sh: no GPU here (nvidia-smi shows none); --smoke runs the same on simulated ones\n");
  EXPECT_FALSE(fs::exists(scratch_.path("report")));
}

// launch/slurm.sh, with an mpirun that leaves this verdict and exit code, and a checkpoint if it is told to.
class BatchScript : public Scripts {
 protected:
  BatchScript() {
    stand_in("mpirun",
             "rm -f \"$RUN/verdict.json\"; [ -z \"$STEP\" ] || mkdir -p \"$RUN/checkpoints/step-$STEP\"\n"
             "[ -z \"$VERDICT\" ] || printf '{\\n  \"verdict\": \"%s\",\\n  \"reason\": \"\"\\n}\\n' \"$VERDICT\" > "
             "\"$RUN/verdict.json\"\n"
             "exit \"$CODE\"");
    stand_in("scontrol", "echo \"scontrol $*\" >> $calls");
    fs::create_directories(dir_);
  }
  Outcome attempt(const std::string& verdict, int code, const std::string& step = "") const {
    fs::remove(scratch_.path("calls"));
    return run_script({source_file("launch/slurm.sh"), dir_, "mine.yaml"}, {{"RUN", dir_},
                                                                            {"VERDICT", verdict},
                                                                            {"CODE", std::to_string(code)},
                                                                            {"STEP", step},
                                                                            {"SLURM_JOB_ID", "7"},
                                                                            {"SLURM_SUBMIT_DIR", scratch_.path("")}});
  }
  bool is_queued_again() const { return calls() == "scontrol requeue 7\n"; }
  std::string dir_ = scratch_.path("run");
};

TEST_F(BatchScript, IsQueuedAgainAfterWhatMayBeOverNextTime) {
  struct End {
    const char* verdict;
    int code;
    bool again;
    int ends;
  };
  for (const End& end : {End{"finished", 0, false, 0}, End{"resume", 75, true, 0}, End{"", 137, true, 0},
                         End{"", 205, true, 0}, End{"failed", 74, true, 0}, End{"failed", 76, true, 0},
                         End{"failed", 70, false, 70}, End{"failed", 65, false, 65}, End{"failed", 77, false, 77},
                         End{"failed", 78, false, 78}, End{"failed", 0, false, 70}, End{"", 64, false, 64}}) {
    SCOPED_TRACE(fmt::format("verdict '{}', exit code {}", end.verdict, end.code));
    fs::remove(dir_ + ".attempts-without-progress");
    expect_outcome(attempt(end.verdict, end.code), end.ends, {"attempt 0: mpirun ended with"});
    EXPECT_EQ(is_queued_again(), end.again);
  }
}

TEST_F(BatchScript, GivesUpAfterThreeAttemptsInARowWithoutACheckpoint) {
  expect_outcome(attempt("failed", 74), 0);
  expect_outcome(attempt("failed", 76), 0);
  expect_outcome(attempt("failed", 74, "00000010"), 0, {"checkpoint -1 -> 10"});  // progress: counted anew
  expect_outcome(attempt("", 137), 0);
  expect_outcome(attempt("failed", 76), 0);
  EXPECT_TRUE(is_queued_again());
  expect_outcome(attempt("failed", 74), 74, {"three attempts in a row have saved no new checkpoint"});
  EXPECT_EQ(calls(), "");
}

}  // namespace
}  // namespace switchyard::test
