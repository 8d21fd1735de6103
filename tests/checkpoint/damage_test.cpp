// Damaged, incomplete and hostile checkpoints: each is refused with the file's name, and the run falls back on an older
// one.
#include "switchyard/checkpoint/inspect.h"

#include "switchyard/base/hash.h"
#include "tests/checkpoint/state.h"
#include "tests/support/ranks.h"
#include "tests/support/scratch.h"

#include <gmock/gmock.h>

#include <cmath>
#include <csignal>

#include <sys/stat.h>
#include <unistd.h>

namespace switchyard::test {
namespace {

namespace fs = std::filesystem;
using checkpoint::find;
using testing::HasSubstr;

// A checkpoint of step 1, by two ranks.
class Damage : public testing::Test {
 protected:
  void SetUp() override {
    run_ranks(2, [&](comm::World& world) { ASSERT_TRUE(save_step(scratch_.path(""), world.all(), 1).saved); });
  }
  std::string path(const std::string& file) const { return scratch_.path(kStep + file); }
  std::string read(const std::string& file) const { return scratch_.read(kStep + file); }
  void write(const std::string& file, std::string_view content) const { scratch_.write(kStep + file, content); }

  // Refused as itself and as the run's only one, and found by verify; each time with the file's name.
  void expect_refused(const std::string& file, const std::string& why) const {
    for (const std::string& where : {path(""), scratch_.path("")})
      expect_error(ExitCode::input, {file}, [&] { find(where, alone_); });
    const auto report = checkpoint::verify(path(""));
    EXPECT_EQ(report.code, ExitCode::input) << why;
    EXPECT_THAT(report.text, HasSubstr(file)) << why;
  }

