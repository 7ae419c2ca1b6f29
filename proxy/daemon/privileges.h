// Giving up every right that a daemon does not need.
//
// The agent writes IPVS, nftables, routes and connection tracking by CAP_NET_ADMIN, which is also
// what its child `nft` needs. Kernel settings and files are written as the user that it runs as:
// root owns them, so root needs no capability for them.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace fairlead {

// What the calling thread has.
struct Privileges {
  std::vector<std::string> permitted;  // Sorted; "net_admin".
  // What a program could still be given that is executed from here.
  std::vector<std::string> bounding;
  bool no_new_privileges = false;

  friend bool operator==(const Privileges&, const Privileges&) = default;
};

absl::StatusOr<Privileges> ReadPrivileges();

// Keeps the capabilities `keep` (numbers of linux/capability.h) in all sets, which hands them on to
// child processes of any user, and those of `keep_if_there` that it has; gives up all others for
// good, and sees to it that no executed program gets more. Call it before any thread is started:
// rights belong to threads. Returns what is left.
//
// PERMISSION_DENIED names what of `keep` the process does not have, and how to give it; nothing is
// changed then. Where the process may not narrow the bounding set (CAP_SETPCAP), that stays, which
// no_new_privileges makes harmless.
absl::StatusOr<Privileges> DropPrivileges(absl::Span<const int> keep,
                                          absl::Span<const int> keep_if_there = {});

// "net_admin; programs it runs can get no more".
std::string FormatPrivileges(const Privileges& privileges);

}  // namespace fairlead
