// The credentials of a request, as they are at this moment.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "watcher/kubernetes/api_server.h"
#include "watcher/kubernetes/exec_plugin.h"
#include "watcher/kubernetes/stop_signal.h"

namespace fairlead::kubernetes {

// What belongs to a connection: where it changes, a new one has to be made. PEM.
struct TlsMaterial {
  std::string ca;  // Empty: the system's.
  std::string client_certificate;
  std::string client_key;

  friend bool operator==(const TlsMaterial&, const TlsMaterial&) = default;
};

struct Credentials {
  TlsMaterial tls;
  std::string token;
  std::string username;
  std::string password;
  // "the token in /x/token", for messages.
  std::string description;
  // Counts the plugin's runs; 0 where it has no part in this.
  uint64_t exec_run = 0;
};

// Reads the files anew for each request, and runs the plugin when what it gave has expired or was
// refused. Thread-safe; whoever asks while the plugin runs waits for it.
class CredentialSource {
 public:
  // `server` and `stop` outlive it.
  CredentialSource(const ApiServer& server, absl::Duration exec_timeout, const StopSignal& stop,
                   std::function<absl::Time()> now);

  // An error says which credential could not be had. CANCELLED: `stop` was raised.
  absl::StatusOr<Credentials> Get();

  // The API server does not accept these: HTTP 401.
  void Refused(const Credentials& credentials);

 private:
  absl::Status AddExec(Credentials* credentials);

  const ApiServer& server_;
  const absl::Duration exec_timeout_;
  const StopSignal& stop_;
  const std::function<absl::Time()> now_;

  // Held while the plugin runs.
  std::mutex mutex_;
  std::optional<ExecCredential> from_exec_ ABSL_GUARDED_BY(mutex_);
  uint64_t exec_runs_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace fairlead::kubernetes
