// An API server that answers as a test says, well or badly.
#pragma once

#include <openssl/ssl.h>

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "test/watcher/feed/certificates.h"
#include "test/watcher/feed/objects.h"

namespace fairlead::kubernetes {

// A request as it came.
struct FakeRequest {
  std::string target;
  // Of the header "Authorization"; empty if there was none.
  std::string authorization;
  // Common name in the client's certificate; empty if it has none.
  std::string client_name;

  std::string path() const { return target.substr(0, target.find('?')); }
  bool is_watch() const { return target.find("watch=true") != std::string::npos; }
};

// One connection from a client, with or without TLS. Confined to its thread, but for Abort.
class FakeConnection {
 public:
  FakeConnection(int fd, SSL* tls) : fd_(fd), tls_(tls) {}
  ~FakeConnection();
  FakeConnection(const FakeConnection&) = delete;
  FakeConnection& operator=(const FakeConnection&) = delete;

  // The next request; nullopt at the end of the connection.
  std::optional<FakeRequest> Receive();
  // False: the client is gone.
  bool Send(const std::string& bytes);
  // As one chunk of a body that has begun.
  bool SendChunk(const std::string& bytes);
  // Until the client closes the connection, or the server stops.
  void AwaitEnd();
  // Ends what waits for the client.
  void Abort();

 private:
  int Read(char* data, int size);

  const int fd_;
  SSL* const tls_;
};

// Whether the connection remains for another request.
using FakeAnswer = std::function<bool(const FakeRequest& request, FakeConnection& connection)>;

// How a watch ends, after its events.
enum class WatchEnd : uint8_t {
  kHang,   // Not before the client closes it.
  kClean,  // As the API server ends it when its time is over.
  kCut,    // In the middle of the answer.
};

// Answers, for scripts.
FakeAnswer Status(int code, const std::string& body, const std::string& headers = "");
// A list of complete JSON texts. `kind` is "ServiceList" and so on.
FakeAnswer Page(const std::string& kind, const std::string& resource_version,
                const std::vector<std::string>& items, const std::string& continue_token = "");
FakeAnswer Services(const std::string& resource_version, const std::vector<std::string>& items,
                    const std::string& continue_token = "");
// Texts of events, each sent in a chunk of its own with a line's end.
FakeAnswer Watch(const std::vector<std::string>& events, WatchEnd end = WatchEnd::kHang);
// The beginning of a watch's answer, then these bytes in pieces of `piece` bytes.
FakeAnswer WatchBytes(const std::string& bytes, size_t piece, WatchEnd end = WatchEnd::kHang);
// Bytes as they are, then the end of the connection.
FakeAnswer Bytes(const std::string& bytes);
// Nothing at all.
FakeAnswer Silence();

struct FakeTls {
  feed_test::KeyPair pair;
  // PEM; clients with a certificate of it are known by their name. Empty: none is asked for.
  std::string client_authority;
};

// Answers on 127.0.0.1 and [::1], on a port of its own. The requests of each resource get the
// answers of its script, one after the other; those after its end get an empty list, or a watch on
// which nothing happens. Thread-safe.
class FakeApiServer {
 public:
  explicit FakeApiServer(const std::optional<FakeTls>& tls = std::nullopt);
  // Ends all connections.
  ~FakeApiServer();
  FakeApiServer(const FakeApiServer&) = delete;
  FakeApiServer& operator=(const FakeApiServer&) = delete;

  // "services", "endpointslices" or "nodes".
  void Script(const std::string& resource, std::vector<FakeAnswer> answers);
  // For every request, before the script: an answer, or nothing.
  void Guard(std::function<std::optional<FakeAnswer>(const FakeRequest&)> guard);

  std::string url() const;
  // Of the requests for a resource that have come, without what is the same in all.
  std::vector<std::string> Requests(const std::string& resource) const;
  // Connections accepted.
  int connections() const;
  // Raised by every request.
  feed_test::Signal& signal() { return signal_; }

 private:
  void Accept();
  void Serve(FakeConnection& connection);
  FakeAnswer Choose(const FakeRequest& request);

  int listener_ = -1;
  uint16_t port_ = 0;
  SSL_CTX* tls_ = nullptr;
  feed_test::Signal signal_;

  mutable std::mutex mutex_;
  bool stopping_ = false;
  std::map<std::string, std::list<FakeAnswer>> scripts_;
  std::function<std::optional<FakeAnswer>(const FakeRequest&)> guard_;
  std::map<std::string, std::vector<std::string>> requests_;
  std::set<FakeConnection*> open_;
  int connections_ = 0;
  std::vector<std::thread> servers_;
  std::thread acceptor_;
};

}  // namespace fairlead::kubernetes
