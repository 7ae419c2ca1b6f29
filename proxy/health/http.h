// HTTP requests and answers as values, and the interface of what serves them.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "ipvs/ip_address.h"

namespace fairlead {

// The Content-Type of Prometheus' text format.
inline constexpr char kMetricsContentType[] = "text/plain; version=0.0.4; charset=utf-8";

struct HttpRequest {
  std::string method;  // "GET" or "HEAD".
  std::string path;    // "/healthz": decoded, without the query.

  friend bool operator==(const HttpRequest&, const HttpRequest&) = default;
};

struct HttpResponse {
  int status = 200;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;  // Of a HEAD too: the server leaves it out.

  friend bool operator==(const HttpResponse&, const HttpResponse&) = default;
};

// Called on the server's thread. Must not block, throw, or call Listen or Close.
using HttpHandler = std::function<HttpResponse(const HttpRequest&)>;

// Where handlers can be served.
class HttpListeners {
 public:
  virtual ~HttpListeners() = default;

  // Serves `handler` at the address and port, in the network namespace of the calling thread.
  // Returns the port: that of the argument, or for 0 one that the kernel chose. An unspecified
  // address is all addresses of its family. Errors name address and port.
  //   ALREADY_EXISTS      somebody listens there, this process or another one
  //   UNAVAILABLE         the address is not one of this machine's, or its family is off
  //   PERMISSION_DENIED   the port is a privileged one
  //   INVALID_ARGUMENT    the address cannot be listened on, such as a link-local one
  //   RESOURCE_EXHAUSTED  of listeners, file descriptors or memory
  virtual absl::StatusOr<uint16_t> Listen(const IpAddress& address, uint16_t port,
                                          HttpHandler handler) = 0;

  // Closes what Listen opened, and its connections. When it returns no handler of that listener
  // runs, and none will. `port` is the one that Listen returned; does nothing where nothing
  // listens.
  virtual void Close(const IpAddress& address, uint16_t port) = 0;
};

}  // namespace fairlead
