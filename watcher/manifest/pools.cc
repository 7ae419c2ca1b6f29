#include "watcher/manifest/pools.h"

#include <algorithm>

#include "watcher/fnv.h"

namespace fairlead::manifest {
namespace {

// The lower part of a range that is given out last: a sixteenth of it within limits, a 32nd for
// ports (pkg/registry/core/service/ipallocator and portallocator, calculateRangeOffset).
uint64_t LowerPart(uint64_t size, uint64_t minimum, uint64_t maximum, uint64_t divisor) {
  if (size <= minimum) return 0;
  return std::clamp(size / divisor, minimum, maximum);
}

// Calls `claim(i)` for every i from 0 to size - 1, until one is true: those from `lower` on first,
// starting at the hash.
template <typename Claim>
bool Probe(uint64_t size, uint64_t lower, uint64_t hash, const Claim& claim) {
  const uint64_t upper = size - lower;
  for (uint64_t i = 0; i < upper; ++i) {
    if (claim(lower + (hash % upper + i) % upper)) return true;
  }
  for (uint64_t i = 0; i < lower; ++i) {
    if (claim((hash % lower + i) % lower)) return true;
  }
  return false;
}

}  // namespace

uint64_t StableHash(absl::string_view text) {
  uint64_t hash = Fnv1a(text);
  // The finaliser of MurmurHash3: short texts differ in the low bits of FNV only.
  hash = (hash ^ (hash >> 33)) * 0xff51afd7ed558ccd;
  hash = (hash ^ (hash >> 33)) * 0xc4ceb9fe1a85ec53;
  return hash ^ (hash >> 33);
}

const ObjectName* AddressPool::FindOwner(const IpAddress& address) const {
  auto it = owners_.find(address);
  return it == owners_.end() ? nullptr : &it->second;
}

bool AddressPool::Claim(const IpAddress& address, const ObjectName& owner) {
  return owners_.emplace(address, owner).second;
}

void AddressPool::Release(const IpAddress& address) { owners_.erase(address); }

std::optional<IpAddress> AddressPool::ClaimNext(const IpPrefix& range, uint64_t hash,
                                                const ObjectName& owner) {
  const int host_bits = range.address().bit_length() - range.length();
  const uint64_t total = host_bits >= 63 ? uint64_t{1} << 63 : uint64_t{1} << host_bits;
  // Without the network's and the first address, which is that of default/kubernetes.
  const uint64_t kept_back = range.address().is_v4() ? 3 : 2;
  if (total <= kept_back) return std::nullopt;
  const uint64_t size = total - kept_back;
  std::optional<IpAddress> found;
  Probe(size, LowerPart(size, 16, 256, 16), hash, [&](uint64_t i) {
    const IpAddress address = range.address().Plus(i + 2);
    if (Claim(address, owner)) found = address;
    return found.has_value();
  });
  return found;
}

const ObjectName* PortPool::FindOwner(const PortProtocol& port) const {
  auto it = owners_.find(port);
  return it == owners_.end() ? nullptr : &it->second;
}

bool PortPool::Claim(const PortProtocol& port, const ObjectName& owner) {
  return owners_.emplace(port, owner).second;
}

bool PortPool::HasOther(uint16_t number, const ObjectName& owner) const {
  for (auto it = owners_.lower_bound({number, ipvs::Protocol{0}});
       it != owners_.end() && it->first.first == number; ++it) {
    if (it->second != owner) return true;
  }
  return false;
}

bool PortPool::IsTaken(uint16_t number) const {
  auto it = owners_.lower_bound({number, ipvs::Protocol{0}});
  return it != owners_.end() && it->first.first == number;
}

bool PortPool::ClaimAlone(const PortProtocol& port, const ObjectName& owner) {
  return !HasOther(port.first, owner) && Claim(port, owner);
}

void PortPool::Release(const PortProtocol& port) { owners_.erase(port); }

std::optional<uint16_t> PortPool::ClaimNext(const PortRange& range, ipvs::Protocol protocol,
                                            uint64_t hash, const ObjectName& owner) {
  std::optional<uint16_t> found;
  const auto size = static_cast<uint64_t>(range.size());
  Probe(size, LowerPart(size, 16, 128, 32), hash, [&](uint64_t i) {
    const auto number = static_cast<uint16_t>(range.first + i);
    if (!IsTaken(number) && Claim({number, protocol}, owner)) found = number;
    return found.has_value();
  });
  return found;
}

}  // namespace fairlead::manifest
