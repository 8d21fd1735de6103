// What this program is: printed by --version and stored in every manifest.
#pragma once

#include <string>

namespace switchyard {

std::string program_version();  // "0.1.0 (commit 1a2b3c4)"
std::string program_details();  // and, a line each, compiler, build, and the processors it was built for and runs on
std::string processor_name();   // of the machine it runs on

}  // namespace switchyard
