// Where the proxies of the programming benchmark learn of Services: a journal of the benchmark's
// own process, or a real API server on the machine outside the lab.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "test/bench/programming_objects.h"

namespace fairlead::bench {

// Throws std::runtime_error where a change fails. Not thread-safe.
class Source {
 public:
  virtual ~Source() = default;

  // Makes the Services of the crowd from number `from` to `to` - 1.
  virtual void Fill(int from, int to, int endpoints) = 0;

  virtual void Add(const BenchService& service) = 0;
  // Its endpoints have changed.
  virtual void Update(const BenchService& service) = 0;
  virtual void Remove(const BenchService& service) = 0;

  // kFloodChanges a second for so long, in the background. `services` of the crowd are there.
  virtual void StartFlood(int services, int endpoints, absl::Duration length) = 0;
  // Waits for its end, and until all endpoints are ready again. Returns how many endpoints it has
  // changed in a second.
  virtual double AwaitFlood() = 0;
};

// A journal with its server, in this process and network namespace, on all addresses.
inline constexpr int kFeedPort = 10270;
std::unique_ptr<Source> MakeFeedSource();

// The API server that the environment of with_api_server names, as the lab reaches it, and
// programming_outside for what is too much work for an emulated machine.
inline constexpr char kApiUrl[] = "https://10.0.2.100:6443";
inline constexpr int kOutsidePort = 7000;
std::unique_ptr<Source> MakeApiSource(const std::string& certificates);

}  // namespace fairlead::bench
