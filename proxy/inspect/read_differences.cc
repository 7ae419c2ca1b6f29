#include "proxy/inspect/read_differences.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"

namespace fairlead {
namespace {

struct Moment {
  WantedState wanted;
  WriteCounters counters;
};

absl::StatusOr<Moment> ReadMoment(const DifferenceSources& sources) {
  absl::StatusOr<AgentReport> report = sources.report();
  if (!report.ok()) return report.status();
  if (report->programmed == absl::InfinitePast()) {
    return absl::FailedPreconditionError(
        "nothing is planned yet: a complete picture has not come, or the kernel cannot be read");
  }
  absl::StatusOr<WantedState> wanted = sources.wanted();
  if (!wanted.ok()) return wanted.status();
  return Moment{*std::move(wanted), report->counters};
}

// A plan that was not made anew is the same object.
bool Same(const Moment& a, const Moment& b) {
  return a.counters == b.counters && a.wanted.plans == b.wanted.plans &&
         a.wanted.elements == b.wanted.elements && a.wanted.routes == b.wanted.routes &&
         a.wanted.ruleset == b.wanted.ruleset && a.wanted.owned == b.wanted.owned &&
         a.wanted.draining == b.wanted.draining && a.wanted.retiring == b.wanted.retiring;
}

// Keeps those that are in both.
void Intersect(std::vector<Difference>& differences, const std::vector<Difference>& others) {
  absl::flat_hash_map<std::string, const Difference*> by_object;
  for (const Difference& other : others) by_object.emplace(other.object, &other);
  std::erase_if(differences, [&](const Difference& difference) {
    const auto it = by_object.find(difference.object);
    return it == by_object.end() || *it->second != difference;
  });
}

}  // namespace

absl::StatusOr<std::vector<Difference>> ReadDifferences(const DifferenceSources& sources) {
  absl::StatusOr<Moment> before = ReadMoment(sources);
  if (!before.ok()) return before.status();
  std::vector<Difference> differences;
  for (int comparison = 0; comparison < kMaxComparisons; ++comparison) {
    absl::StatusOr<KernelState> kernel = sources.kernel();
    if (!kernel.ok()) return kernel.status();
    absl::StatusOr<Moment> after = ReadMoment(sources);
    if (!after.ok()) return after.status();
    const bool quiet = Same(*before, *after);
    WantedState wanted = after->wanted;
    if (sources.shadow) wanted.owned = RecordedServers(*kernel);
    std::vector<Difference> found = CompareWithKernel(wanted, *kernel);
    if (quiet) return found;
    if (comparison == 0) {
      differences = std::move(found);
    } else {
      Intersect(differences, found);
    }
    before = std::move(after);
  }
  return differences;
}

}  // namespace fairlead
