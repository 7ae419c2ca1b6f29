// Operations drawn at random from a small world, so that they meet: seeded, for property tests.
#pragma once

#include <random>
#include <vector>

#include "ipvs/table.h"

namespace fairlead::ipvs {

// Thread-compatible. The same seed gives the same operations.
class RandomOperations {
 public:
  explicit RandomOperations(uint32_t seed) : random_(seed) {}

  // Any verb on any key of the world. Some values are ones that a kernel refuses.
  Operation Next();

  // An operation that adds, with values that a kernel with the usual schedulers takes.
  Operation NextValid();

  // A table of `servers` virtual servers with up to `real_servers` each, valid and sorted by key.
  std::vector<VirtualServer> NextTable(int servers, int real_servers);

 private:
  int Below(int limit) { return std::uniform_int_distribution<int>(0, limit - 1)(random_); }
  bool OneIn(int n) { return Below(n) == 0; }
  VirtualServerConfig NextVirtualConfig(IpFamily family);
  RealServerConfig NextRealConfig();

  std::mt19937 random_;
};

// The operations that make `table` from an empty one.
std::vector<Operation> MakeOperations(const std::vector<VirtualServer>& table);

}  // namespace fairlead::ipvs
