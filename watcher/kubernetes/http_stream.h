// HTTP GET with a body that is handed on as it arrives.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "watcher/kubernetes/api_server.h"
#include "watcher/kubernetes/credential_source.h"
#include "watcher/kubernetes/stop_signal.h"

namespace fairlead::kubernetes {

// What is kept of the body of an answer other than 200.
inline constexpr size_t kMaxErrorBody = 64 << 10;

struct HttpRequest {
  std::string target;  // Path and query.
  absl::Duration connect_timeout;
  // A request on which nothing came for this long is given up.
  absl::Duration silence_timeout;
  // Of the whole request.
  absl::Duration total_timeout;
  // Asks for a compressed body.
  bool compressed = false;
};

// Takes the body of an answer 200. Called on the thread that asks.
class HttpBody {
 public:
  virtual ~HttpBody() = default;
  // False ends the request.
  virtual bool OnPiece(absl::string_view piece) = 0;
  // Called now and then, at least every second, from the answer's first line on.
  virtual void OnOpen() {}
};

struct HttpOutcome {
  enum class End : uint8_t {
    kComplete,  // The whole answer came.
    kBody,      // The body's taker ended it.
    kTimeUp,    // The total timeout, in the middle of an answer.
    kSilence,   // The silence timeout.
    kFailed,    // No connection, or a cut one.
    kStopped,
  };

  // What a failure has to do with.
  enum class Blame : uint8_t { kNetwork, kAuthority, kClientCertificate };

  End end = End::kFailed;
  // HTTP status; 0: there was no answer.
  int status = 0;
  std::optional<absl::Duration> retry_after;
  std::string error_body;  // Of a status other than 200.
  // Of kFailed and kSilence: what happened, and a short name for it: "curl 7".
  std::string error;
  std::string cause;
  Blame blame = Blame::kNetwork;
};

// Makes requests to one API server, one after the other, over one connection as far as possible.
// Plain HTTP/1.1: an HTTP/2 connection could be cut for one request and not for another. Confined
// to one thread.
class HttpStream {
 public:
  // Both outlive it.
  HttpStream(const ApiServer& server, const StopSignal& stop);
  ~HttpStream();
  HttpStream(const HttpStream&) = delete;
  HttpStream& operator=(const HttpStream&) = delete;

  // Makes a new connection where the credentials need one. Returns soon after `stop` is raised.
  HttpOutcome Get(const HttpRequest& request, const Credentials& credentials, HttpBody& body);

 private:
  class Handles;
  class Transfer;

  const ApiServer& server_;
  const StopSignal& stop_;
  std::unique_ptr<Handles> handles_;
  // What the connections of handles_ were made with.
  TlsMaterial tls_;
};

}  // namespace fairlead::kubernetes
