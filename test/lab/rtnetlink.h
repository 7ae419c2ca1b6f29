// Links, addresses and routes of a namespace, set in process: a start of `ip` costs some 50 ms in
// the guest, and a cluster needs hundreds.
#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "test/lab/net_namespace.h"

namespace fairlead::lab {

// A route, in the manner of `ip route`. The family is the destination's.
struct Route {
  std::string destination;   // "10.96.0.0/12", "fd00:96::/64", one address, "0.0.0.0/0", "::/0"
  std::string gateway = {};  // "via"; empty: on the link
  std::string device = {};   // may be empty where there is a gateway
  std::string source = {};   // preferred source; empty: the kernel's choice
  bool local = false;        // of type local, in the table local
  bool onlink = false;       // the gateway is on the link, whatever the addresses say
};

// A route netlink socket in one namespace. Each call is one request and waits for the kernel's
// answer; errors carry the kernel's errno as the status' code. Not thread-safe.
class RtNetlink {
 public:
  static absl::StatusOr<std::unique_ptr<RtNetlink>> Open(const NetNamespace& net_namespace);

  ~RtNetlink();
  RtNetlink(const RtNetlink&) = delete;
  RtNetlink& operator=(const RtNetlink&) = delete;

  // A pair of veth devices, one here and one in the namespace `peer_namespace`; both are down.
  absl::Status AddVeth(absl::string_view name, const NetNamespace& peer_namespace,
                       absl::string_view peer_name);
  absl::Status AddBridge(absl::string_view name);
  // Brings the link up, as a port of the bridge `master` unless that is empty.
  absl::Status SetUp(absl::string_view name, absl::string_view master = {});
  absl::Status SetDown(absl::string_view name);
  // With a veth its peer goes too, at once.
  absl::Status DeleteLink(absl::string_view name);
  // `prefix` is ADDRESS/LENGTH. IPv6 addresses are usable at once (no duplicate detection).
  absl::Status AddAddress(absl::string_view device, absl::string_view prefix);
  absl::Status DeleteAddress(absl::string_view device, absl::string_view prefix);
  // Adds or replaces.
  absl::Status SetRoute(const Route& route);
  absl::Status DeleteRoute(const Route& route);

 private:
  class Message;

  explicit RtNetlink(int socket) : socket_(socket) {}

  absl::StatusOr<int> Index(absl::string_view device) const;
  absl::Status ChangeFlags(absl::string_view name, bool up, int master);
  absl::Status ChangeAddress(int type, int flags, absl::string_view device,
                             absl::string_view prefix);
  absl::Status ChangeRoute(int type, int flags, const Route& route);
  absl::Status Send(Message& message);

  const int socket_;
};

}  // namespace fairlead::lab
