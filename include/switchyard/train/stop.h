// A request to stop: SIGUSR1 or SIGTERM sets a flag. The trainer reduces it over all ranks with the step's other
// numbers, so that every rank stops after the same step, saves, and exits with 75.
#pragma once

namespace switchyard::train {

void install_stop_handlers();
bool stop_requested();  // of this process

}  // namespace switchyard::train
