// What the kernel tells of changes by netlink, and a thread that waits for it.
#pragma once

#include <linux/filter.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proxy/kernel/netlink_message.h"

namespace fairlead {

struct NetlinkEventsOptions {
  int protocol = 0;              // NETLINK_ROUTE, ….
  std::vector<uint32_t> groups;  // RTNLGRP_…, NFNLGRP_….
  // What the messages are about, such as "changes of addresses": for errors.
  std::string what;
  // A classic BPF program over a datagram, from its first struct nlmsghdr; empty: none. What it
  // gives 0 for is never queued, so that others' changes cost no more than its run.
  std::vector<sock_filter> filter;
  // What the kernel keeps for a reader that is busy, as the kernel counts it; 0: its default
  // (net.core.rmem_default). Without CAP_NET_ADMIN it is at most net.core.rmem_max.
  int receive_buffer_bytes = 0;
};

// A socket that hears multicast groups, and sends nothing. Belongs to the network namespace of the
// thread that opened it. Thread-compatible.
class NetlinkEvents {
 public:
  // What changes after the return is heard. Errors are the environment's: descriptors, memory, a
  // kernel without the protocol.
  static absl::StatusOr<NetlinkEvents> Open(const NetlinkEventsOptions& options);

  NetlinkEvents(NetlinkEvents&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  NetlinkEvents& operator=(NetlinkEvents&&) = delete;
  ~NetlinkEvents();

  int fd() const { return fd_; }

  // Calls `visit` for each message of the kernel's that is there; one of its errors ends that
  // datagram. False: something was lost, because the socket was full, or could not be understood.
  // Once all is read the kernel queues again, so that a dump from then on misses nothing.
  bool Read(absl::FunctionRef<absl::Status(const Message&)> visit);

  // Hears a group no more, or again; also while another thread reads. Errors are the environment's.
  absl::Status Leave(uint32_t group) const;
  absl::Status Join(uint32_t group) const;

 private:
  explicit NetlinkEvents(int fd) : fd_(fd) {}

  int fd_;
};

// Calls `ready` on a thread of its own whenever one of the descriptors can be read.
class EventThread {
 public:
  // `ready` reads all that is there. The descriptors outlive this object. Errors are the
  // environment's: descriptors.
  static absl::StatusOr<std::unique_ptr<EventThread>> Start(std::vector<int> descriptors,
                                                            std::function<void()> ready);

  // Waits for a `ready` that runs. Not from within it.
  ~EventThread();

  EventThread(const EventThread&) = delete;
  EventThread& operator=(const EventThread&) = delete;

 private:
  EventThread(std::vector<int> descriptors, std::function<void()> ready, int stop_fd);

  void Run();

  const std::vector<int> descriptors_;
  const std::function<void()> ready_;
  const int stop_fd_;  // An eventfd.
  std::thread thread_;
};

}  // namespace fairlead
