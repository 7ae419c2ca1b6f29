// What the kernel counts, as numbers of Services: per port, and per endpoint if asked for.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "ipvs/types.h"
#include "proxy/metrics/service_names.h"

namespace fairlead {

enum class MetricsDetail : uint8_t { kNone, kService, kEndpoint };

// Sums the virtual servers of a Service's port into one set of counters.
//
// A counter goes on when a virtual server is deleted and made anew, though the kernel's begins at
// 0: what is added is how far the kernel's has gone since the last reading, or all of it where it
// has fallen or the virtual server was seen to be gone. So it never falls while the agent runs and
// the port is there; what the kernel counted between the last reading and the deletion is lost. At
// the agent's start it is what the kernel has, so that a restart alone is no step.
//
// A port, or an endpoint, has series from its first packet on: of thousands of Services a node
// serves few. They go with the Service's port, or with the real server.
//
// Pure but for its memory; thread-compatible.
class Traffic {
 public:
  explicit Traffic(MetricsDetail detail) : detail_(detail) {}

  // Whose the virtual servers are from now on. Before the table that is given to Count is read:
  // what is not named yet is counted the next time.
  void Learn(const ServiceNames::Changes& changes);

  // Whether a virtual server may have connections to tell of: one that has a name, and it or
  // another of its port has had a packet. Where somebody set its counters to zero before the first
  // reading, it is its next packet that counts.
  bool MayBeUsed(const ipvs::VirtualServer& found) const;

  // What the kernel has, all of it: each key once. Virtual servers that nobody has named are
  // somebody else's; of those that are not used the real servers need not be there.
  void Count(const std::vector<ipvs::VirtualServer>& table);

  // In the place of Count where there is no table: forgets what nobody wants any more, which Count
  // does once the kernel has it no more.
  void Prune();

  // The families of kService and kEndpoint, as the detail says.
  void Append(std::string& out) const;

  // kubeproxy_sync_proxy_rules_no_local_endpoints_total: ports of Services whose policy Local
  // leaves none on this node.
  void AppendNoLocalEndpoints(std::string& out) const;

  // Ports, and virtual servers, that are known: for tests.
  size_t ports() const { return ports_.size(); }
  size_t servers() const { return servers_.size(); }

 private:
  struct Counters {
    uint64_t connections = 0;
    uint64_t packets_in = 0;
    uint64_t packets_out = 0;
    uint64_t bytes_in = 0;
    uint64_t bytes_out = 0;

    bool any() const { return (connections | packets_in | packets_out) != 0; }
  };
  // What is exported under one set of labels.
  struct Numbers {
    Counters total;
    uint64_t active = 0;
    uint64_t inactive = 0;

    bool used() const { return total.any() || active + inactive > 0; }
  };
  struct Endpoint {
    Numbers numbers;
    SharedText pod;
    uint64_t seen = 0;  // The reading that had it last.
  };
  struct PortKey {
    ObjectName service;
    std::string port;
    ipvs::Protocol protocol = ipvs::Protocol::kTcp;

    auto operator<=>(const PortKey&) const = default;
  };
  struct Port {
    Numbers numbers;
    std::map<ipvs::RealServerKey, Endpoint> endpoints;
    int servers = 0;  // Virtual servers that are counted here.
  };
  using Ports = std::map<PortKey, Port>;
  struct Server {
    ServiceNames::Server plan;
    bool wanted = true;
    Ports::iterator port;
    Counters last;
    // With kEndpoint only.
    absl::flat_hash_map<ipvs::RealServerKey, Counters> real_servers = {};
    uint64_t seen = 0;
  };

  static Counters Read(const ipvs::Statistics& statistics);
  // Adds what `now` has gone on since `last`, which becomes `now`.
  static void GoOn(Counters& total, Counters& last, const Counters& now);
  static void AppendFamilies(std::string& out, absl::string_view subject,
                             const std::vector<std::pair<std::string, const Numbers*>>& series);

  void CountEndpoints(Server& server, const ipvs::VirtualServer& found);
  void Release(Ports::iterator port);

  const MetricsDetail detail_;
  Ports ports_;
  absl::flat_hash_map<ipvs::VirtualServerKey, Server> servers_;
  uint64_t reading_ = 0;
};

}  // namespace fairlead
