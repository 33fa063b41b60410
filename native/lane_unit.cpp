// Lanes of AVX-512 for networks that are trained in AVX2 when they are alone: the same bits need quotients
// that are divided, not estimated and refined.
#include "lanes.h"

namespace chainrule {
namespace CR_ISA {

void* allocate_bytes(std::size_t bytes) { return chainrule_allocate(bytes); }
void release_bytes(void* p) { chainrule_release(p); }

Lanes* make_f32(const NetworkSpec& network, const PlanSpec& plan, int single_bytes) {
    return new LaneTrainer<float>(network, plan, single_bytes);
}
Lanes* make_f64(const NetworkSpec& network, const PlanSpec& plan, int single_bytes) {
    return new LaneTrainer<double>(network, plan, single_bytes);
}

} // namespace CR_ISA
} // namespace chainrule
