// What every role needs to run in the background: an end, a socket for inspections, HTTP.
#pragma once

#include <grpcpp/impl/service_type.h>
#include <grpcpp/server.h>

#include <csignal>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "ipvs/ip_address.h"
#include "proxy/health/http_server.h"

namespace fairlead {

// Blocks SIGTERM and SIGINT for this thread and those that it starts from now on.
class EndSignals {
 public:
  EndSignals();

  // Until one of them comes: its name.
  std::string Wait() const;

 private:
  sigset_t signals_;
};

// Serves on a Unix socket that root alone can open; its folder is made where it is not there, and a
// socket that nobody answers on is replaced. Errors name --socket; ALREADY_EXISTS: somebody answers
// there.
absl::StatusOr<std::unique_ptr<grpc::Server>> ServeOnUnixSocket(grpc::Service& service,
                                                                const std::string& path);

struct HttpAddress {
  IpAddress address;  // "::" is all addresses of both families.
  uint16_t port = 0;
};

// Unset: nowhere. Errors begin with the flag.
absl::Status ListenHttp(HttpServer& http, absl::string_view flag,
                        const std::optional<HttpAddress>& at, const HttpHandler& handler);

// What `render` gives, at /metrics; any other path is not found.
HttpResponse AnswerMetrics(const HttpRequest& request, const std::function<std::string()>& render);

}  // namespace fairlead
