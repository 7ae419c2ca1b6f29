// An address at which HTTP is served as soon as it can be had.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "proxy/daemon/daemon.h"
#include "proxy/health/http_server.h"

namespace fairlead {

struct HttpEndpointOptions {
  std::string flag;  // "--healthz-bind-address": what messages begin with.
  // Unset: it is not served.
  std::optional<HttpAddress> at;
  HttpHandler handler;
  // Called once each: that the address cannot be had, with what to do about it, from the
  // constructor; and that it was had after all, from a thread of the endpoint's.
  std::function<void(const std::string&)> refused;
  std::function<void(const std::string&)> served;
  // Between two attempts.
  absl::Duration retry = absl::Seconds(5);
};

// Listens at once, or tries again in the background until it can: a port that somebody else has, or
// an address that the node does not have yet, is no reason for an agent to do without the rest.
// In the network namespace of the thread that makes it. Thread-safe.
class HttpEndpoint {
 public:
  // The server outlives it.
  HttpEndpoint(HttpServer& http, HttpEndpointOptions options);

  // Ends the attempts. What listens goes on to, until its server ends.
  ~HttpEndpoint();

  HttpEndpoint(const HttpEndpoint&) = delete;
  HttpEndpoint& operator=(const HttpEndpoint&) = delete;

  // OK: it listens, or is not to. Else why it does not.
  absl::Status status() const;

 private:
  void KeepTrying();

  HttpServer& http_;
  const HttpEndpointOptions options_;
  mutable std::mutex mutex_;
  std::condition_variable end_;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace fairlead
