// A refusal as tests state it: a usage error whose message holds every given piece.
#pragma once

#include "switchyard/base/error.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace switchyard {

template <class Body>
void expect_refused(Body&& body, const std::vector<std::string>& pieces, const std::string& why) {
  try {
    body();
    ADD_FAILURE() << "accepted: " << why;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::usage) << why;
    for (const std::string& piece : pieces)
      EXPECT_NE(std::string(error.what()).find(piece), std::string::npos)
          << why << ": no \"" << piece << "\" in: " << error.what();
  }
}

}  // namespace switchyard
