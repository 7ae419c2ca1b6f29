// Requests in the background while a test changes things.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "test/lab/http_client.h"
#include "test/lab/net_namespace.h"

namespace fairlead::lab {

struct LoadOptions {
  std::string address;
  int port = 0;
  RequestOptions request = {};  // with Transport::kUdp each request is a datagram
  int concurrency = 4;          // threads, each with one request at a time; up to kMaxConcurrency
  int64_t limit = 0;            // requests in all; 0: until Stop
  absl::Duration pause = absl::ZeroDuration();  // of each thread, between its requests
};

struct LoadSummary {
  int64_t requests = 0;
  int64_t ok = 0;
  std::map<Outcome, int64_t> by_outcome;   // those that occurred
  std::map<std::string, int64_t> by_name;  // answers by responder
  absl::Duration worst_latency;            // of an answer
  absl::Duration worst_gap;  // between two answers one after the other, or start and the first
  absl::Duration elapsed;
  std::vector<std::string> errors;  // the first few that were not kOk, in words

  int64_t failed() const { return requests - ok; }
};

std::ostream& operator<<(std::ostream& out, const LoadSummary& summary);

// Requests on new connections from one namespace, from its construction until its limit, Stop or
// its destruction. Thread-safe.
class LoadGenerator {
 public:
  static constexpr int kMaxConcurrency = 64;
  static constexpr size_t kMaxErrors = 5;

  // `net` must outlive it.
  LoadGenerator(const NetNamespace& net, const LoadOptions& options);
  ~LoadGenerator();

  // What was counted so far.
  LoadSummary Summary() const;
  // Waits for the end of the limit. Without one it would wait for ever, and returns at once.
  LoadSummary Wait();
  // Starts no more requests, waits for those under way.
  LoadSummary Stop();

 private:
  void Work();
  bool Claim() ABSL_LOCKS_EXCLUDED(mutex_);
  void Count(const Response& response) ABSL_LOCKS_EXCLUDED(mutex_);
  void Join();

  const NetNamespace& net_;
  const LoadOptions options_;

  mutable absl::Mutex mutex_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  int64_t claimed_ ABSL_GUARDED_BY(mutex_) = 0;
  const absl::Time start_;
  absl::Time last_answer_ ABSL_GUARDED_BY(mutex_);
  LoadSummary summary_ ABSL_GUARDED_BY(mutex_);

  absl::Mutex join_mutex_;
  std::vector<std::thread> threads_ ABSL_GUARDED_BY(join_mutex_);
};

}  // namespace fairlead::lab