  static constexpr const char* kStep = "checkpoints/step-00000001/";
  Scratch scratch_;
  comm::Group alone_;
};

TEST_F(Damage, AnyFlippedByteIsRefusedAndItsFileNamed) {
  for (const std::string file : {"manifest", "rank-00000.bin", "rank-00001.bin"}) {
    const std::string content = read(file);
    ASSERT_FALSE(content.empty());
    for (size_t i = 0; i < content.size(); ++i) {
      std::string flipped = content;
      flipped[i] = static_cast<char>(flipped[i] ^ (1 << (i % 8)));
      write(file, flipped);
      expect_refused(file, fmt::format("byte {}", i));
    }
    write(file, content);
  }
  EXPECT_EQ(checkpoint::verify(path("")).code, ExitCode::finished);
}

TEST_F(Damage, AnyTruncationIsRefusedAndItsFileNamed) {
  for (const std::string file : {"manifest", "rank-00000.bin", "rank-00001.bin"}) {
    const std::string content = read(file);
    for (size_t length = 0; length < content.size(); ++length) {
      write(file, std::string_view(content).substr(0, length));
      expect_refused(file, fmt::format("{} bytes", length));
    }
    write(file, content + "x");
    expect_refused(file, "one byte more");
    write(file, content);
  }
}

TEST_F(Damage, MissingSwappedAndStaleFilesAreRefused) {
  const std::string content = read("rank-00001.bin");
  fs::remove(path("rank-00001.bin"));
  expect_refused("rank-00001.bin", "missing");
  fs::create_directory(path("rank-00001.bin"));
  expect_refused("rank-00001.bin", "a folder");
  fs::remove(path("rank-00001.bin"));
  ASSERT_EQ(mkfifo(path("rank-00001.bin").c_str(), 0600), 0);
  expect_refused("rank-00001.bin", "a FIFO");
  fs::remove(path("rank-00001.bin"));
  scratch_.write("elsewhere", content);
  fs::create_symlink(scratch_.path("elsewhere"), path("rank-00001.bin"));
  expect_refused("rank-00001.bin", "a link to the right bytes");
  fs::remove(path("rank-00001.bin"));

  run_ranks(2, [&](comm::World& world) { save_step(scratch_.path("other"), world.all(), 2); });
  write("rank-00001.bin", scratch_.read("other/checkpoints/step-00000002/rank-00001.bin"));
  expect_refused("rank-00001.bin", "from another step");
  write("rank-00001.bin", content);
  write("manifest", scratch_.read("other/checkpoints/step-00000002/manifest"));
  expect_refused("rank-00000.bin", "manifest from another step");
}

TEST_F(Damage, SwappedFilesOfOneSizeAreRefused) {
  const Scratch scratch;
  run_ranks(2, [&](comm::World& world) {
    const std::vector<float> data(8, static_cast<float>(world.rank()));
    const checkpoint::Entry entry{"model/w", {2, 8}, DType::f32, {{{world.rank(), 0}, {1, 8}}, 0, 8}, data.data()};
    checkpoint::save(scratch.path(""), world.all(), std::span(&entry, 1), meta_of(1), 3);
  });
  const fs::path folder = scratch.path(kStep);
  fs::rename(folder / "rank-00000.bin", folder / "aside");
  fs::rename(folder / "rank-00001.bin", folder / "rank-00000.bin");
  fs::rename(folder / "aside", folder / "rank-00001.bin");
  expect_error(ExitCode::input, {"rank-00000.bin is damaged", "model/w"}, [&] { find(folder, alone_); });
}

TEST_F(Damage, ASurplusFileIsToldByVerify) {
  write("rank-00002.bin", "x");
  EXPECT_TRUE(loads_as_step(*find(path(""), alone_), alone_, 1));
  const auto report = checkpoint::verify(scratch_.path(""));
  EXPECT_EQ(report.code, ExitCode::input);
  EXPECT_THAT(report.text, HasSubstr("rank-00002.bin does not belong"));
}

TEST_F(Damage, OfANamedCheckpointCanBeProvedAsItIsRead) {
  std::string content = read("rank-00000.bin");
  content[3] ^= 4;
  write("rank-00000.bin", content);
  const auto found = find(path(""), alone_, {}, checkpoint::Proof::as_read);
  expect_error(ExitCode::input, {"rank-00000.bin is damaged"}, [&] {
    checkpoint::read_slices(
        *found, alone_, [](const std::string&) { return true; }, [](const auto&, const auto&, const std::byte*) {});
  });
  expect_error(ExitCode::input, {"rank-00000.bin is damaged"},
               [&] { find(scratch_.path(""), alone_, {}, checkpoint::Proof::as_read); });
}

TEST_F(Damage, ALoadChecksWhatItReadsOnceMore) {
  const auto found = find(path(""), alone_);
  std::string content = read("rank-00000.bin");
  content[3] ^= 4;
  write("rank-00000.bin", content);
  run_ranks(2, [&](comm::World& world) {
    std::vector<Piece> pieces = pieces_of(world.rank(), 2, 1, false);
    expect_error(ExitCode::input, {"rank 0: ", "rank-00000.bin is damaged"},
                 [&] { checkpoint::load(*found, world.all(), targets_of(pieces)); });
  });
}

TEST_F(Damage, AllRanksStepBackTogetherToTheNewestWholeOne) {
  run_ranks(2, [&](comm::World& world) {
    for (int64_t step = 2; step <= 3; ++step) save_step(scratch_.path(""), world.all(), step);
  });
  std::string content = scratch_.read("checkpoints/step-00000003/rank-00001.bin");
  content.back() ^= 1;
  scratch_.write("checkpoints/step-00000003/rank-00001.bin", content);
  fs::remove(scratch_.path("checkpoints/step-00000002/manifest"));
  run_ranks(3, [&](comm::World& world) {
    std::vector<std::string> warnings;
    const auto found = find(scratch_.path(""), world.all(), [&](const std::string& w) { warnings.push_back(w); });
    ASSERT_TRUE(found.has_value());
    EXPECT_TRUE(loads_as_step(*found, world.all(), 1));
    ASSERT_EQ(warnings.size(), world.rank() == 0 ? 2u : 0u);
    if (world.rank() == 0) {
      EXPECT_THAT(warnings[0], HasSubstr("step-00000003/rank-00001.bin is damaged"));
      EXPECT_THAT(warnings[1], HasSubstr("step-00000002/manifest is missing"));
    }
  });
}

// Manifests with a right hash and wrong content.
class Hostile : public Damage {
 protected:
  void expect_refused_after(const std::string& says, const std::function<void(checkpoint::Manifest&)>& change) {
    checkpoint::Manifest manifest = checkpoint::decode(read("manifest"), "manifest");
    change(manifest);
    expect_error(ExitCode::input, {says, "manifest"},
                 [&] { checkpoint::decode(checkpoint::encode(manifest), "manifest"); });
  }
};

TEST_F(Hostile, NamesThatLeaveTheFolderAreRefused) {
  const std::string names[] = {
      "../rank-00000.bin", "/etc/passwd",        "..", ".", "", "a/b", std::string("a\0b", 3), "a\nb", "\x1b[2J",
      "manifest",          std::string(300, 'a')};
  for (const std::string& name : names)
    expect_refused_after("is not a plain name", [&](auto& manifest) { manifest.files[0].name = name; });
  for (const std::string& name : {std::string(), std::string("\x1b[2J"), std::string(5000, 'a')})
    expect_refused_after("a tensor's name", [&](auto& manifest) { manifest.tensors[0].name = name; });
  expect_refused_after("listed twice", [](auto& manifest) { manifest.files[0].name = manifest.files[1].name; });
}

TEST_F(Hostile, SizesThatDoNotFitAreRefusedBeforeTheyAreAllocated) {
  const int64_t huge = int64_t{1} << 40;
  auto tensor = [](checkpoint::Manifest& manifest) -> checkpoint::StoredTensor& { return manifest.tensors[1]; };
  expect_refused_after("stored by no rank", [&](auto& m) { tensor(m).slices[0].slice.end -= 1; });
  expect_refused_after("leaves the shape", [&](auto& m) { tensor(m).slices[0].slice.box.extent[0] = huge; });
  expect_refused_after("leaves the shape", [&](auto& m) { tensor(m).slices[0].slice.box.offset[0] = -1; });
  expect_refused_after("leave their box", [&](auto& m) { tensor(m).slices[0].slice.end = huge; });
  expect_refused_after("leave their box", [&](auto& m) { tensor(m).slices[0].slice.begin = -1; });
  expect_refused_after("more than 2^63", [&](auto& m) { tensor(m).shape = {huge, huge}; });
  expect_refused_after("too large", [&](auto& m) { tensor(m).shape = {huge, int64_t{1} << 22}; });
  expect_refused_after("negative extent", [&](auto& m) { tensor(m).shape[0] = -3; });
  expect_refused_after("dimensions", [&](auto& m) { tensor(m).shape.assign(17, 1); });
  expect_refused_after("dimensions", [&](auto& m) { tensor(m).slices[0].slice.box = {{0}, {1}}; });
  expect_refused_after("file number", [&](auto& m) { tensor(m).slices[0].file = 9; });
  expect_refused_after("belong to no tensor or to two", [&](auto& m) { tensor(m).slices[0].position += 4; });
  expect_refused_after("belong to no tensor or to two", [&](auto& m) { tensor(m).slices[0].position = -huge; });
  expect_refused_after("belong to no tensor", [&](auto& m) { m.files[0].bytes += 1; });
  expect_refused_after("has -1 bytes", [&](auto& m) { m.files[0].bytes = -1; });
  expect_refused_after("below 0", [&](auto& m) { m.meta.step = -1; });
  expect_refused_after("out of order", [&](auto& m) { std::swap(m.tensors[0], m.tensors[1]); });
  expect_refused_after("format 2 is unknown", [&](auto& m) { m.format_version = 2; });
}

TEST_F(Hostile, BytesThatAreNoManifestAreRefusedWhateverTheirHash) {
  for (const std::string& body : {std::string("not a message"), std::string(100, '\xff'), std::string(1, '\0')}) {
    const auto hash = hash_of(body.data(), body.size());
    const std::string bytes = body + std::string(reinterpret_cast<const char*>(hash.data()), hash.size());
    expect_error(ExitCode::input, {"file-name"}, [&] { checkpoint::decode(bytes, "file-name"); });
  }
  write("manifest", "");
  fs::resize_file(path("manifest"), uintmax_t{257} << 20);  // sparse: refused by its size, not read
  expect_error(ExitCode::input, {"manifest", "at most"}, [&] { find(path(""), alone_); });
}

TEST_F(Hostile, BoxesThatAreTooManyOrTooLargeTogetherAreRefused) {
  checkpoint::StoredTensor tensor{.name = "model/w", .shape = {int64_t{1} << 62}, .dtype = DType::u8, .slices = {}};
  for (int64_t i = 0; i < 3; ++i) {
    const int64_t n = tensor.shape[0] - i;
    tensor.slices.push_back({.file = 0, .position = 0, .slice = {{{0}, {n}}, 0, n}, .hash = {}});
  }
  expect_error(ExitCode::internal, {"more elements than it has"}, [&] { checkpoint::prove_coverage(tensor); });
  tensor = {.name = "model/w", .shape = {1, 20000}, .dtype = DType::u8, .slices = {}};
  for (int64_t i = 0; i < 20000; ++i)
    tensor.slices.push_back({.file = 0, .position = i, .slice = {{{0, i}, {1, 1}}, 0, 1}, .hash = {}});
  expect_error(ExitCode::internal, {"20000 boxes"}, [&] { checkpoint::prove_coverage(tensor); });
}

TEST_F(Hostile, MemoryIsNotTakenForWhatTheFileDoesNotHold) {
  checkpoint::Manifest manifest = checkpoint::decode(read("manifest"), "manifest");
  const int64_t n = int64_t{1} << 60;
  manifest.files = {{"rank-00000.bin", 4 * n}};
  manifest.tensors = {{.name = "model/w", .shape = {n}, .dtype = DType::f32, .slices = {}}};
  manifest.tensors[0].slices = {{.file = 0, .position = 0, .slice = {{{0}, {n}}, 0, n}, .hash = {}}};
  write("manifest", checkpoint::encode(manifest));
  write("rank-00000.bin", "1234");
  const auto report = checkpoint::verify(path(""));
  EXPECT_EQ(report.code, ExitCode::input);
  EXPECT_THAT(report.text, HasSubstr("ends at byte 4, inside tensor model/w"));
}

TEST_F(Damage, DiffTellsWhatItPassedOverAndThatANumberIsNotOne) {
  std::vector<Piece> pieces = pieces_of(0, 1, 1);
  auto* values = reinterpret_cast<float*>(pieces[0].data.data());
  values[5] = std::nanf("");
  values[7] += 0.25f;
  checkpoint::save(scratch_.path("b"), alone_, entries_of(pieces), meta_of(1), 2);
  checkpoint::save(scratch_.path("b"), alone_, entries_of(pieces), meta_of(2), 2);
  scratch_.write("b/checkpoints/step-00000002/rank-00000.bin", "x");
  const auto report = checkpoint::diff(scratch_.path(""), scratch_.path("b"));
  EXPECT_THAT(report.text, HasSubstr("passed over"));
  EXPECT_THAT(report.text, HasSubstr("2 of 78 elements differ, by up to nan"));
  pieces = pieces_of(0, 1, 1);
  checkpoint::save(scratch_.path("c"), alone_, entries_of(pieces), meta_of(2), 1);
  const auto other_step = checkpoint::diff(scratch_.path(""), scratch_.path("c"));
  EXPECT_EQ(other_step.code, ExitCode::difference);
  EXPECT_THAT(other_step.text, HasSubstr("step: 1 and 2"));
  EXPECT_THAT(other_step.text, HasSubstr("no byte differs, only what is told above"));
}

TEST_F(Damage, DiffNamesTheSettingsThatDiffer) {
  checkpoint::Meta meta = meta_of(1);
  meta.config = "run: {dir: y, seed: 3}\n";
  checkpoint::save(scratch_.path("b"), alone_, entries_of(pieces_of(0, 1, 1)), meta, 1);
  const auto report = checkpoint::diff(scratch_.path(""), scratch_.path("b"));
  EXPECT_EQ(report.code, ExitCode::finished);
  EXPECT_THAT(report.text,
              HasSubstr("settings (not counted):\n  run.dir: x and y\n  run.seed: absent and 3\n7 tensors: no byte"));
}

TEST_F(Damage, DiffCountsTheElementsThatDiffer) {
  std::vector<Piece> pieces = pieces_of(0, 1, 1);
  reinterpret_cast<float*>(pieces[0].data.data())[5] += 0.25f;
  pieces[3].name = "model/other";
  checkpoint::save(scratch_.path("b"), alone_, entries_of(pieces), meta_of(1), 1);
  const auto report = checkpoint::diff(scratch_.path(""), scratch_.path("b"));
  EXPECT_EQ(report.code, ExitCode::difference);
  EXPECT_THAT(report.text, HasSubstr("model/embedding: 1 of 78 elements differ"));
  EXPECT_THAT(report.text,
              HasSubstr("model/norm: only in the first\nmodel/other: only in the second\n3 of 8 tensors differ"));
}

TEST_F(Damage, DiffTakesWhatIsWithinTheBoundForEqual) {
  std::vector<Piece> pieces = pieces_of(0, 1, 1);
  auto* values = reinterpret_cast<float*>(pieces[0].data.data());
  double square = 0;
  for (int i = 0; i < 78; ++i) square += static_cast<double>(values[i]) * static_cast<double>(values[i]);
  values[5] += 0.25f;
  checkpoint::save(scratch_.path("b"), alone_, entries_of(pieces), meta_of(1), 1);
  const auto diff = [&](const std::vector<std::string>& only, double bound) {
    return checkpoint::diff(scratch_.path("b"), scratch_.path(""), {.only = only, .bound = bound});
  };
  const double of_norm = 0.25 / std::sqrt(square);
  EXPECT_EQ(diff({}, 1.001 * of_norm).code, ExitCode::finished);
  EXPECT_THAT(diff({}, 1.001 * of_norm).text, HasSubstr("tensors: 1 differ within the bound"));
  EXPECT_EQ(diff({}, 0.999 * of_norm).code, ExitCode::difference);
  EXPECT_THAT(diff({}, 0.999 * of_norm).text, HasSubstr(fmt::format("norm(a-b)/norm(b) {:.3e}", of_norm)));
  EXPECT_THAT(diff({"*/norm"}, 0).text, HasSubstr("1 tensors: no byte differs"));
  EXPECT_THROW(diff({"model/other"}, 0), Error);

  // Zeros whose bits differ are within any bound, and no equal bytes.
  for (const auto& [name, zero] : {std::pair{"plus", 0.0f}, {"minus", -0.0f}}) {
    std::fill(values, values + 78, zero);
    checkpoint::save(scratch_.path(name), alone_, entries_of(pieces), meta_of(1), 1);
  }
  const auto zeros = [&](double bound) {
    return checkpoint::diff(scratch_.path("plus"), scratch_.path("minus"), {.only = {}, .bound = bound}).code;
  };
  EXPECT_EQ(zeros(1e-9), ExitCode::finished);
  EXPECT_EQ(zeros(0), ExitCode::difference);

  checkpoint::save(scratch_.path("later"), alone_, entries_of(pieces_of(0, 1, 1)), meta_of(2), 1);
  const auto later = checkpoint::diff(scratch_.path(""), scratch_.path("later"), {.only = {"model/*"}});
  EXPECT_EQ(later.code, ExitCode::finished);
  EXPECT_THAT(later.text, HasSubstr("step (not counted): 1 and 2"));
}

TEST_F(Damage, ShowTellsStepSamplesAndTensors) {
  const auto report = checkpoint::show(scratch_.path(""), false);
  EXPECT_THAT(report.text, HasSubstr("step 1, 16 samples consumed"));
  EXPECT_THAT(report.text, HasSubstr("\n  model "));
  EXPECT_THAT(report.text, testing::Not(HasSubstr("model/layers.0.experts")));
  EXPECT_THAT(report.text, HasSubstr("  run: {dir: x}\n"));
  EXPECT_THAT(report.text, testing::Not(HasSubstr("layout"))) << "none was recorded";
  EXPECT_THAT(checkpoint::show(scratch_.path(""), true).text,
              HasSubstr("model/layers.0.experts              f32  (7, 2, 3, 5), 2 slices"));
}

}  // namespace
}  // namespace switchyard::test
