// Real servers that are no longer wanted and keep their connections for a while. Pure.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <vector>

#include "absl/functional/function_ref.h"
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

// Drains so far: those that have begun, and of these the ones that are none any more, by why.
struct DrainCounts {
  uint64_t started = 0;
  uint64_t idle = 0;      // The last connection had ended.
  uint64_t timeout = 0;   // The deadline came.
  uint64_t at_once = 0;   // There was no time: as a rule for UDP.
  uint64_t command = 0;   // It was ended by End.
  uint64_t returned = 0;  // The real server is wanted again.
  uint64_t gone = 0;      // With its virtual server, or by somebody else's doing.

  friend bool operator==(const DrainCounts&, const DrainCounts&) = default;
};

// Time is an argument. Confined to one thread.
class Drains {
 public:
  struct Drain {
    absl::Time since;
    absl::Time until;
    bool ended = false;  // By End.

    friend bool operator==(const Drain&, const Drain&) = default;
  };
  using OfServer = std::map<ipvs::RealServerKey, Drain>;

  // Drains of a former run: of those that are noted again the time goes on.
  void Restore(const std::vector<DrainingServer>& drains);
  // What has not been noted by now will not be.
  void ForgetRestored() { restored_.clear(); }
  // The real server is wanted: it does not drain, now or in a former run.
  void NoteWanted(const ipvs::VirtualServerKey& key, const ipvs::RealServerKey& real_server);
  // The longest time that a restored drain of the virtual server was given; unset: there is none.
  std::optional<absl::Duration> RestoredPatience(const ipvs::VirtualServerKey& key) const;

  // `leaving` are all that drain of the virtual server, each for so long from when it was first
  // noted.
  void Note(const ipvs::VirtualServerKey& key, const std::vector<ipvs::RealServerKey>& leaving,
            absl::Duration patience, absl::Time now);
  // Those that are no longer there are none.
  void Replace(const ipvs::VirtualServerKey& key, OfServer drains);
  // The real server was deleted, since it had drained or its deadline had come.
  void Erase(const ipvs::VirtualServerKey& key, const ipvs::RealServerKey& real_server,
             absl::Time now);
  // The virtual server was.
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
  // `started` less all that ended is size().
  const DrainCounts& counts() const { return counts_; }

 private:
  // Of one that is there; counts it where `why` says.
  void Remove(const ipvs::VirtualServerKey& key, const ipvs::RealServerKey& real_server,
              absl::FunctionRef<uint64_t DrainCounts::*(const Drain&)> why);

  std::map<ipvs::VirtualServerKey, OfServer> drains_;
  std::map<ipvs::VirtualServerKey, OfServer> restored_;
  uint64_t version_ = 0;
  DrainCounts counts_;
};

}  // namespace fairlead
