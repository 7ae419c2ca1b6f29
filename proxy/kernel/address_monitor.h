// Tells when addresses of the node come and go.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ipvs/ip_address.h"
#include "proxy/kernel/netlink_events.h"
#include "proxy/kernel/netlink_message.h"
#include "proxy/kernel/netlink_socket.h"

namespace fairlead {

// Hears of the addresses on the devices of one network namespace, both families, with a thread of
// its own. Says only that something changed: what is there now, ReadNodeAddresses says.
class AddressMonitor {
 public:
  // In the network namespace of the calling thread. What changes after the return is told; read the
  // addresses then. Errors are the environment's: descriptors, memory.
  //
  // `changed` is called on the monitor's thread, once for all that is there to be told: an address
  // is there that was not, one is gone (also because its device is gone or down), a tentative one
  // of IPv6 can be used, or the kernel lost what it had to tell. An address whose lifetime is
  // renewed, as router advertisements do all the time, is no change. It may be called when there
  // was none. While it runs, what follows waits, and is lost at some length, which is told.
  static absl::StatusOr<std::unique_ptr<AddressMonitor>> Start(std::function<void()> changed);

  // Waits for a `changed` that runs. Not from within it.
  ~AddressMonitor() = default;

  AddressMonitor(const AddressMonitor&) = delete;
  AddressMonitor& operator=(const AddressMonitor&) = delete;

 private:
  // What the kernel tells addresses apart by. IPv4 has one address several times on a device, with
  // other prefixes or peers; IPv6 has it once, and the rest is not filled in.
  struct Key {
    uint32_t device = 0;
    IpAddress address;
    IpAddress peer;
    uint8_t prefix_length = 0;

    auto operator<=>(const Key&) const = default;
  };

  AddressMonitor(std::function<void()> changed, NetlinkEvents events, NetlinkSocket socket)
      : changed_(std::move(changed)), events_(std::move(events)), socket_(std::move(socket)) {}

  // Fills in seen_.
  absl::Status ReadAddresses();
  // Reads all that is there; whether there is something to tell.
  bool ReadEvents();
  // Brings seen_ up to date; whether it made a difference.
  absl::StatusOr<bool> Take(const Message& message);

  const std::function<void()> changed_;
  NetlinkEvents events_;
  NetlinkSocket socket_;  // For requests.
  // Each address, and whether it can be used. Of the thread, once it runs.
  std::map<Key, bool> seen_;
  std::unique_ptr<EventThread> thread_;  // Last: it uses the rest until it ends.
};

}  // namespace fairlead
