#include "test_node.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proxy/kernel/ruleset.h"

namespace fairlead::testing {

TestNode::TestNode(ReconcilerOptions reconciler_options)
    : ruleset(RulesetText({})), options(std::move(reconciler_options)) {
  if (absl::Status status = Restart(); !status.ok()) throw std::runtime_error(status.ToString());
}

absl::Status TestNode::Restart() {
  reconciler_ = std::make_unique<Reconciler>(table_, firewall_, routes_, conntrack_, options);
  reconciler_->SetRuleset(ruleset);
  absl::Status status = reconciler_->Adopt();
  reconciler_->SetRouteSources(sources);
  return status;
}

void TestNode::Reconcile(const Touched& touched) { reconciler_->Reconcile(desired, touched, now); }

void TestNode::Advance(absl::Duration duration) {
  now += duration;
  Reconcile();
}

bool TestNode::Settle() {
  for (int i = 0; i < 1000; ++i) {
    if (reconciler_->NextWake() == absl::InfiniteFuture()) return true;
    now = std::max(now, reconciler_->NextWake());
    Reconcile();
  }
  return false;
}

Touched TestNode::Everything() const {
  Touched everything;
  for (const PlannedVirtualServer* server : desired.VirtualServers()) {
    everything.virtual_servers.insert(server->key);
  }
  for (const Element& element : desired.Elements()) everything.elements.insert(element);
  for (const IpAddress& vip : desired.Vips()) everything.vips.insert(vip);
  return everything;
}

Lines TestNode::Failures() const {
  Lines lines;
  for (const ReconcileFailure& failure : reconciler_->Failures()) {
    lines.push_back(absl::StrCat(failure.what, ": ", failure.why));
  }
  return lines;
}

}  // namespace fairlead::testing
