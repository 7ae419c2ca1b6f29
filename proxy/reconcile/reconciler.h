// Brings the kernel to the desired state, and keeps account of what is there.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "ipvs/table.h"
#include "proxy/kernel/conntrack.h"
#include "proxy/kernel/firewall.h"
#include "proxy/kernel/routes.h"
#include "proxy/plan/desired_state.h"
#include "proxy/plan/planner.h"
#include "proxy/reconcile/diff.h"
#include "proxy/reconcile/retry_queue.h"

namespace fairlead {

// How often the connections of draining real servers are counted.
inline constexpr absl::Duration kDrainPoll = absl::Seconds(1);

// Flows that wait to be forgotten while connection tracking cannot be read.
inline constexpr size_t kMaxFlowsToForget = 100'000;

struct ReconcilerOptions {
  // How long a TCP or SCTP real server that is no longer wanted keeps its connections. A UDP one
  // goes at once: the kernel balances the next datagram of its clients again.
  absl::Duration drain_timeout = absl::Minutes(5);
};

// Changes written to the kernel, those that failed included.
struct WriteCounters {
  uint64_t operations = 0;
  uint64_t elements = 0;
  uint64_t routes = 0;
  uint64_t flows = 0;  // Forgotten by connection tracking.

  friend bool operator==(const WriteCounters&, const WriteCounters&) = default;
};

// A real server with weight 0 that waits for its connections to end.
struct DrainingServer {
  ipvs::VirtualServerKey virtual_server;
  ipvs::RealServerKey real_server;
  absl::Time until;

  auto operator<=>(const DrainingServer&) const = default;
};

// Something that is not in the kernel as it should be, and is tried again.
struct ReconcileFailure {
  // "TCP 10.96.0.1:80", "element owned4 …", "route 10.96.0.1", "ruleset", "conntrack".
  std::string what;
  std::string why;
  // Unset for what belongs to no single virtual server.
  std::optional<ipvs::VirtualServerKey> virtual_server;

  friend bool operator==(const ReconcileFailure&, const ReconcileFailure&) = default;
};

// Works in an order in which no VIP is without its guard and no virtual server without its record
// of ownership, wherever it is interrupted:
//   adding    ownership, guard, masquerade, sources; virtual servers of marks; marks, drops;
//   virtual
//             servers of addresses; open port; route
//   removing  route; open port; virtual servers of addresses; marks, drops; virtual servers of
//             marks; the rest of the firewall, ownership with it
// Pods and the node so have every endpoint of an address while it changes over to local ones; a
// mark's virtual server that is no longer wanted drains before it goes.
//
// After UDP real servers have gone, connection tracking forgets their flows: the next datagram is
// balanced again.
//
// Touches no virtual server that it has no record of and nobody wants, and no route with another
// protocol number. Time is an argument. Confined to one thread; the collaborators outlive it.
class Reconciler {
 public:
  Reconciler(ipvs::Table& table, Firewall& firewall, Routes& routes, Conntrack& conntrack,
             const ReconcilerOptions& options);

  // The text of the firewall's table, see RulesetText. Call before Adopt; a change is written by
  // the next Reconcile.
  void SetRuleset(std::string ruleset);

  // Loads the ruleset and reads what is in the kernel. Until it has succeeded, Reconcile must not
  // be called. What is found of Fairlead's is looked at by the next Reconcile, which removes what
  // is not wanted.
  absl::Status Adopt();

  // While held, what Adopt found stays though nobody wants it: the picture may lack objects that
  // could not be read. Once it is not held any more the next Reconcile removes it.
  void HoldRemovals(bool hold);

  // Source address of the node's packets to VIPs, at most one of each family. Call before the first
  // Reconcile; a change is written by the next one.
  void SetRouteSources(std::vector<IpAddress> sources);

  // Works on what was touched, what was found by Adopt, and what is due to be tried again or has
  // drained. Every failure stays with its own object.
  void Reconcile(const DesiredState& desired, const Touched& touched, absl::Time now);

  // The same for these virtual servers and what depends on them alone: the rest waits for the next
  // Reconcile. For what everything else needs, when a node starts.
  void ReconcileUrgent(const DesiredState& desired, const Touched& urgent, absl::Time now);

  // When Reconcile has to be called though nothing is touched; InfiniteFuture if nothing waits.
  absl::Time NextWake() const;

  std::vector<ReconcileFailure> Failures() const;
  std::vector<DrainingServer> Draining() const;
  const WriteCounters& counters() const { return counters_; }
  // Virtual servers that were in the kernel without a record of ownership, and were taken over as a
  // Service wants them.
  const std::set<ipvs::VirtualServerKey>& taken_over() const { return taken_over_; }

  // Firewall marks as they are in the kernel.
  FoundMarks Marks() const;

  // Whether the virtual server is in the kernel and Fairlead's.
  bool Owns(const ipvs::VirtualServerKey& key) const;
  // Of the virtual servers that Owns says yes to, and their real servers. Walks all of them.
  struct Sizes {
    size_t virtual_servers = 0;
    size_t real_servers = 0;
    size_t draining = 0;
  };
  Sizes CountOwned() const;
  // Keys of all that Owns says yes to, sorted.
  std::vector<ipvs::VirtualServerKey> OwnedVirtualServers() const;

