// Sinks that never throw: one write per line, to a file in append mode or to the console above its bar.
#include "switchyard/base/log.h"

#include "switchyard/base/console.h"
#include "switchyard/base/error.h"
#include "switchyard/base/file.h"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/base_sink.h>

#include <filesystem>
#include <mutex>

namespace switchyard {
namespace {

class FileSink : public spdlog::sinks::base_sink<std::mutex> {
 public:
  explicit FileSink(File file) : file_(std::move(file)) {}

 private:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t line;
    formatter_->format(message, line);
    int64_t written = 0;
    (void)file_.try_write({line.data(), line.size()}, written);
  }
  void flush_() override {}

  File file_;
};

class ConsoleSink : public spdlog::sinks::base_sink<std::mutex> {
 private:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t line;
    formatter_->format(message, line);
    Console::standard().warning({line.data(), line.size()});
  }
  void flush_() override {}
};

std::shared_ptr<spdlog::logger> make_logger(const LogOptions& options) {
  auto console = std::make_shared<ConsoleSink>();
  // The console adds the end of the line itself.
  console->set_formatter(std::make_unique<spdlog::pattern_formatter>(fmt::format("[rank {}] %l: %v", options.rank),
                                                                     spdlog::pattern_time_type::local, ""));
  console->set_level(options.rank < options.console_ranks ? spdlog::level::warn : spdlog::level::err);
  auto logger = std::make_shared<spdlog::logger>("switchyard");
  logger->sinks().push_back(std::move(console));
  if (!options.folder.empty()) {
    const std::string path = rank_log_path(options.folder, options.rank);
    std::error_code failure;
    std::filesystem::create_directories(options.folder, failure);
    require(!failure, ExitCode::io, "{}: cannot create the folder: {}", options.folder, failure.message());
    auto file = std::make_shared<FileSink>(File::append(path));
    file->set_pattern("%Y-%m-%d %H:%M:%S.%e %L %v");
    logger->sinks().push_back(std::move(file));
  }
  return logger;
}

thread_local std::shared_ptr<spdlog::logger> logger_of_rank;

}  // namespace

void set_up_log(const LogOptions& options) { logger_of_rank = make_logger(options); }

const std::shared_ptr<spdlog::logger>& log() {
  if (!logger_of_rank) logger_of_rank = make_logger({});
  return logger_of_rank;
}

std::string rank_log_path(const std::string& folder, int rank) {
  return fmt::format("{}/rank-{:04}.log", folder, rank);
}

}  // namespace switchyard
