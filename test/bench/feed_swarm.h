// Thousands of agents in one process, each with a connection of its own, that acknowledge what they
// get and throw it away.
#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/security/credentials.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/time/time.h"

namespace fairlead::bench {

// Agents of one watcher. Thread-compatible.
class Swarm {
 public:
  Swarm(std::string address, std::shared_ptr<grpc::ChannelCredentials> credentials);
  ~Swarm();
  Swarm(const Swarm&) = delete;
  Swarm& operator=(const Swarm&) = delete;

  // Connects until there are so many.
  void Grow(int size);
  // Cuts all connections and connects anew, each agent with what it has.
  void Reconnect();

  // Before what leads to it: from now on agents that have less note when they have `revision`.
  void Expect(uint64_t revision);
  // Until all have it, and when each had it; throws std::runtime_error where that takes minutes.
  std::vector<absl::Time> Await();

  // Of messages, without what HTTP/2, TLS and TCP add.
  uint64_t bytes_received() const { return bytes_; }
  // Streams that ended though nobody ended them.
  int ended() const { return ended_; }

 private:
  class Stream;

  void Open(int index);
  // Called by streams.
  void Arrived(int index, uint64_t revision, size_t bytes);
  void Ended(int index, bool wanted);

  const std::string address_;
  const std::shared_ptr<grpc::ChannelCredentials> credentials_;
  std::string epoch_;
  std::vector<uint64_t> revisions_;
  std::vector<absl::Time> times_;
  std::vector<std::unique_ptr<Stream>> streams_;
  std::atomic<uint64_t> bytes_ = 0;
  std::atomic<int> ended_ = 0;

  std::mutex mutex_;
  std::condition_variable changed_;
  uint64_t expected_ = 0;
  size_t missing_ = 0;
  int open_ = 0;
  // Indexes of streams that ended by themselves.
  std::vector<int> fallen_;
};

}  // namespace fairlead::bench