 private:
  // When an element is due, see the order above.
  enum class Moment { kFirst, kInternalReady, kAddressesDone, kLast };

  Touched TakeWork(const DesiredState& desired, const Touched& touched, absl::Time now);
  // What was found and is to be looked at now.
  Touched TakeFound(const DesiredState& desired);
  // Takes real servers that are held out of the diff.
  void KeepHeld(const PlannedVirtualServer& want, VirtualServerDiff& diff);
  void Carry(const DesiredState& desired, const Touched& work, absl::Time now);
  absl::Status ReadFirewall();
  // Whether a change that failed may have happened all the same: it is written again, since what we
  // believe to be in the kernel proves nothing.
  bool InDoubt(const Element& element) const;
  bool InDoubt(const IpAddress& vip) const { return route_retries_.Contains(vip); }

  static Moment MomentOf(const DesiredState& desired, const Element& element, bool want);
  // What has to be done before the element can be written or deleted; empty: nothing.
  std::string Missing(const Element& element, bool want) const;
  // Whether packets may get the mark of the virtual server.
  bool IsMarkGiven(const ipvs::VirtualServerKey& mark) const;
  // Keeps account of an element that is in the kernel now, or no more.
  void Have(const Element& element);
  void HaveNoMore(const Element& element);
  void ReconcileElements(const DesiredState& desired, const std::set<Element>& elements,
                         Moment moment, absl::Time now);
  void ApplyElements(absl::Span<const ElementChange> changes, absl::Time now);

  void ReconcileServers(const DesiredState& desired, const std::set<ipvs::VirtualServerKey>& keys,
                        absl::Time now);
  // The keys of which we do not know what the kernel has, and cannot find out.
  std::map<ipvs::VirtualServerKey, absl::Status> RereadUnread(
      const std::set<ipvs::VirtualServerKey>& keys);
  // One round: returns the keys of which an operation failed, each with its status.
  std::map<ipvs::VirtualServerKey, absl::Status> ApplyServers(
      const DesiredState& desired, const std::set<ipvs::VirtualServerKey>& keys, absl::Time now);
  absl::Status Reread(const ipvs::VirtualServerKey& key);
  std::vector<absl::Status> ApplyOperations(absl::Span<const ipvs::Operation> operations);
  void Remember(const ipvs::Operation& operation);
  // Before it is remembered: the flows that it makes stale.
  void NoteFlows(const ipvs::Operation& operation);
  void ForgetFlows(absl::Time now);

  void NoteLeaving(const ipvs::VirtualServerKey& key, ipvs::Protocol protocol,
                   const std::vector<ipvs::RealServerKey>& leaving, absl::Time now);
  void FinishDrains(absl::Time now);
  // It was seen not to be there, though we believed it was.
  void ForgetRealServer(const ipvs::VirtualServerKey& key, const ipvs::RealServerKey& real);

  void ReconcileRoutes(const DesiredState& desired, const std::set<IpAddress>& vips,
                       RouteChange::Verb verb, absl::Time now);

  ipvs::Table& table_;
  Firewall& firewall_;
  Routes& routes_;
  Conntrack& conntrack_;
  const ReconcilerOptions options_;
  std::string ruleset_;
  std::vector<IpAddress> route_sources_;

  // What the kernel has, as last read or written. Foreign virtual servers among them.
  absl::flat_hash_map<ipvs::VirtualServerKey, ActualVirtualServer> actual_servers_;
  absl::flat_hash_set<Element> actual_elements_;
  // How many of them give each mark.
  absl::flat_hash_map<ipvs::VirtualServerKey, int> given_marks_;
  absl::flat_hash_map<IpAddress, VipRoute> actual_routes_;
  // Of the marks' virtual servers that were wanted: their keys do not say it.
  absl::flat_hash_map<ipvs::VirtualServerKey, ipvs::Protocol> mark_protocols_;

  // Found at the start, or by reading the firewall again.
  Touched found_;
  bool hold_removals_ = false;
  // What is held, and the real servers that Adopt found and nobody has wanted yet.
  Touched held_;
  std::map<ipvs::VirtualServerKey, std::set<ipvs::RealServerKey>> found_real_servers_;
  // Virtual servers of which an operation failed, and could not be read back since.
  std::set<ipvs::VirtualServerKey> unread_servers_;
  // Virtual servers that were found without a record of ownership.
  std::set<ipvs::VirtualServerKey> foreign_servers_;
  // A transaction failed, or the ruleset is another: the sets are read back before the next pass.
  bool firewall_stale_ = false;
  RetryQueue<ipvs::VirtualServerKey> server_retries_;
  RetryQueue<Element> element_retries_;
  RetryQueue<IpAddress> route_retries_;
  RetryQueue<std::string> general_retries_;
  std::set<FlowMatch> flows_to_forget_;

  // Draining real servers of each virtual server, with their deadlines.
  std::map<ipvs::VirtualServerKey, std::map<ipvs::RealServerKey, absl::Time>> drains_;
  absl::Time next_drain_poll_ = absl::InfiniteFuture();
  // Virtual servers of marks that have lost their last draining real server since the last pass.
  std::set<ipvs::VirtualServerKey> drained_;
  std::set<ipvs::VirtualServerKey> taken_over_;
  WriteCounters counters_;
};

}  // namespace fairlead
