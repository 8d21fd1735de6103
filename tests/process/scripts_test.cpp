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

}  // namespace
}  // namespace switchyard::test
