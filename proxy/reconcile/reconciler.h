// Brings the kernel to the desired state, and keeps account of what is there.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "ipvs/table.h"
#include "proxy/kernel/conntrack.h"
#include "proxy/kernel/firewall.h"
#include "proxy/kernel/routes.h"
#include "proxy/plan/desired_state.h"
#include "proxy/plan/planner.h"
#include "proxy/reconcile/diff.h"
#include "proxy/reconcile/drains.h"
#include "proxy/reconcile/drift.h"
#include "proxy/reconcile/retry_queue.h"

namespace fairlead {

// How often the connections of draining real servers are counted.
inline constexpr absl::Duration kDrainPoll = absl::Seconds(1);

// Flows that wait to be forgotten while connection tracking cannot be read.
inline constexpr size_t kMaxFlowsToForget = 100'000;

// How often a part of the virtual servers is audited, and the kernel's count of them looked at.
inline constexpr absl::Duration kAuditTick = absl::Milliseconds(250);

// How much of a tick an audit, or a look at what drains, may take, so that no change waits long for
// it and a slow machine has time for others: there the cycle takes longer.
inline constexpr absl::Duration kAuditBudget = absl::Milliseconds(25);

// Between two readings of all virtual servers, or longer: no more than a twentieth of the time goes
// into them.
inline constexpr absl::Duration kMinFullCheck = absl::Seconds(1);
inline constexpr int kFullCheckRest = 20;

// Between two readings of the firewall or the routes because somebody else was at them.
inline constexpr absl::Duration kMinRecheck = absl::Milliseconds(200);

struct ReconcilerOptions {
  // How long a TCP or SCTP real server that is no longer wanted keeps its connections.
  absl::Duration drain_timeout = absl::Minutes(5);
  // The same for UDP. At zero it goes at once: the kernel balances the next datagram of its clients
  // again.
  absl::Duration udp_drain_timeout = absl::ZeroDuration();
  // In which every virtual server that is Fairlead's is read back once, as far as kAuditBudget
  // allows; infinite: none is.
  absl::Duration audit_cycle = absl::InfiniteDuration();
  // A real clock measures it; at least one virtual server is read each time.
  absl::Duration tick_budget = kAuditBudget;
  // The kernel's number of IPv4 virtual servers, those of others among them, with marks: so cheap
  // that it is asked at every tick of the audit. Unset: nobody is asked.
  std::function<absl::StatusOr<uint32_t>()> count_ipv4_servers = {};
  // The virtual servers in the order in which a flush would take them out (see kernel_order_).
  // Unset: nobody is asked.
  std::function<absl::StatusOr<std::vector<ipvs::VirtualServerKey>>()> list_in_order = {};
};

// Changes written to the kernel, those that failed included.
struct WriteCounters {
  uint64_t operations = 0;
  uint64_t elements = 0;
  uint64_t routes = 0;
  uint64_t flows = 0;  // Forgotten by connection tracking.

  friend bool operator==(const WriteCounters&, const WriteCounters&) = default;
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
//             virtual servers of addresses; way to the port, served or open (with the guard where
//             its virtual server is there already); route
//   removing  route; way to the port; virtual servers of addresses; marks, drops; virtual servers
//             of marks; the rest of the firewall, ownership with it
// Pods and the node so have every endpoint of an address while it changes over to local ones. Where
// a VIP's port is to be open in place of served, or served in place of open, one goes in the
// transaction in which the other comes: to open in the first one, so that nothing leads past what
// stops packets, to served in the last one.
//
// A virtual server that is no longer wanted and has connections retires: it takes no new ones,
// which are refused, and stays with all that leads to it until its real servers have drained.
//
// What others change in the kernel is found, told, and made good: of virtual servers by an audit
// that reads all of them back in a cycle, and at once where the kernel's count of them falls; of
// the firewall and the routes when Suspect… says so.
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

  // Drains of a former run, to be gone on with. Call after Adopt.
  void RestoreDrains(const std::vector<DrainingServer>& drains) { drains_.Restore(drains); }

  // While held, what Adopt found stays though nobody wants it: the picture may lack objects that
  // could not be read. Once it is not held any more the next Reconcile removes it.
  void HoldRemovals(bool hold);

  // Source address of the node's packets to VIPs, at most one of each family. Call before the first
  // Reconcile; a change is written by the next one.
  void SetRouteSources(std::vector<IpAddress> sources);

  // Works on what was touched, what was found by Adopt, and what is due to be tried again or has
  // drained. Every failure stays with its own object.
  void Reconcile(const DesiredState& desired, Touched touched, absl::Time now);

  // The same for these virtual servers and what depends on them alone: the rest waits for the next
  // Reconcile. For what everything else needs, when a node starts.
  void ReconcileUrgent(const DesiredState& desired, const Touched& urgent, absl::Time now);

