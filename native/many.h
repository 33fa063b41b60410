// Many networks: packs of lanes, handed out to the threads one by one.
#pragma once
#include "core.h"
#include "epoch.h"

#include <memory>
#include <vector>

namespace chainrule {

class Many {
public:
    Many(const NetworkSpec& network, const PlanSpec& plan, int element_size);
    // So many epochs of every member; true if `progress`, asked about every 50 ms with the epochs done by all
    // members together, said to stop: those that are not `trained` then are as they were.
    bool run(const EpochData& data, std::vector<Member>& members, int epochs, std::ptrdiff_t losses_apart,
             const Progress& progress);

private:
    struct Job;
    std::vector<std::unique_ptr<Lanes>> lanes_; // of each thread
};

} // namespace chainrule
