// The tables of the rules for Services, as data: each cell says what becomes of a connection from
// one place to one address. The files are beside this one.
//
// The stage is the same for all of them. Node n1 is under test, n2 has endpoints only.
//
//   web-1     n1  10.244.1.2     fd44:1::2    device pod2 ┐ of n1, by which the pod's packets come
//   web-3     n1  10.244.1.3     fd44:1::3           pod3 │ (with `pods: bridge` all by cni0)
//   client-1  n1  10.244.1.4     fd44:1::4           pod4 ┘
//   web-2     n2  10.244.2.2     fd44:2::2
//   web-4     n2  10.244.2.3     fd44:2::3
//   n1            172.18.0.11    fd18::11            eth0
//   n2            172.18.0.12    fd18::12
//   client        172.18.0.100   fd18::100    outside of the cluster, on the nodes' LAN
//
// The web pods answer on TCP 8080 and 9090, UDP 5353 and SCTP 8080. The client has routes to all
// Services' addresses through n1, and n2 sends what is for the client through n1, so that replies
// to connections that are not masqueraded find their way. stage.yaml holds the Nodes: n1 in zone-a,
// n2 in zone-b.
//
// A file is a YAML stream. Its first document holds the tables, the others are ordinary Kubernetes
// objects. Addresses, node ports and namespaces are unique over all files: one agent serves all
// files that have a configuration in common.
//
//   about: one sentence
//   runs:                                          # configurations; default: cluster-cidr
//   - {name: bridge, pods: bridge, flags: [--detect-local-mode, BridgeInterface, …]}
//   sets: {all: [web-1, web-2], local: [web-1]}    # names for lists of endpoints
//   tables:
//   - runs: [bridge]                               # default: all runs of the file
//     columns: [service, port, to,        pod, node,     outside]
//     rows:
//     -        [plain,   http, clusterIP, all, all masq, drop]
//
// Columns, in any order; `~` in a row is nothing:
//   service   NAME, or NAMESPACE/NAME where the name alone is not unique in the file
//   port      its name; may be left out where the Service has one port
//   to        clusterIP, nodePort (on n1's own addresses), loadBalancer, externalIP, `external` for
//             each of the latter three, or a literal ADDRESS:PORT/PROTOCOL. All but the literal
//             stand for one case of each family that the Service has, and for each of its addresses
//   families  [IPv4] or [IPv6], to have cases of one family only
//   machine   true: only a machine with n1's addresses can tell, not the objects alone
//   all others are places to connect from: `node` (n1 itself), `outside` (the client), `pod`
//   (client-1), the name of another pod of n1, or `self` (n1, from the very address it connects to)
//
// A cell is `reject` (refused at once), `drop` (silence), `none` (no Service is there), or
// endpoints: SET, NAME or NAME:PORT, with ` masq` behind it where they see an address of n1 in
// place of the client's; a list of these; or `one of SET`, where each client keeps to one.
// Masquerade of the node's own connections shows in no packet: they have an address of n1 anyway.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "ipvs/ip_address.h"
#include "ipvs/types.h"

namespace fairlead::vectors {

enum class Verdict : uint8_t { kBalance, kReject, kDrop, kNone };

// "balance", "reject", "drop" or "none".
absl::string_view FormatVerdict(Verdict verdict);

struct Expected {
  Verdict verdict = Verdict::kNone;
  // "web-1:8080", and whether it sees the client masqueraded. Empty unless kBalance.
  std::map<std::string, bool> endpoints;
  bool one_of = false;  // A client meets one of them, always the same.

  // "web-1:8080 masq, web-2:8080", "one of web-1:8080, web-2:8080", "drop".
  std::string Format() const;
};

// Where a connection comes from.
struct Source {
  std::string column;  // "pod", "node", …
  std::string pod;     // Name; empty for n1 and the client.
  IpAddress address;
  std::string device;  // Of n1, by which its packets come; empty for n1's own.

  bool is_node() const { return pod.empty() && device.empty(); }
};

// A cell, for one family and address.
struct Case {
  std::string file;  // Without ".yaml".
  std::string run;
  std::string row;  // "shop/plain:http to nodePort".
  Source source;
  IpAddress address;
  uint16_t port = 0;
  ipvs::Protocol protocol = ipvs::Protocol::kTcp;
  // "shop/plain:http", "shop/plain" where the port has no name; empty where the row names none.
  std::string service;
  bool needs_machine = false;
  Expected expected;

  // "10.96.0.1:80/tcp".
  std::string Destination() const;
  // "masquerade, run bridge: shop/plain:http to nodePort, from pod, IPv4 172.18.0.11:30080/tcp".
  std::string Format() const;
};

// What one agent serves.
struct Group {
  std::string name;  // The run's; the first one's where files call it differently.
  bool pod_bridge = false;
  // All but the node's name and addresses, and where the manifests are.
  std::vector<std::string> flags;
  std::map<std::string, std::string> manifests;  // Text by file name.
  std::vector<Case> cases;
};

// All files of the folder. INVALID_ARGUMENT names file and row.
absl::StatusOr<std::vector<Group>> LoadGroups(const std::string& folder);

inline constexpr char kNode4[] = "172.18.0.11";
inline constexpr char kNode6[] = "fd18::11";
inline constexpr char kClient4[] = "172.18.0.100";
inline constexpr char kClient6[] = "fd18::100";

struct StagePod {
  std::string name;
  int node = 0;
  std::string ipv4;
  std::string ipv6;
  std::string device;  // Of its node.
  bool answers = false;
};

const std::vector<StagePod>& StagePods();
// nullptr if there is none.
const StagePod* FindPod(absl::string_view name);

// Flags that say that this is n1.
std::vector<std::string> NodeFlags();

// The address and port of "web-1:8080". The pod exists.
std::string EndpointAddress(absl::string_view endpoint, IpFamily family);

}  // namespace fairlead::vectors
