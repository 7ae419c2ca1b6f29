// Traffic that goes on while a test does harm, and an account of what its users would have noticed.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <ostream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "test/lab/http_client.h"
#include "test/lab/net_namespace.h"

namespace fairlead::lab {

// One kind of traffic, to Responders.
struct Flow {
  std::string name;                   // "pod to cluster IP"
  const NetNamespace* net = nullptr;  // where the client is; outlives the traffic
  std::string address;
  int port = 0;
  Transport transport = Transport::kTcp;  // or kUdp
  // New requests each second, each from a socket of its own. They are begun when they are due,
  // whatever has become of those before.
  int per_second = 0;
  // Connections, or sockets, that are kept: each sends a message every kHeldInterval.
  int held = 0;
};

struct TrafficFailure {
  absl::Time when;
  Outcome outcome = Outcome::kError;
  std::string what;  // with errno in words, and what the test had done last
};

// A kept connection.
struct HeldConnection {
  std::string name;                    // of the responder; empty before the first answer
  std::optional<absl::Time> answered;  // last
  std::optional<absl::Time> ended;     // by somebody else
  int64_t answers = 0;
};

// So far; requests under way are neither answered nor failed.
struct FlowSummary {
  std::string name;
  int64_t requests = 0;
  int64_t answered = 0;
  int64_t failed = 0;    // those of lost connections too
  int64_t left_out = 0;  // for kMaxUnderWay, and no requests
  int held = 0;          // connections and sockets
  int lost = 0;          // connections of those
  // Answers for which TCP had to send something again. A packet was lost, or late.
  int64_t sent_again = 0;
  absl::Duration worst_latency;
  // Between two answers: to any of the new requests, or on one of the kept connections. What is
  // missing at the end counts too.
  absl::Duration worst_gap;
  std::map<std::string, int64_t> by_name;  // answers by responder
  std::vector<TrafficFailure> failures;    // the first Traffic::kMaxFailures
};

std::ostream& operator<<(std::ostream& out, const FlowSummary& summary);

// All flows together.
FlowSummary Total(const std::vector<FlowSummary>& summaries);

// Of a whole number of milliseconds, for people.
std::string Brief(absl::Duration duration);

// Runs from its construction until Stop, in one thread for each namespace that has clients.
// Thread-compatible; Note may be called by any thread.
class Traffic {
 public:
  static constexpr absl::Duration kHeldInterval = absl::Milliseconds(100);
  // After that a request has failed, and a kept TCP connection is lost. Long enough for an emulated
  // machine that is busy with something else; what is shorter shows as gap and latency.
  static constexpr absl::Duration kTcpPatience = absl::Seconds(10);
  static constexpr absl::Duration kUdpPatience = absl::Seconds(10);
  static constexpr size_t kMaxFailures = 10;
  // New requests of a flow. What is due beyond that is left out: the machine cannot do it.
  static constexpr int kMaxUnderWay = 200;

  explicit Traffic(std::vector<Flow> flows);
  ~Traffic();
  Traffic(const Traffic&) = delete;
  Traffic& operator=(const Traffic&) = delete;

  // What the test does now, for the texts of failures that follow.
  void Note(std::string what);
  // In the order of the flows.
  std::vector<FlowSummary> Summaries() const;
  // Of one flow, by its number.
  FlowSummary Summary(size_t flow) const;
  std::vector<HeldConnection> Connections(size_t flow) const;
  // Waits until each flow, and each kept connection that is not lost, has had an answer since the
  // call. False after `limit`.
  bool AwaitAnswers(absl::Duration limit);
  // Begins no more requests, waits for those under way, closes what was kept.
  std::vector<FlowSummary> Stop();

 private:
  class Client;
  struct FlowState {
    FlowSummary summary;
    absl::Time last_answer;
    std::vector<HeldConnection> connections;
  };

  void CountRequest(size_t flow);
  void CountLeftOut(size_t flow);
  void CountAnswer(size_t flow, int held, const std::string& name, absl::Time began, bool again);
  // `asked`: it was a request; else a kept connection that was idle.
  void CountFailure(size_t flow, int held, bool asked, Outcome outcome, const std::string& what);

  const std::vector<Flow> flows_;
  const absl::Time start_;
  std::atomic<bool> stopping_ = false;

  mutable std::mutex mutex_;
  std::vector<FlowState> states_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::pair<absl::Time, std::string>> notes_ ABSL_GUARDED_BY(mutex_);
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;

  std::vector<std::thread> threads_;
};

}  // namespace fairlead::lab
