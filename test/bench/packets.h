// What sends and answers on the data path: small, so that what is measured is the kernel.
#pragma once

#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "test/lab/net_namespace.h"

namespace fairlead::bench {

// Of a request, and of its answer.
inline constexpr size_t kMessageBytes = 64;

// A server in a namespace, on any address, with one thread: what comes to kEchoPort by TCP or UDP
// goes back, what comes to kSinkPort by TCP is read to its end. A connection is closed once its
// client has.
class PacketServer {
 public:
  static constexpr int kEchoPort = 8080;
  static constexpr int kSinkPort = 8081;

  // Throws std::runtime_error where a port cannot be had. `net` outlives it.
  explicit PacketServer(const lab::NetNamespace& net);
  ~PacketServer();
  PacketServer(const PacketServer&) = delete;
  PacketServer& operator=(const PacketServer&) = delete;

 private:
  void Serve();
  void Accept(int listener, bool echo);
  void Read(int socket, bool echo);

  const lab::NetNamespace& net_;
  const int epoll_;
  const int end_;  // An eventfd.
  int echo_ = -1;
  int sink_ = -1;
  int datagrams_ = -1;
  std::vector<char> buffer_;
  std::thread thread_;
};

// Where a client is, and whom it talks to: an IPv4 address.
struct PacketTarget {
  const lab::NetNamespace* net = nullptr;
  std::string address;
  int echo_port = PacketServer::kEchoPort;
  int sink_port = PacketServer::kSinkPort;
};

// All of these throw std::runtime_error where an answer is missing.

// One after the other: connect, a request, its answer, close. Microseconds for each.
std::vector<double> TimeConnections(const PacketTarget& target, int count);
// The same by so many clients at a time; how many there were in a second.
double ConnectionRate(const PacketTarget& target, int clients, int count_each);
// Requests with their answers on one connection. Microseconds for each.
std::vector<double> TimeRequests(const PacketTarget& target, int count);
// Datagrams with their answers, each from a socket of its own. Microseconds for each.
std::vector<double> TimeDatagrams(const PacketTarget& target, int count);
// Megabytes a second, over so many connections at a time.
double Throughput(const PacketTarget& target, int connections, int64_t bytes_each);

}  // namespace fairlead::bench
