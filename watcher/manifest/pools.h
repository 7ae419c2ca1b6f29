// The addresses and ports that are given out, and who has which.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "watcher/manifest/ranges.h"
#include "watcher/model.h"

namespace fairlead::manifest {

// The same number for the same text in every process, on every machine and in every version: agents
// agree on allocations because of it. FNV-1a, 64 bits, its bits mixed once more.
uint64_t StableHash(absl::string_view text);

// Cluster addresses of Services, asked for or given out. Confined to one thread, as is PortPool.
class AddressPool {
 public:
  // Where the Service that has the address is, or nullptr.
  const ObjectName* FindOwner(const IpAddress& address) const;
  // False where it is taken.
  bool Claim(const IpAddress& address, const ObjectName& owner);
  void Release(const IpAddress& address);

  // Claims a free address of the range: the first one from the hash on, in the upper part as long
  // as that has any. As the API server does, it leaves the lowest addresses for those who ask for
  // one, and never gives the network's, the first or, with IPv4, the broadcast address. Nothing
  // where the range is exhausted.
  std::optional<IpAddress> ClaimNext(const IpPrefix& range, uint64_t hash, const ObjectName& owner);

 private:
  absl::flat_hash_map<IpAddress, ObjectName> owners_;
};

using PortProtocol = std::pair<uint16_t, ipvs::Protocol>;

// Node ports of Services. A number may be asked for by two Services with different protocols, but
// is only given out to a Service that is alone with it.
class PortPool {
 public:
  const ObjectName* FindOwner(const PortProtocol& port) const;
  // False where it is taken.
  bool Claim(const PortProtocol& port, const ObjectName& owner);
  // Likewise, and where another Service has the number with any protocol.
  bool ClaimAlone(const PortProtocol& port, const ObjectName& owner);
  void Release(const PortProtocol& port);

  // Claims a free number of the range, from the hash on; the lower part comes last, as with
  // addresses.
  std::optional<uint16_t> ClaimNext(const PortRange& range, ipvs::Protocol protocol, uint64_t hash,
                                    const ObjectName& owner);

 private:
  bool HasOther(uint16_t number, const ObjectName& owner) const;
  bool IsTaken(uint16_t number) const;

  std::map<PortProtocol, ObjectName> owners_;
};

}  // namespace fairlead::manifest
