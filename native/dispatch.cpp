// Which instruction set: the best that was built and that this processor and system can run.
#include "core.h"
#include "processor.h"

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <new>
#include <stdexcept>
#include <string>
#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace chainrule {

#if defined(__x86_64__) || defined(_M_X64)
namespace avx512 {
extern const InstructionSet table;
}
namespace avx2 {
extern const InstructionSet table;
}
#endif
#if defined(__x86_64__) || defined(_M_X64)
namespace avx512_divided {
Lanes* make_f32(const NetworkSpec&, const PlanSpec&, int single_bytes);
Lanes* make_f64(const NetworkSpec&, const PlanSpec&, int single_bytes);
} // namespace avx512_divided
#endif
namespace baseline {
extern const InstructionSet table;
}

namespace {

// An instruction set, and whether it is in use because someone asked for it by name.
struct Choice {
    const InstructionSet* table;
    bool forced;
};
struct Candidate {
    const InstructionSet* table;
    bool runs;
    Choice best{table, false}, named{table, true};
};

const Candidate* candidates(int& count) {
#if defined(__x86_64__) || defined(_M_X64)
    static const Processor has = processor();
    static const Candidate all[] = {
        {&avx512::table, has.avx512}, {&avx2::table, has.avx2}, {&baseline::table, true}};
#else
    static const Candidate all[] = {{&baseline::table, true}};
#endif
    count = static_cast<int>(sizeof all / sizeof *all);
    return all;
}

// Read by every thread; null until the first of them asks.
std::atomic<const Choice*> chosen{nullptr};

std::string names(bool only_running) {
    int count;
    const Candidate* all = candidates(count);
    std::string text;
    for (int i = 0; i < count; ++i)
        if (all[i].runs || !only_running) text += (text.empty() ? "" : ", ") + std::string(all[i].table->name);
    return text;
}

const Choice& find(const char* name, const char* who) {
    int count;
    const Candidate* all = candidates(count);
    for (int i = 0; i < count; ++i) {
        if (name && std::strcmp(all[i].table->name, name) != 0) continue;
        if (all[i].runs) return name ? all[i].named : all[i].best;
        if (name)
            throw std::invalid_argument(std::string(who) + " is '" + name +
                                        "', which this processor lacks; it has " + names(true));
    }
    throw std::invalid_argument(std::string(who) + " is '" + name + "'; known: " + names(false));
}

const Choice& choice() {
    const Choice* current = chosen.load(std::memory_order_acquire);
    if (!current) {
        const char* name = std::getenv("CHAINRULE_ISA");
        const Choice* own = &find(name && *name ? name : nullptr, "CHAINRULE_ISA");
        // Someone who was faster, by name perhaps, is right.
        if (chosen.compare_exchange_strong(current, own, std::memory_order_acq_rel)) current = own;
    }
    return *current;
}

} // namespace

const InstructionSet& instruction_set() { return *choice().table; }

const InstructionSet& instruction_set_for(const NetworkSpec& network, int element_size) {
    const Choice& in_use = choice();
#if defined(__x86_64__) || defined(_M_X64)
    if (!in_use.forced && in_use.table == &avx512::table) {
        int widest = 0;
        for (int l = 1; l <= network.n_layers; ++l)
            if (network.layers[l].units > widest) widest = network.layers[l].units;
        if (widest * element_size <= 32) return avx2::table;
    }
#endif
    (void)network, (void)element_size;
    return *in_use.table;
}

Lanes* make_lanes(const NetworkSpec& network, const PlanSpec& plan, int element_size) {
    const InstructionSet &alone = instruction_set_for(network, element_size), &widest = instruction_set();
    const bool single = element_size == 4;
#if defined(__x86_64__) || defined(_M_X64)
    if (&alone != &widest)
        return (single ? avx512_divided::make_f32 : avx512_divided::make_f64)(network, plan, alone.bytes);
#endif
    return (single ? widest.make_lanes_f32 : widest.make_lanes_f64)(network, plan, alone.bytes);
}

void force_instruction_set(const char* name) {
    chosen.store(name ? &find(name, "isa") : nullptr, std::memory_order_release);
}

const char* const* available_instruction_sets() {
    struct Names {
        const char* list[4] = {};
        Names() {
            int count, n = 0;
            const Candidate* all = candidates(count);
            for (int i = 0; i < count; ++i)
                if (all[i].runs) list[n++] = all[i].table->name;
        }
    };
    static const Names names;
    return names.list;
}

// The pointer that was allocated stands in front of the memory that is handed out.
void* chainrule_allocate(std::size_t bytes) {
    constexpr std::size_t line = 64, large_page = std::size_t{2} << 20;
    const std::size_t alignment = bytes >= large_page ? large_page : line;
    char* const whole = static_cast<char*>(std::calloc(bytes + alignment + line, 1));
    if (!whole) throw std::bad_alloc();
    char* p = whole + line;
    p += (alignment - reinterpret_cast<std::uintptr_t>(p) % alignment) % alignment;
#if defined(__linux__)
    // Rows that lie far apart would otherwise need an entry of the page table each.
    if (bytes >= large_page) (void)madvise(p, bytes / large_page * large_page, MADV_HUGEPAGE);
#endif
    std::memcpy(p - sizeof whole, &whole, sizeof whole);
    return p;
}

void chainrule_release(void* p) {
    if (!p) return;
    void* whole;
    std::memcpy(&whole, static_cast<char*>(p) - sizeof whole, sizeof whole);
    std::free(whole);
}

} // namespace chainrule
