// How an API server is reached and who asks it, as a kubeconfig file or a Pod's environment says.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace fairlead {

// A program that prints credentials (client.authentication.k8s.io ExecCredential).
struct ExecPlugin {
  std::string api_version;
  std::string command;
  std::vector<std::string> arguments;
  std::vector<std::pair<std::string, std::string>> environment;
  bool provide_cluster_info = false;
  std::string install_hint;
};

// PEM, or the file that holds it and is read again for each connection. At most one is set.
struct PemSource {
  std::string file;
  std::string data;

  bool empty() const { return file.empty() && data.empty(); }
};

// Where several ways to authenticate are given, kubeconfig's order of precedence holds.
struct ApiServer {
  std::string url;  // "https://10.0.0.1:6443", without a slash at its end.
  std::string tls_server_name;
  PemSource ca;
  bool insecure_skip_tls_verify = false;
  // Empty: as the environment says (HTTPS_PROXY, NO_PROXY).
  std::string proxy_url;
  PemSource client_certificate;
  PemSource client_key;
  // The file counts where both are given; it is read again when it changes.
  std::string token;
  std::string token_file;
  std::string username;
  std::string password;
  std::optional<ExecPlugin> exec;
};

// Reads a kubeconfig file: relative paths in it are relative to its folder. `context` empty: its
// current context. Errors name the file, the entry and the field, and say which credential failed.
absl::StatusOr<ApiServer> LoadKubeconfig(const std::string& path, absl::string_view context);

// A Pod's service account: KUBERNETES_SERVICE_HOST and _PORT, and the files under
// /var/run/secrets/kubernetes.io/serviceaccount, or another folder for tests.
absl::StatusOr<ApiServer> InClusterApiServer(
    const std::string& folder = "/var/run/secrets/kubernetes.io/serviceaccount");

}  // namespace fairlead
