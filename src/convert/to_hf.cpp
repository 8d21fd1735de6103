// Each stored slice is read once, by one rank, and its parts go to their places in the files: any layout may have
// written the checkpoint, and no tensor has to fit into memory.
#include "switchyard/base/hash.h"
#include "switchyard/base/new_folder.h"
#include "switchyard/comm/agree.h"

#include "convert/export_plan.h"

namespace switchyard::convert {
namespace {

constexpr int64_t kPieceBytes = int64_t{1} << 20;

// Bytes of a file and the hash of what was written there.
struct Written {
  size_t shard;
  int64_t begin, bytes;
  Digest hash;
};

class Exporter {
 public:
  Exporter(const ExportPlan& plan, const std::filesystem::path& folder, bool is_proved)
      : plan_(plan), folder_(folder), is_proved_(is_proved) {
    for (size_t n = 0; n < plan.shards.size(); ++n) {
      layouts_.push_back(files::layout_of(plan.shards[n]));
      for (const auto& tensor : plan.shards[n]) shard_of_[tensor.name] = n;
    }
  }

  void create() const {  // one rank
    for (size_t n = 0; n < layouts_.size(); ++n) {
      File file = folder_.create_file(name(n));
      file.reserve(layouts_[n].bytes);
      file.write_at(0, layouts_[n].header);
      file.truncate(layouts_[n].bytes);
    }
    for (const auto& [name, bytes] : plan_.files) folder_.write_file(name, bytes);
  }

  void open() {
    for (size_t n = 0; n < layouts_.size(); ++n) files_.push_back(folder_.open_for_writing(name(n)));
  }

  void take(const checkpoint::StoredTensor& stored, const Slice& slice, const std::byte* bytes) {
    for (const model::HubTensor& tensor : plan_.weights.at(stored.name))
      take_part(stored.dtype, slice, bytes, tensor.name, tensor.box);
  }
  void take_carried(const files::NewTensor& tensor, const Slice& slice, const std::byte* bytes) {
    take_part(tensor.dtype, slice, bytes, tensor.name, Box::whole(tensor.shape));
  }

  void close() {
    for (File& file : files_) {
      file.sync();
      file.close();
    }
  }

  // Reads back what this rank wrote.
  void prove() const {
    std::vector<std::byte> buffer(static_cast<size_t>(kPieceBytes));
    std::vector<files::SafetensorsFile> readers;
    for (size_t n = 0; n < layouts_.size(); ++n) readers.emplace_back(folder_.open_file(name(n)));
    for (const Written& w : written_) {
      readers[w.shard].file().read_at(w.begin, buffer.data(), w.bytes);
      require(hash_of(buffer.data(), static_cast<size_t>(w.bytes)) == w.hash, ExitCode::io,
              "{}: the {} bytes from {} are not those that were written", folder_.path_of(name(w.shard)), w.bytes,
              w.begin);
    }
  }

  int64_t bytes() const {
    int64_t sum = 0;
    for (const auto& layout : layouts_) sum += layout.bytes;
    return sum;
  }

 private:
  std::string name(size_t n) const { return files::shard_name(n, layouts_.size()); }

  // What a slice of the whole, at `bytes`, has of the tensor that is its `box`.
  void take_part(DType stored, const Slice& slice, const std::byte* bytes, const std::string& tensor, const Box& box) {
    const size_t shard = shard_of_.at(tensor);
    const files::TensorInfo& info = layouts_[shard].tensors.at(tensor);
    const DType dtype = *files::dtype_of(info.dtype);
    const int64_t from_size = size_of(stored), size = size_of(dtype), step = kPieceBytes / size;
    for_each_common_run(slice, {box, 0, box.numel()}, [&](int64_t from, int64_t to, int64_t count) {
      for (int64_t done = 0; done < count; done += step) {
        const int64_t part = std::min(step, count - done), begin = info.begin + (to + done) * size;
        const std::byte* piece = bytes + (from + done) * from_size;
        if (stored != dtype) {
          convert_elements(piece, stored, converted_.data(), dtype, part);
          piece = converted_.data();
        }
        const auto piece_bytes = static_cast<size_t>(part * size);
        files_[shard].write_at(begin, {reinterpret_cast<const char*>(piece), piece_bytes});
        if (is_proved_) written_.push_back({shard, begin, part * size, hash_of(piece, piece_bytes)});
      }
    });
  }

  const ExportPlan& plan_;
  Folder folder_;
  std::vector<files::FileLayout> layouts_;
  std::map<std::string, size_t> shard_of_;
  std::vector<File> files_;
  bool is_proved_;
  std::vector<Written> written_;
  std::vector<std::byte> converted_ = std::vector<std::byte>(static_cast<size_t>(kPieceBytes));
};

}  // namespace

Summary to_hf(const checkpoint::Found& found, const model::ModelConfig& config, const std::filesystem::path& out,
              const ToHfOptions& options, const comm::Group& all) {
  ExportPlan plan;
  comm::together(all, [&] { plan = plan_export(found, config, options); });
  std::optional<NewFolder> target;
  const std::string aside = comm::on_rank_zero(all, [&] {
    target.emplace(out);
    Exporter(plan, target->path(), options.check).create();
    return target->path().string();
  });
  Summary summary{.notes = plan.notes};
  comm::together(all, [&] {
    Exporter exporter(plan, aside, options.check);
    exporter.open();
    const auto begin = [&](const auto& tensor) {
      if (options.begins) options.begins(tensor.name);
    };
    checkpoint::read_slices(
        found, all, [&](const std::string& name) { return plan.weights.contains(name); },
        [&](const auto& tensor, const auto& stored, const std::byte* bytes) {
          begin(tensor);
          exporter.take(tensor, stored.slice, bytes);
        });
    if (plan.carried_from)
      plan.carried_from->read_carried(all, [&](const auto& tensor, const Slice& slice, const std::byte* bytes) {
        begin(tensor);
        exporter.take_carried(tensor, slice, bytes);
      });
    exporter.close();
    if (options.check) exporter.prove();
    summary.bytes = exporter.bytes();
  });
  comm::on_rank_zero(all, [&] {
    if (options.check) files::ModelFolder reloaded(aside);
    target->commit();
    return std::string();
  });
  for (const auto& shard : plan.shards) summary.tensors += static_cast<int64_t>(shard.size());
  return summary;
}

}  // namespace switchyard::convert
