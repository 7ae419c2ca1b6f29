// Tells when somebody else changes Fairlead's firewall or routes.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proxy/kernel/netlink_events.h"

namespace fairlead {

// What may differ from what was written. It says where to look, not what to find.
struct TableChange {
  // Something in `table inet fairlead`, or the table itself.
  bool firewall = false;
  // Of that, more than elements of sets: the table, a chain, a rule or a set.
  bool ruleset = false;
  // Fairlead's routes, or others in the table local.
  bool routes = false;
  // Who changed the firewall last, as far as the kernel says: "nft[4711]". Empty: not known.
  std::string firewall_by;

  friend bool operator==(const TableChange&, const TableChange&) = default;
};

struct TableMonitorOptions {
  // Sockets whose changes are not told: NftFirewall::port_id(), NetlinkRoutes::port_id(). Port ids
  // of the two protocols have nothing to do with each other.
  std::vector<uint32_t> firewall_ports;
  std::vector<uint32_t> route_ports;
  // Called on the monitor's thread, once for all that is there to be told. While it runs, what
  // follows waits, and is lost at some length, which is told.
  std::function<void(const TableChange&)> changed;
};

// Hears of nftables and routes in one network namespace, with a thread of its own. Told are:
// - every change of `table inet fairlead` when it is committed, a flush of the whole ruleset too;
// - routes with Fairlead's protocol number in any table, and those of others in the table local,
//   which can replace or hide Fairlead's there; of these not the kernel's own, since they come and
//   go with addresses, which AddressMonitor tells;
// - the device lo, with which the routes of IPv4 go without a word;
// - that something may have been lost, since the kernel had to tell more than it could keep.
//
// Not told is that routes go with the address that is their source: the kernel does not say it of
// IPv4. AddressMonitor tells of the address.
//
// The program `nft` has a port id of its own, so what the agent loads by it is told like anyone's:
// who then compares with the kernel finds no difference.
//
// Routes of others are dropped in the kernel and wake nobody, however many they are. Changes of
// other nftables tables are read here, as far as their table's name.
class TableMonitor {
 public:
  // In the network namespace of the calling thread. What changes after the return is told; read
  // firewall and routes then. Errors are the environment's: FAILED_PRECONDITION where the kernel
  // has no nfnetlink, PERMISSION_DENIED without CAP_NET_ADMIN, descriptors, memory.
  static absl::StatusOr<std::unique_ptr<TableMonitor>> Start(TableMonitorOptions options);

  // Waits for a `changed` that runs. Not from within it.
  ~TableMonitor() = default;

  // Hears of nftables no more, and again. While nobody hears, the kernel makes no notifications,
  // which it else does for each element, also of our own requests. What happens meanwhile is not
  // told. From any one thread. Errors are the environment's.
  absl::Status LeaveFirewall();
  absl::Status JoinFirewall();

  TableMonitor(const TableMonitor&) = delete;
  TableMonitor& operator=(const TableMonitor&) = delete;

 private:
  TableMonitor(std::function<void(const TableChange&)> changed, NetlinkEvents firewall,
               NetlinkEvents routes);

  void ReadEvents();
  // Adds what a message of nftables says.
  absl::Status TakeFirewall(const Message& message, TableChange& change);

  const std::function<void(const TableChange&)> changed_;
  NetlinkEvents firewall_;
  NetlinkEvents routes_;
  // Of the transaction whose messages are being read. Of the thread.
  TableChange uncommitted_;
  std::unique_ptr<EventThread> thread_;  // Last: it uses the rest until it ends.
};

}  // namespace fairlead
