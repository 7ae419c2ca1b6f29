// Real servers that are no longer wanted and keep their connections for a while. Pure.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <vector>

#include "absl/time/time.h"
#include "ipvs/types.h"

namespace fairlead {

// A real server with weight 0 that waits for its connections to end.
struct DrainingServer {
  ipvs::VirtualServerKey virtual_server;
  ipvs::RealServerKey real_server;
  absl::Time since;
  absl::Time until;  // Then it goes, with the connections it still has.

  auto operator<=>(const DrainingServer&) const = default;
};

// Time is an argument. Confined to one thread.
class Drains {
 public:
  struct Drain {
    absl::Time since;
    absl::Time until;

    friend bool operator==(const Drain&, const Drain&) = default;
  };
  using OfServer = std::map<ipvs::RealServerKey, Drain>;

  // Drains of a former run: of those that are noted again the time goes on.
  void Restore(const std::vector<DrainingServer>& drains);
  // What has not been noted by now will not be; or of this real server, which is wanted again.
  void ForgetRestored() { restored_.clear(); }
  void ForgetRestored(const ipvs::VirtualServerKey& key, const ipvs::RealServerKey& real_server);
  // The longest time that a restored drain of the virtual server was given; unset: there is none.
  std::optional<absl::Duration> RestoredPatience(const ipvs::VirtualServerKey& key) const;

  // `leaving` are all that drain of the virtual server, each for so long from when it was first
  // noted.
  void Note(const ipvs::VirtualServerKey& key, const std::vector<ipvs::RealServerKey>& leaving,
            absl::Duration patience, absl::Time now);
  // Those that are no longer there are none.
  void Replace(const ipvs::VirtualServerKey& key, OfServer drains);
  void Erase(const ipvs::VirtualServerKey& key, const ipvs::RealServerKey& real_server);
  void Erase(const ipvs::VirtualServerKey& key);

  // The deadline of those for which `which` says so is now; how many they are.
  size_t End(const std::function<bool(const DrainingServer&)>& which, absl::Time now);

  // The clock was set by so much: what is left of each stays.
  void ClockStepped(absl::Duration step);

  size_t size() const;
  bool empty() const { return drains_.empty(); }
  // None of them is empty.
  const std::map<ipvs::VirtualServerKey, OfServer>& by_server() const { return drains_; }
  // Sorted.
  std::vector<DrainingServer> List() const;
  // Another number after every change.
  uint64_t version() const { return version_; }

 private:
  std::map<ipvs::VirtualServerKey, OfServer> drains_;
  std::map<ipvs::VirtualServerKey, OfServer> restored_;
  uint64_t version_ = 0;
};

}  // namespace fairlead