  // Somebody else may have changed the firewall's table, or routes: the next Reconcile reads them
  // back.
  void SuspectFirewall() { firewall_suspect_ = true; }
  void SuspectRoutes() { routes_suspect_ = true; }

  // Ends the drains for which `which` says so: the next Reconcile deletes these real servers, with
  // the connections that they have. How many there are.
  size_t EndDrains(const std::function<bool(const DrainingServer&)>& which, absl::Time now);

  // The clock that `now` is of was set by so much: what waits goes on waiting for as long as it
  // would have.
  void ClockStepped(absl::Duration step);

  // When Reconcile has to be called though nothing is touched; InfiniteFuture if nothing waits.
  absl::Time NextWake() const;

  std::vector<ReconcileFailure> Failures() const;
  bool HasFailures() const;
  // Whether a virtual server that is wanted is there, with all that depends on it.
  bool IsInPlace(const DesiredState& desired, const ipvs::VirtualServerKey& key) const;
  std::vector<DrainingServer> Draining() const { return drains_.List(); }
  // Another number after every change of Draining.
  uint64_t drains_version() const { return drains_.version(); }
  // Since this Reconciler was made; drains of a former run that are gone on with have started, too.
  const DrainCounts& drain_counts() const { return drains_.counts(); }
  // Virtual servers that nobody wants and that still have connections, sorted.
  std::vector<ipvs::VirtualServerKey> Retiring() const;
  // Virtual servers that this cycle of the audit still has to read.
  size_t AuditRemaining() const { return audit_.size(); }
  // How long the last complete cycle of the audit took; zero before the first.
  absl::Duration audit_took() const { return audit_took_; }
  // What was found since the last call.
  DriftReport TakeDrift() { return std::exchange(drift_, {}); }
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
  // VIPs with the routes they should have, sorted.
  std::vector<VipRoute> WantedRoutes(const DesiredState& desired) const;
  const std::string& ruleset() const { return ruleset_; }
  // Keys of all that Owns says yes to, sorted.
  std::vector<ipvs::VirtualServerKey> OwnedVirtualServers() const;

 private:
  // When an element is due, see the order above.
  enum class Moment { kFirst, kInternalReady, kAddressesDone, kLast };

  Touched TakeWork(const DesiredState& desired, Touched touched, absl::Time now);
  // What was found and is to be looked at now.
  Touched TakeFound(const DesiredState& desired);
  // Takes real servers that are held out of the diff.
  void KeepHeld(const PlannedVirtualServer& want, VirtualServerDiff& diff);
  void Carry(const DesiredState& desired, Touched work, absl::Time now);
  absl::Status ReadFirewall();
  // `retry`: it failed, and may be tried again.
  void ReadFirewallIfStale(bool retry, absl::Time now);
  // Tells how the kernel's elements differ from what we believed, and looks at those.
  void CompareElements(const std::vector<Element>& elements);
  VipRoute RouteTo(const IpAddress& vip) const;

  // What others have changed.
  void CheckRoutes(absl::Time now);
  void Audit(absl::Time now);
  // Whether there are fewer virtual servers than there should be, as far as that is seen cheaply.
  bool SeesFlush();
  // Looks at one, if it is Fairlead's and known.
  void Look(const ipvs::VirtualServerKey& key);
  // False if it is not there, or cannot be read.
  bool CheckServer(const ipvs::VirtualServerKey& key);
  void CheckAllServers();
  void RememberOrder();
  // The keys in the order in which the kernel takes them most cheaply.
  std::vector<ipvs::VirtualServerKey> InWritingOrder(
      const std::set<ipvs::VirtualServerKey>& keys) const;
  // `found` unset: it is gone.
  void CompareServer(const ipvs::VirtualServerKey& key,
                     const std::optional<ActualVirtualServer>& found);

  // The account of virtual servers.
  void SetActual(const ipvs::VirtualServerKey& key, ActualVirtualServer server);
  void EraseActual(const ipvs::VirtualServerKey& key);

  // Decides which of the virtual servers that nobody wants retire, and adds what depends on that.
  void DecideRetiring(const DesiredState& desired, Touched& work);
  bool HasToRetire(const ipvs::VirtualServerKey& key);
  bool IsRetiring(const ipvs::VirtualServerKey& key) const;
  // Wanted by a Service, or needed by a virtual server that retires.
  bool Wants(const DesiredState& desired, const Element& element) const;
  bool WantsVip(const DesiredState& desired, const IpAddress& vip) const;
  // How long a real server of it may drain; `want` null: as when it was last wanted.
  absl::Duration PatienceOf(const ipvs::VirtualServerKey& key,
                            const PlannedVirtualServer* want) const;
  // Whether a change that failed may have happened all the same: it is written again, since what we
  // believe to be in the kernel proves nothing.
  bool InDoubt(const Element& element) const;
  bool InDoubt(const IpAddress& vip) const { return route_retries_.Contains(vip); }
  bool IsThere(const Element& element) const {
    return actual_elements_.contains(element) && !InDoubt(element);
  }

