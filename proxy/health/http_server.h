// An HTTP/1.1 server for short answers, such as health checks.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "ipvs/ip_address.h"
#include "proxy/health/http.h"
#include "proxy/health/listening_socket.h"

namespace fairlead {

struct HttpLimits {
  // Further ones are refused. Each has two file descriptors.
  size_t listeners = 4096;
  // Further ones wait in the kernel until one of them is over. An answer ends its connection, so
  // that a client that stays cannot keep others out for longer than connection_timeout.
  unsigned connections_per_listener = 64;
  // Of a connection on which nothing is received or sent. Rounded up to whole seconds.
  absl::Duration connection_timeout = absl::Seconds(10);
  // Bytes for a request's line and headers and an answer's headers; a request that needs more gets
  // an error. Taken while a connection is open.
  size_t memory_per_connection = 16 << 10;
};

// Serves any number of listeners that come and go, with one thread of its own. Methods other than
// GET and HEAD get 405, and a handler's answer that HTTP cannot express ends the connection without
// one. Thread-safe; handlers run on the server's thread, one at a time.
class HttpServer final : public HttpListeners {
 public:
  // RESOURCE_EXHAUSTED or INTERNAL, where the kernel has no descriptors for it.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(const HttpLimits& limits = {});

  // Closes all listeners.
  ~HttpServer() override;
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  // An IPv6 address is for IPv6 clients alone.
  absl::StatusOr<uint16_t> Listen(const IpAddress& address, uint16_t port,
                                  HttpHandler handler) override {
    return Listen(address, port, std::move(handler), ListenOptions());
  }
  absl::StatusOr<uint16_t> Listen(const IpAddress& address, uint16_t port, HttpHandler handler,
                                  const ListenOptions& options);
  void Close(const IpAddress& address, uint16_t port) override;

 private:
  class Listener;
  struct Command {
    std::function<void()> work;
    bool done = false;
  };

  HttpServer(const HttpLimits& limits, int epoll, int wake_up);

  // Has the server's thread do it, and waits until it is done.
  void RunOnThread(std::function<void()> work);
  // What follows is confined to the server's thread.
  void Serve();
  void ServeOnce();
  void CarryOutCommands();
  int WaitMilliseconds() const;
  absl::Status Add(const IpAddress& address, ListeningSocket socket, HttpHandler handler);

  const HttpLimits limits_;
  const int epoll_;    // Of wake_up_ and all listeners.
  const int wake_up_;  // An eventfd: there are commands.
  std::map<std::pair<IpAddress, uint16_t>, std::unique_ptr<Listener>> listeners_;
  bool stopped_ = false;

  std::mutex mutex_;
  std::condition_variable command_done_;
  std::deque<Command*> commands_ ABSL_GUARDED_BY(mutex_);

  std::thread thread_;
};

}  // namespace fairlead
