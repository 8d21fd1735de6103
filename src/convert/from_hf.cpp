// Each rank takes every n-th tensor and writes it as a slice of the parameter that it is part of.
#include "switchyard/base/new_folder.h"
#include "switchyard/base/version.h"
#include "switchyard/checkpoint/inspect.h"
#include "switchyard/checkpoint/save.h"
#include "switchyard/comm/agree.h"
#include "switchyard/convert/convert.h"
#include "switchyard/convert/weights.h"

#include <optional>

namespace switchyard::convert {
namespace {

checkpoint::Entry entry_of(const files::ModelFolder& folder, const std::string& name, const std::string& entry,
                           const Shape& shape, DType dtype, const Box& box, const Begins& begins) {
  return {.name = entry,
          .global_shape = shape,
          .dtype = dtype,
          .slice = {box, 0, box.numel()},
          .read = [&folder, &begins, name](int64_t first, void* out, int64_t bytes) {
            if (first == 0 && begins) begins(name);
            folder.read(name, first, out, bytes);
          }};
}

std::vector<checkpoint::Entry> entries_of(const HubModel& hub, const comm::Group& all, const Begins& begins) {
  std::vector<checkpoint::Entry> entries;
  const files::ModelFolder& folder = hub.folder();
  int64_t turn = 0;
  for (const auto& [tensor, dtype] : hub.sources())
    if (turn++ % all.size() == all.rank())
      entries.push_back(entry_of(folder, tensor.name, tensor.entry, tensor.entry_shape, dtype, tensor.box, begins));
  for (const auto& [name, dtype, shape] : hub.carried())
    if (turn++ % all.size() == all.rank())
      entries.push_back(entry_of(folder, name, std::string(checkpoint::kCarriedPrefix) + name, shape, dtype,
                                 Box::whole(shape), begins));
  if (all.rank() != 0) return entries;
  for (checkpoint::Entry& entry : checkpoint::side_file_entries(hub.side_files())) entries.push_back(std::move(entry));
  return entries;
}

void prove(const std::filesystem::path& folder) {
  const checkpoint::Report report = checkpoint::verify(folder);
  require(report.code == ExitCode::finished, ExitCode::io, "what was written is not what was read:\n{}", report.text);
}

}  // namespace

Summary from_hf(const std::filesystem::path& folder, const std::filesystem::path& out, const FromHfOptions& options,
                const comm::Group& all) {
  const HubModel hub = HubModel::open(folder, options.unused, all);
  std::optional<NewFolder> target;
  const std::string aside = comm::on_rank_zero(all, [&] {
    target.emplace(out);
    return target->path().string();
  });
  const auto entries = entries_of(hub, all, options.begins);
  checkpoint::Meta meta;
  meta.program_version = program_details();
  meta.config = model_section_text(hub.config());
  checkpoint::write(aside, all, entries, meta);
  comm::on_rank_zero(all, [&] {
    if (options.check) prove(aside);
    target->commit();
    return std::string();
  });
  Summary summary{.tensors = static_cast<int64_t>(hub.sources().size() + hub.carried().size()),
                  .bytes = checkpoint::bytes_of(entries),
                  .notes = hub.notes()};
  all.all_reduce(&summary.bytes, 1, DType::i64).wait();
  return summary;
}

}  // namespace switchyard::convert
