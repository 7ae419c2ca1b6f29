#include "proxy/daemon/daemon.h"

#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"

namespace fairlead {
namespace {

// Removes a socket that nobody answers on.
absl::Status ClearSocket(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), error);
  if (error) {
    return absl::PermissionDeniedError(
        absl::StrCat("--socket: the folder of ", path, ": ", error.message()));
  }
  sockaddr_un address{};
  if (path.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError(absl::StrCat("--socket: ", path, " is too long: at most ",
                                                   sizeof(address.sun_path) - 1, " bytes"));
  }
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const bool answered =
      fd >= 0 && connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
  const int connect_error = errno;
  if (fd >= 0) close(fd);
  if (answered) {
    return absl::AlreadyExistsError(absl::StrCat("--socket: another one answers at ", path));
  }
  if (connect_error == ECONNREFUSED) std::filesystem::remove(path, error);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<grpc::Server>> ServeOnUnixSocket(grpc::Service& service,
                                                                const std::string& path) {
  if (absl::Status status = ClearSocket(path); !status.ok()) return status;
  grpc::ServerBuilder builder;
  builder.AddListeningPort(absl::StrCat("unix:", path), grpc::InsecureServerCredentials());
  builder.RegisterService(&service);
  // What it tells is for the machine's administrators.
  const mode_t mask = umask(0077);
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  umask(mask);
  if (server == nullptr) {
    return absl::InternalError(absl::StrCat("--socket: cannot listen at ", path));
  }
  return server;
}

EndSignals::EndSignals() {
  sigemptyset(&signals_);
  sigaddset(&signals_, SIGTERM);
  sigaddset(&signals_, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
}

std::string EndSignals::Wait() const {
  int signal = 0;
  sigwait(&signals_, &signal);
  return strsignal(signal);
}

absl::Status ListenHttp(HttpServer& http, absl::string_view flag,
                        const std::optional<HttpAddress>& at, const HttpHandler& handler) {
  if (!at.has_value()) return absl::OkStatus();
  const bool both = !at->address.is_v4() && at->address.IsUnspecified();
  const auto port = http.Listen(at->address, at->port, handler, {.dual_stack = both});
  if (port.ok()) return absl::OkStatus();
  return {port.status().code(), absl::StrCat(flag, ": ", port.status().message())};
}

HttpResponse AnswerMetrics(const HttpRequest& request, const std::function<std::string()>& render) {
  if (request.path != "/metrics") return {.status = 404, .body = "not found\n"};
  return {.headers = {{"Content-Type", kMetricsContentType}}, .body = render()};
}

}  // namespace fairlead
