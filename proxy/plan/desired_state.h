// The plans of all Services put together: who has which address and port, and which shared things
// are wanted by whom.
#pragma once

#include <compare>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "proxy/plan/element.h"
#include "proxy/plan/plan.h"

namespace fairlead {

// What an update touched. Of one Update: precisely the virtual servers for which FindVirtualServer
// gives another value than before, and the elements and VIPs that are wanted and were not, or were
// and are not. Of several together: what any of them touched, though it may be as it was.
struct Touched {
  std::set<ipvs::VirtualServerKey> virtual_servers;
  std::set<Element> elements;
  std::set<IpAddress> vips;

  void Merge(Touched other);
  bool empty() const { return virtual_servers.empty() && elements.empty() && vips.empty(); }
};

// A Service that wanted an address and port which another one has.
struct Conflict {
  ipvs::VirtualServerKey key;
  ObjectName winner;
  ObjectName loser;
  // Otherwise both are of one age, and the winner's name sorts first.
  bool winner_is_older = false;

  // "Service shop/b: TCP 10.96.0.9:80 belongs to Service shop/a, which is older"; of one age: "…
  // shop/a, of the same age and first by name".
  std::string Format() const;

  auto operator<=>(const Conflict&) const = default;
};

// The desired state of a node. Where two Services claim one virtual server, the one created first
// has it, then the one whose name sorts first; the other takes over when it goes. Cost of an update
// is proportional to the Service's plan. Confined to one thread.
class DesiredState {
 public:
  // Puts the plan in the place of the Service's earlier one; an empty plan removes it. A plan equal
  // to the earlier one touches nothing, and neither does a claim that loses before and after.
  Touched Update(std::shared_ptr<const ServicePlan> plan);

  // The winning claim; nullptr if nobody wants it. Valid until the next Update.
  const PlannedVirtualServer* FindVirtualServer(const ipvs::VirtualServerKey& key) const;
  // What loses to the winning claim; empty where nobody contests it.
  std::vector<Conflict> ConflictsOf(const ipvs::VirtualServerKey& key) const;
  bool WantsElement(const Element& element) const;
  // Whether the address needs a local route.
  bool WantsVip(const IpAddress& vip) const;

  // Services with a plan that is not empty.
  const std::map<ObjectName, std::shared_ptr<const ServicePlan>>& plans() const { return plans_; }
  // All winning claims, sorted by key. Walks everything.
  std::vector<const PlannedVirtualServer*> VirtualServers() const;
  std::vector<Element> Elements() const;
  std::vector<IpAddress> Vips() const;
  // Sorted; cost proportional to the number of contested virtual servers.
  std::vector<Conflict> Conflicts() const;

 private:
  struct Claim {
    absl::Time created;
    ObjectName service;

    std::strong_ordering operator<=>(const Claim&) const = default;
  };
  // Of one virtual server; the first claim wins. A claim points into its Service's plan in plans_.
  using Claims = std::map<Claim, const PlannedVirtualServer*>;
  // What one Update adds to the counts below.
  struct Changes {
    Touched touched;
    std::map<Element, int> elements;
    std::map<IpAddress, int> vips;
  };

  static const PlannedVirtualServer* Winner(const Claims& claims);
  // Puts `after`, of the plan of `new_claim`, in the place of `before`, of that of `old_claim`;
  // either may be nullptr.
  void ReplaceClaim(const ipvs::VirtualServerKey& key, const Claim& old_claim,
                    const PlannedVirtualServer* before, const Claim& new_claim,
                    const PlannedVirtualServer* after, Changes& changes);
  Touched Commit(Changes changes);

  std::map<ObjectName, std::shared_ptr<const ServicePlan>> plans_;
  absl::flat_hash_map<ipvs::VirtualServerKey, Claims> virtual_servers_;
  // Those with more than one claim.
  std::set<ipvs::VirtualServerKey> contested_;
  // How many winning claims want each.
  absl::flat_hash_map<Element, int> elements_;
  absl::flat_hash_map<IpAddress, int> vips_;
};

}  // namespace fairlead
