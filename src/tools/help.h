// Help that fits a terminal: CLI11 2.1 writes each description on one line.
#pragma once

#include "switchyard/base/console.h"

#include <CLI/CLI.hpp>

namespace switchyard::tools {

class HelpFormatter : public CLI::Formatter {
 public:
  std::string make_option_desc(const CLI::Option* option) const override {
    return wrapped(CLI::Formatter::make_option_desc(option));
  }
  std::string make_subcommand(const CLI::App* command) const override {
    std::stringstream out;
    CLI::detail::format_help(out, command->get_display_name(true), wrapped(command->get_description()), column_width_);
    return out.str();
  }

 private:
  // Broken between words, in the column right of the names.
  std::string wrapped(std::string text) const {
    const size_t width = kTerminalColumns - column_width_;
    for (size_t begin = 0; text.size() - begin > width;) {
      const size_t space = text.rfind(' ', begin + width);
      if (space == std::string::npos || space <= begin) break;
      text[space] = '\n';
      begin = space + 1;
    }
    return text;
  }
};

}  // namespace switchyard::tools
