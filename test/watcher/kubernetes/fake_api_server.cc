#include "test/watcher/kubernetes/fake_api_server.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"

namespace fairlead::kubernetes {
namespace {

constexpr char kChunked[] =
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";

// A certificate and its key, and whom it takes clients' certificates from.
SSL_CTX* MakeContext(const FakeTls& tls) {
  SSL_CTX* const context = SSL_CTX_new(TLS_server_method());
  feed_test::TemporaryFolder folder;
  const auto file = [&folder](const char* name, const std::string& contents) {
    const std::string path = absl::StrCat(folder.path(), "/", name);
    feed_test::WriteFile(path, contents);
    return path;
  };
  REQUIRE(SSL_CTX_use_certificate_chain_file(context,
                                             file("tls.crt", tls.pair.certificate).c_str()) == 1);
  REQUIRE(SSL_CTX_use_PrivateKey_file(context, file("tls.key", tls.pair.key).c_str(),
                                      SSL_FILETYPE_PEM) == 1);
  if (!tls.client_authority.empty()) {
    REQUIRE(SSL_CTX_load_verify_locations(context, file("ca.crt", tls.client_authority).c_str(),
                                          nullptr) == 1);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  }
  return context;
}

std::string ClientName(SSL* tls) {
  X509* const certificate = tls == nullptr ? nullptr : SSL_get1_peer_certificate(tls);
  if (certificate == nullptr) return "";
  char name[100] = "";
  X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, name, sizeof name);
  X509_free(certificate);
  return name;
}

bool EndWatch(FakeConnection& connection, WatchEnd end) {
  switch (end) {
    case WatchEnd::kHang:
      connection.AwaitEnd();
      return false;
    case WatchEnd::kClean:
      return connection.Send("0\r\n\r\n");
    case WatchEnd::kCut:
      break;
  }
  return false;
}

std::string ListKindOf(const std::string& path) {
  if (absl::EndsWith(path, "/services")) return "ServiceList";
  return absl::EndsWith(path, "/nodes") ? "NodeList" : "EndpointSliceList";
}

std::string ResourceOf(const std::string& path) { return path.substr(path.rfind('/') + 1); }

}  // namespace

FakeConnection::~FakeConnection() {
  SSL_free(tls_);
  close(fd_);
}

int FakeConnection::Read(char* data, int size) {
  return tls_ != nullptr ? SSL_read(tls_, data, size)
                         : static_cast<int>(recv(fd_, data, static_cast<size_t>(size), 0));
}

std::optional<FakeRequest> FakeConnection::Receive() {
  if (tls_ != nullptr && !SSL_is_init_finished(tls_) && SSL_accept(tls_) != 1) return std::nullopt;
  std::string head;
  while (!absl::EndsWith(head, "\r\n\r\n")) {
    char c = 0;
    if (Read(&c, 1) != 1) return std::nullopt;
    head += c;
  }
  FakeRequest request{.client_name = ClientName(tls_)};
  const std::vector<std::string> lines = absl::StrSplit(head, "\r\n");
  const std::vector<std::string> words = absl::StrSplit(lines[0], ' ');
  if (words.size() == 3) request.target = words[1];
  for (const std::string& line : lines) {
    constexpr char kName[] = "Authorization: ";
    if (absl::StartsWith(line, kName)) request.authorization = line.substr(sizeof kName - 1);
  }
  return request;
}

bool FakeConnection::Send(const std::string& bytes) {
  size_t sent = 0;
  while (sent < bytes.size()) {
    const size_t left = bytes.size() - sent;
    const ssize_t count = tls_ != nullptr
                              ? SSL_write(tls_, bytes.data() + sent, static_cast<int>(left))
                              : send(fd_, bytes.data() + sent, left, MSG_NOSIGNAL);
    if (count <= 0) return false;
    sent += static_cast<size_t>(count);
  }
  return true;
}

bool FakeConnection::SendChunk(const std::string& bytes) {
  return Send(absl::StrCat(absl::Hex(bytes.size()), "\r\n", bytes, "\r\n"));
}

void FakeConnection::AwaitEnd() {
  char c = 0;
  while (Read(&c, 1) == 1) {
  }
}

void FakeConnection::Abort() { shutdown(fd_, SHUT_RDWR); }

FakeAnswer Status(int code, const std::string& body, const std::string& headers) {
  return [=](const FakeRequest&, FakeConnection& connection) {
    return connection.Send(absl::StrCat("HTTP/1.1 ", code, " Because\r\n", headers,
                                        "Content-Length: ", body.size(), "\r\n\r\n", body));
  };
}

FakeAnswer Page(const std::string& kind, const std::string& resource_version,
                const std::vector<std::string>& items, const std::string& continue_token) {
  const std::string more =
      continue_token.empty() ? "" : absl::StrCat(R"(,"continue":")", continue_token, "\"");
  return Status(
      200, absl::StrCat(R"({"kind":")", kind,
                        R"(","apiVersion":"v1","metadata":{"resourceVersion":")", resource_version,
                        "\"", more, R"(},"items":[)", absl::StrJoin(items, ","), "]}\n"));
}

FakeAnswer Services(const std::string& resource_version, const std::vector<std::string>& items,
                    const std::string& continue_token) {
  return Page("ServiceList", resource_version, items, continue_token);
}

