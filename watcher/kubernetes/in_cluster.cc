#include <cstdlib>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "watcher/kubernetes/api_server.h"
#include "watcher/kubernetes/small_file.h"

namespace fairlead {

absl::StatusOr<ApiServer> InClusterApiServer(const std::string& folder) {
  const char* host = std::getenv("KUBERNETES_SERVICE_HOST");
  const char* port = std::getenv("KUBERNETES_SERVICE_PORT");
  if (host == nullptr || *host == '\0' || port == nullptr || *port == '\0') {
    return absl::FailedPreconditionError(
        "not in a Pod: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set");
  }
  const bool is_v6 = absl::string_view(host).find(':') != absl::string_view::npos;
  ApiServer server;
  server.url = is_v6 ? absl::StrCat("https://[", host, "]:", port)
                     : absl::StrCat("https://", host, ":", port);
  server.token_file = folder + "/token";
  server.ca.file = folder + "/ca.crt";
  for (const std::string& file : {server.token_file, server.ca.file}) {
    const absl::StatusOr<std::string> read = kubernetes::ReadSmallFile(file);
    if (!read.ok()) {
      return absl::Status(read.status().code(),
                          absl::StrCat("service account of the Pod: ", read.status().message()));
    }
  }
  return server;
}

}  // namespace fairlead
