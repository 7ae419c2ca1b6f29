// The servers of a cluster's pods, all in one thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "test/lab/net_namespace.h"

namespace fairlead::lab {

enum class Transport { kTcp, kUdp, kSctp };

// Answers HTTP requests and datagrams on any number of ports in any number of namespaces. An
// answer says who gave it and whom it saw:
//
//   name=web-1 client=10.244.1.2:40112
//
// HTTP: any request gets 200 and that line, on a connection that is kept open unless the request
// says `Connection: close`. The query `ms=N` delays the answer by N milliseconds
// ("/slow?ms=500"). Datagrams are answered from the address that they were sent to.
//
// Sockets are dual-stack and bound to any address, as IPv4 clients see it IPv4. Thread-safe.
class Responder {
 public:
  using Id = uint64_t;
  // Enough for any test; more than that is a mistake in it.
  static constexpr size_t kMaxConnections = 20000;
  static constexpr size_t kMaxRequestBytes = 8192;

  Responder();
  ~Responder();
  Responder(const Responder&) = delete;
  Responder& operator=(const Responder&) = delete;

  // Listens on the port; for Transport::kUdp the same as AddUdp. AlreadyExists (and the kernel's
  // other codes) if the port is taken, Unimplemented or the like where the kernel has no SCTP.
  absl::StatusOr<Id> AddHttp(const NetNamespace& net, int port, absl::string_view name,
                             Transport transport = Transport::kTcp);
  absl::StatusOr<Id> AddUdp(const NetNamespace& net, int port, absl::string_view name);

  // Refuses new connections; those that are open are served on. For UDP the same as Remove.
  void StopAccepting(Id id);
  // Stops, and resets its connections. An id that is not there any more is ignored.
  void Remove(Id id);

  // Requests and datagrams that it has answered; 0 once it was removed.
  int64_t Answered(Id id) const;
  // Its connections that are open now.
  int64_t OpenConnections(Id id) const;

 private:
  struct Server {
    std::string name;
    Transport transport = Transport::kTcp;
    int socket = -1;  // -1: does not accept any more
    int64_t answered = 0;
  };
  struct Connection {
    Id server = 0;
    int socket = -1;
    std::string client;    // ADDRESS:PORT
    std::string request;   // what has come of the next request
    bool delayed = false;  // an answer is due; what comes meanwhile waits
  };

  void Loop();
  absl::StatusOr<Id> Add(const NetNamespace& net, int port, absl::string_view name,
                         Transport transport);
  void Watch(Id id, int socket) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void HandleEvent(Id id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Accept(Id id, const Server& server) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void AnswerDatagrams(Server& server) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Read(Id id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void HandleRequests(Id id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Answer(Id id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void AnswerDelayed(absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Close(Id id, bool reset) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void CloseServerSocket(Server& server) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const int epoll_;
  const int wake_;  // an eventfd: the timeouts have changed, or the end has come

  mutable absl::Mutex mutex_;
  Id last_id_ ABSL_GUARDED_BY(mutex_) = 0;  // of servers and connections; never used twice
  std::map<Id, Server> servers_ ABSL_GUARDED_BY(mutex_);
  std::map<Id, Connection> connections_ ABSL_GUARDED_BY(mutex_);
  std::multimap<absl::Time, Id> delayed_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;

  std::thread thread_;
};

}  // namespace fairlead::lab
