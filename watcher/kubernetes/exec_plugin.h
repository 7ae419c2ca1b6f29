// Credentials that a program prints: client-go credential plugins.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "watcher/kubernetes/api_server.h"
#include "watcher/kubernetes/stop_signal.h"

namespace fairlead::kubernetes {

// The status of an ExecCredential. There is a token, or a certificate with its key, or all.
struct ExecCredential {
  std::string token;
  std::string client_certificate;  // PEM.
  std::string client_key;          // PEM.
  absl::Time expires = absl::InfiniteFuture();

  friend bool operator==(const ExecCredential&, const ExecCredential&) = default;
};

// What the program is told in KUBERNETES_EXEC_INFO: an ExecCredential with a spec.
absl::StatusOr<std::string> FormatExecInfo(const ApiServer& server);

// Of what the program printed. INVALID_ARGUMENT names the field, and repeats no secret.
absl::StatusOr<ExecCredential> ParseExecCredential(absl::string_view text,
                                                   absl::string_view api_version);

// Runs the plugin of `server`, which has one. Errors name the program; CANCELLED: `stop` was
// raised.
absl::StatusOr<ExecCredential> RunExecPlugin(const ApiServer& server, absl::Duration timeout,
                                             const StopSignal& stop);

}  // namespace fairlead::kubernetes
