// Users' arrays read once, by all threads: into the core's own numbers, and whether all of them are finite.
#pragma once
#include "core.h"

namespace chainrule {

// `count` numbers side by side, or rows of a matrix; into `out` (of floats or of doubles), where it is not null.
// False if one is not finite as such a number.
bool read_numbers(const MatrixView& from, std::int64_t rows, int columns, bool single, void* out, int threads);

} // namespace chainrule