  Moment MomentOf(const DesiredState& desired, const Element& element, bool want) const;
  // Whether a way to a port is not to wait for its moment, but to be written in the first one.
  bool IsAtOnce(const DesiredState& desired, const Element& element, bool want) const;
  // Whether a port that may be in use would be shut without this way to it, as the one that is
  // wanted in its place has not come.
  bool Shuts(const DesiredState& desired, const Element& way) const;
  // What has to be done before the element can be written or deleted; empty: nothing.
  std::string Missing(const DesiredState& desired, const Element& element, bool want) const;
  // Whether packets may get the mark of the virtual server.
  bool IsMarkGiven(const ipvs::VirtualServerKey& mark) const;
  // Keeps account of an element that is in the kernel now, or no more.
  void Have(const Element& element);
  void HaveNoMore(const Element& element);
  void ReconcileElements(const DesiredState& desired, const std::set<Element>& elements,
                         Moment moment, absl::Time now);
  void ApplyElements(const DesiredState& desired, absl::Span<const ElementChange> changes,
                     absl::Time now);
  // The changes without the ways that cannot go, since the others did not come.
  std::vector<ElementChange> WithoutShutting(const DesiredState& desired,
                                             absl::Span<const ElementChange> changes,
                                             absl::Time now);

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

  void NoteLeaving(const ipvs::VirtualServerKey& key, absl::Duration patience,
                   const std::vector<ipvs::RealServerKey>& leaving, absl::Time now);
  void FinishDrains(absl::Time now);
  // Adds the real servers of it that have drained; false if it could not be read.
  bool PollDrains(const ipvs::VirtualServerKey& key, absl::Time now,
                  std::vector<ipvs::Operation>& operations);
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
  // How many of the virtual servers are of IPv4, and how many more the kernel counts: somebody else
  // made those since.
  uint32_t ipv4_servers_ = 0;
  uint32_t more_ipv4_servers_ = 0;
  // The place of each in the kernel's table, as last listed, and how many have come since. IPVS
  // keeps real servers that were deleted for two minutes, in a list with the last at its head, and
  // searches that list whenever one is added. After a flush, what is added in the opposite order is
  // found at once; in another order each costs a walk through those of the whole table.
  absl::flat_hash_map<ipvs::VirtualServerKey, uint32_t> kernel_order_;
  size_t servers_since_order_ = 0;
  // What the key does not say of a virtual server that was wanted: of those with marks, and those
  // with a drain timeout of their own.
  struct Traits {
    ipvs::Protocol protocol = ipvs::Protocol::kTcp;
    std::optional<absl::Duration> drain_timeout;
  };
  absl::flat_hash_map<ipvs::VirtualServerKey, Traits> traits_;

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
  // The account of elements is that of the kernel.
  bool elements_known_ = false;
  // A transaction failed, or the ruleset is another: the sets are read back before the next pass.
  bool firewall_stale_ = false;
  std::string loaded_ruleset_;
  // Somebody else was at them: they are read back, but not too often.
  bool firewall_suspect_ = false;
  bool routes_suspect_ = false;
  bool servers_suspect_ = false;
  absl::Time next_firewall_check_ = absl::InfinitePast();
  absl::Time next_routes_check_ = absl::InfinitePast();
  absl::Time next_servers_check_ = absl::InfinitePast();
  DriftReport drift_;
  // What is left of this cycle of the audit, last first.
  std::vector<ipvs::VirtualServerKey> audit_;
  size_t audit_share_ = 0;  // To be read at each tick.
  absl::Time next_audit_ = absl::InfinitePast();
  absl::Time audit_began_ = absl::InfinitePast();
  absl::Duration audit_took_ = absl::ZeroDuration();
  RetryQueue<ipvs::VirtualServerKey> server_retries_;
  RetryQueue<Element> element_retries_;
  RetryQueue<IpAddress> route_retries_;
  RetryQueue<std::string> general_retries_;
  std::set<FlowMatch> flows_to_forget_;

  Drains drains_;
  absl::Time next_drain_poll_ = absl::InfiniteFuture();
  // Where a look at what drains goes on that its budget has cut short.
  std::optional<ipvs::VirtualServerKey> drain_poll_from_;
  // Real servers of these have begun to drain in this pass.
  std::set<ipvs::VirtualServerKey> noted_leaving_;
  // Virtual servers of marks, and retiring ones, that have lost their last draining real server
  // since the last pass.
  std::set<ipvs::VirtualServerKey> drained_;
  // By their addresses. Whether the address has a route and a guard, as VIPs have.
  struct RetiringAddress {
    std::set<ipvs::VirtualServerKey> servers;
    bool vip = false;
  };
  absl::flat_hash_map<IpAddress, RetiringAddress> retiring_;
  std::set<ipvs::VirtualServerKey> taken_over_;
  WriteCounters counters_;
};

}  // namespace fairlead
