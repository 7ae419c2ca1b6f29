// The clients of a cluster: one request, a held connection, a datagram.
#pragma once

#include <ostream>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "test/lab/net_namespace.h"
#include "test/lab/responder.h"

namespace fairlead::lab {

// How a request ended, as a client sees it.
enum class Outcome {
  kOk,           // an answer of a Responder
  kRefused,      // a RST to the SYN, or ICMP port unreachable
  kTimeout,      // nothing came in time
  kReset,        // the connection broke, or was closed before the answer
  kUnreachable,  // no route, here or on the way
  kError,        // anything else; Response::error has it
};

absl::string_view OutcomeName(Outcome outcome);
std::ostream& operator<<(std::ostream& out, Outcome outcome);

struct Response {
  Outcome outcome = Outcome::kError;
  std::string error = {};           // in words, unless it is kOk
  std::string name = {};            // of the responder
  std::string client_address = {};  // the client as the responder saw it
  int client_port = 0;
  absl::Duration latency = {};

  bool ok() const { return outcome == Outcome::kOk; }
};

std::ostream& operator<<(std::ostream& out, const Response& response);

struct RequestOptions {
  Transport transport = Transport::kTcp;
  std::string path = "/";  // "/slow?ms=500" for an answer after 500 ms
  // For all of it. Long enough for one SYN to be lost and sent again in an emulated machine.
  absl::Duration timeout = absl::Seconds(3);
  std::string source_address = {};  // empty: the kernel's choice
  int source_port = 0;              // 0: the kernel's choice
};

// One request from the namespace, on a connection of its own. Thread-safe.
Response Get(const NetNamespace& net, absl::string_view address, int port,
             const RequestOptions& options = {});

// One datagram and its answer; the path is not used. Thread-safe.
Response AskUdp(const NetNamespace& net, absl::string_view address, int port,
                const RequestOptions& options = {});

// The same from the calling thread's namespace.
Response GetHere(absl::string_view address, int port, const RequestOptions& options = {});
Response AskUdpHere(absl::string_view address, int port, const RequestOptions& options = {});

// A connection that is held: connect now, ask later, as often as wanted. Confined to one thread,
// and usable in any namespace once it is connected.
class LongConnection {
 public:
  // Connects; the outcome is connected().
  LongConnection(const NetNamespace& net, absl::string_view address, int port,
                 const RequestOptions& options = {});
  ~LongConnection();
  LongConnection(LongConnection&& other) noexcept;
  LongConnection& operator=(LongConnection&& other) noexcept;

  // How connecting ended: kOk, or why not.
  const Response& connected() const { return connected_; }
  int local_port() const;

  // Sends a request; the answer is left to Read.
  Response Send(absl::string_view path = "/");
  // Reads the answer to the oldest request that has none yet.
  Response Read(absl::Duration timeout = absl::Seconds(3));
  // Both.
  Response Ask(absl::string_view path = "/", absl::Duration timeout = absl::Seconds(3));
  // True if the peer has closed or reset the connection, as far as this host knows.
  bool broken() const;
  // Closes it: in the orderly way, or with a RST.
  void Close();
  void Reset();

 private:
  int socket_ = -1;
  std::string unread_;  // bytes that came after the last answer
  Response connected_;
};

}  // namespace fairlead::lab
