#include "test/life/summary.h"

#include <algorithm>
// Catch2's listeners are not in its header otherwise.
#define CATCH_CONFIG_EXTERNAL_INTERFACES
#include <catch2/catch.hpp>
#include <cstdio>
#include <vector>

#include "absl/time/time.h"

namespace fairlead::lab {
namespace {

// Of this run. Catch2 makes its listeners itself.
std::vector<LifeRow>& Rows() {
  static std::vector<LifeRow> rows;
  return rows;
}

void PrintHead() {
  std::printf("\n%-52s %8s %6s %5s %5s %9s  %s\n", "", "requests", "failed", "held", "lost",
              "worst gap", "counted");
}

void Print(const LifeRow& row) {
  const FlowSummary& traffic = row.traffic;
  std::printf("%-52s %8lld %6lld %5d %5d %7lldms  %s\n", row.name.c_str(),
              static_cast<long long>(traffic.requests), static_cast<long long>(traffic.failed),
              traffic.held, traffic.lost,
              static_cast<long long>(absl::ToInt64Milliseconds(traffic.worst_gap)),
              row.counted.c_str());
  std::fflush(stdout);
}

class TableAtTheEnd : public Catch::TestEventListenerBase {
 public:
  using TestEventListenerBase::TestEventListenerBase;

  void testRunEnded(const Catch::TestRunStats& /*stats*/) override {
    if (Rows().size() < 2) return;
    std::sort(Rows().begin(), Rows().end(),
              [](const LifeRow& a, const LifeRow& b) { return a.name < b.name; });
    PrintHead();
    for (const LifeRow& row : Rows()) Print(row);
  }
};

CATCH_REGISTER_LISTENER(TableAtTheEnd)

}  // namespace

void Conclude(const LifeRow& row) {
  Rows().push_back(row);
  PrintHead();
  Print(row);
}

}  // namespace fairlead::lab
