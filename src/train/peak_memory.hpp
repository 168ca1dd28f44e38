#pragma once

namespace pg::train {

/// Largest resident memory of this process since forget_peak_memory(), in MB (1e6 bytes), or since
/// its start where the system cannot forget. 0 where the system does not say.
double peak_memory_mb();
void forget_peak_memory();

}  // namespace pg::train