FakeAnswer Watch(const std::vector<std::string>& events, WatchEnd end) {
  return [=](const FakeRequest&, FakeConnection& connection) {
    if (!connection.Send(kChunked)) return false;
    for (const std::string& event : events) {
      if (!connection.SendChunk(event + "\n")) return false;
    }
    return EndWatch(connection, end);
  };
}

FakeAnswer WatchBytes(const std::string& bytes, size_t piece, WatchEnd end) {
  return [=](const FakeRequest&, FakeConnection& connection) {
    if (!connection.Send(kChunked)) return false;
    for (size_t i = 0; i < bytes.size(); i += piece) {
      if (!connection.SendChunk(bytes.substr(i, piece))) return false;
    }
    return EndWatch(connection, end);
  };
}

FakeAnswer Bytes(const std::string& bytes) {
  return [=](const FakeRequest&, FakeConnection& connection) {
    connection.Send(bytes);
    return false;
  };
}

FakeAnswer Silence() {
  return [](const FakeRequest&, FakeConnection& connection) {
    connection.AwaitEnd();
    return false;
  };
}

FakeApiServer::FakeApiServer(const std::optional<FakeTls>& tls) {
  if (tls.has_value()) tls_ = MakeContext(*tls);
  // Both families, since "localhost" may be either.
  listener_ = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int off = 0;
  setsockopt(listener_, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  sockaddr_in6 address{.sin6_family = AF_INET6, .sin6_addr = in6addr_any};
  socklen_t size = sizeof address;
  REQUIRE(bind(listener_, reinterpret_cast<sockaddr*>(&address), size) == 0);
  REQUIRE(listen(listener_, 64) == 0);
  REQUIRE(getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) == 0);
  port_ = ntohs(address.sin6_port);
  acceptor_ = std::thread([this] { Accept(); });
}

FakeApiServer::~FakeApiServer() {
  std::vector<std::thread> servers;
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    for (FakeConnection* connection : open_) connection->Abort();
    servers.swap(servers_);
  }
  shutdown(listener_, SHUT_RDWR);
  acceptor_.join();
  for (std::thread& server : servers) server.join();
  for (std::thread& server : servers_) server.join();
  close(listener_);
  SSL_CTX_free(tls_);
}

std::string FakeApiServer::url() const {
  return tls_ != nullptr ? absl::StrCat("https://localhost:", port_)
                         : absl::StrCat("http://127.0.0.1:", port_);
}

void FakeApiServer::Script(const std::string& resource, std::vector<FakeAnswer> answers) {
  std::lock_guard lock(mutex_);
  for (FakeAnswer& answer : answers) scripts_[resource].push_back(std::move(answer));
}

void FakeApiServer::Guard(std::function<std::optional<FakeAnswer>(const FakeRequest&)> guard) {
  std::lock_guard lock(mutex_);
  guard_ = std::move(guard);
}

std::vector<std::string> FakeApiServer::Requests(const std::string& resource) const {
  std::lock_guard lock(mutex_);
  const auto it = requests_.find(resource);
  return it == requests_.end() ? std::vector<std::string>() : it->second;
}

int FakeApiServer::connections() const {
  std::lock_guard lock(mutex_);
  return connections_;
}

void FakeApiServer::Accept() {
  // OpenSSL writes to a connection that the client has closed; the servers inherit the mask.
  sigset_t pipe;
  sigemptyset(&pipe);
  sigaddset(&pipe, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &pipe, nullptr);
  for (;;) {
    const int fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) return;
    SSL* tls = nullptr;
    if (tls_ != nullptr) {
      tls = SSL_new(tls_);
      SSL_set_fd(tls, fd);
    }
    auto connection = std::make_shared<FakeConnection>(fd, tls);
    std::lock_guard lock(mutex_);
    if (stopping_) return;
    ++connections_;
    open_.insert(connection.get());
    servers_.emplace_back([this, connection] {
      Serve(*connection);
      // Before the descriptor may become another one's.
      std::lock_guard closing(mutex_);
      open_.erase(connection.get());
      connection->Abort();
    });
  }
}

void FakeApiServer::Serve(FakeConnection& connection) {
  while (const std::optional<FakeRequest> request = connection.Receive()) {
    const FakeAnswer answer = Choose(*request);
    signal_.Raise();
    if (!answer(*request, connection)) return;
  }
}

FakeAnswer FakeApiServer::Choose(const FakeRequest& request) {
  const std::string resource = ResourceOf(request.path());
  std::lock_guard lock(mutex_);
  // What a watch and a list have in common, and the timeout, which is random, tell nothing.
  const size_t version = request.target.find("&resourceVersion=");
  const size_t token = request.target.find("&continue=");
  requests_[resource].push_back(
      request.is_watch() ? absl::StrCat("watch ", request.target.substr(version + 17))
                         : (token == std::string::npos
                                ? "list"
                                : absl::StrCat("list ", request.target.substr(token + 10))));
  if (guard_) {
    if (std::optional<FakeAnswer> answer = guard_(request)) return *answer;
  }
  std::list<FakeAnswer>& script = scripts_[resource];
  if (!script.empty()) {
    FakeAnswer answer = std::move(script.front());
    script.pop_front();
    return answer;
  }
  if (request.is_watch()) return Watch({});
  return Page(ListKindOf(request.path()), "1", {});
}

}  // namespace fairlead::kubernetes
