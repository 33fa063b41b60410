// The step of a rule for parameters that lie as Python has them, whose gradient others have computed.
#pragma once
#include "core.h"

#include <vector>

namespace chainrule {

class Applying {
public:
    Applying(const PlanSpec& plan, bool single, const InstructionSet& isa)
        : plan_(plan), single_(single), isa_(isa) {}

    // Step t, counted from 1, of n parameters with the gradient scale * g. False, with nothing changed, where a
    // number of g or of the new parameters is not finite.
    bool run(std::int64_t t, double eta, double scale, std::int64_t n, void* theta, void* const* slots,
             const void* g);

private:
    PlanSpec plan_;
    bool single_;
    const InstructionSet& isa_;
    std::vector<char> before_[3]; // theta and the slots
};

} // namespace chainrule
