#include "expect.h"
#include "healthy_node.h"
#include "proxy/doctor/checks.h"

namespace fairlead {
namespace {

TEST_CASE("a healthy node has nothing to complain of, and each check says what it read") {
  const std::vector<Finding> findings = CheckNode(HealthyNode());
  CHECK(Complaints(findings) == std::vector<std::string>());
  for (const Finding& finding : findings) {
    CAPTURE(finding);
    CHECK(!finding.message.empty());
    CHECK(!finding.evidence.empty());
    CHECK(finding.fix.empty());
  }
}

TEST_CASE("groups come whole, the agent first") {
  std::vector<std::string> groups;
  for (const Finding& finding : CheckNode(HealthyNode())) {
    const std::string group = finding.check.substr(0, finding.check.find('.'));
    if (groups.empty() || groups.back() != group) groups.push_back(group);
  }
  CHECK(groups == std::vector<std::string>{"agent", "kernel", "settings", "table", "proxies",
                                           "rights", "state", "clock"});
}

TEST_CASE("a node without anything has a cause and a command for each complaint") {
  Facts facts;
  facts.kernel.ipvs = absl::FailedPreconditionError("no IPVS");
  facts.kernel.ruleset = absl::FailedPreconditionError("nft refused");
  facts.table.read = absl::FailedPreconditionError("no IPVS");
  facts.agent.asked = absl::UnavailableError("no such file");
  facts.clock.synchronised = false;
  const std::vector<Finding> findings = CheckNode(facts);
  CHECK(Worst(findings) == Severity::kError);
  for (const Finding& finding : findings) {
    if (finding.severity < Severity::kWarning) continue;
    CAPTURE(finding);
    CHECK(!finding.evidence.empty());
    CHECK(!finding.fix.empty());
  }
}

}  // namespace
}  // namespace fairlead
