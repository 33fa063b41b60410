// The gradients of micro-batches, added as one binary tree, so that the sum has the same bits wherever they
// are computed.
#pragma once
#include "core.h"
#include "epoch.h"

#include <memory>
#include <vector>

namespace chainrule {

struct MicroBatch {
    EpochData data; // its rows are those of `order`
    std::int64_t draw; // which dropout masks
    BatchSums sums; // what it comes to
    bool finite;
};

class Gradients {
public:
    // The plan's batches are whole micro-batches. `network` stays with the caller.
    Gradients(const NetworkSpec& network, const PlanSpec& plan, bool single, const InstructionSet& isa);

    // The sum over consecutive micro-batches, the first of which begins a subtree, goes into g, in the public
    // layout. `progress` is asked now and then, between two of them; false if it said stop, and g is then of
    // no use.
    bool run(const void* theta, std::vector<MicroBatch>& batches, void* g, const Progress& progress);

private:
    struct Job;
    struct Release {
        void operator()(void* p) const { chainrule_release(p); }
    };
    using Bytes = std::unique_ptr<void, Release>;
    // A core, and a sum for each level of the tree below its own.
    struct Hand {
        std::unique_ptr<Core> core;
        std::vector<Bytes> sums;
    };
    Hand& hand(std::vector<Hand>& hands, int i, int threads) const;
    void room(std::vector<Bytes>& rooms, std::size_t i) const;

    const NetworkSpec& network_;
    PlanSpec plan_;
    bool single_;
    const InstructionSet& isa_;
    std::vector<Hand> alone_, together_; // cores of one thread each; one of all threads
    std::vector<Bytes> nodes_;
    std::size_t bytes_ = 0;
};

} // namespace chainrule
