#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "test/watcher/feed/certificates.h"
#include "test/watcher/kubernetes/fake_api_server.h"
#include "test/watcher/kubernetes/followed.h"
#include "test/watcher/kubernetes/objects.h"

namespace fairlead::kubernetes {
namespace {

using feed_test::Authority;
using feed_test::TemporaryFolder;
using feed_test::WriteFile;

// The authority of servers and of clients, and a server's certificate.
struct Authorities {
  Authority servers{"servers"};
  Authority clients{"clients"};

  FakeTls ServerTls() const {
    return {servers.Issue({.common_name = "api", .dns_names = {"localhost", "kubernetes"}}),
            clients.certificate()};
  }
  ApiServer ServerAt(const FakeApiServer& api) const {
    return {.url = api.url(), .ca = {.data = servers.certificate()}};
  }
};

// 401 for all who are not accepted.
void Admit(FakeApiServer& api, std::function<bool(const FakeRequest&)> is_accepted) {
  api.Guard([is_accepted](const FakeRequest& request) -> std::optional<FakeAnswer> {
    if (is_accepted(request)) return std::nullopt;
    return Status(401, StatusJson(401, "Unauthorized"));
  });
}

std::string AwaitError(Followed& followed) {
  CHECK(followed.Await([&] { return followed.StatusOf("services").errors > 0; }));
  return followed.StatusOf("services").last_error;
}

TEST_CASE("a token over TLS") {
  const Authorities authorities;
  FakeApiServer api(authorities.ServerTls());
  Admit(api, [](const FakeRequest& request) { return request.authorization == "Bearer secret"; });
  ApiServer server = authorities.ServerAt(api);
  server.token = "secret";
  Followed followed(api, server);
  CHECK(followed.AwaitRequests("services", {"list", "watch 1"}));
  CHECK(followed.StatusOf("services").errors == 0);
}

TEST_CASE("a password over TLS") {
  const Authorities authorities;
  FakeApiServer api(authorities.ServerTls());
  Admit(api, [](const FakeRequest& request) { return request.authorization == "Basic dTpwdw=="; });
  ApiServer server = authorities.ServerAt(api);
  server.username = "u";
  server.password = "pw";
  Followed followed(api, server);
  CHECK(followed.AwaitRequests("services", {"list", "watch 1"}));
  CHECK(followed.StatusOf("services").errors == 0);
}

TEST_CASE("a token that is replaced is read again at once after a 401") {
  const Authorities authorities;
  const TemporaryFolder folder;
  const std::string path = folder.path() + "/token";
  WriteFile(path, "old");
  FakeApiServer api(authorities.ServerTls());
  ApiServer server = authorities.ServerAt(api);
  server.token_file = path;
  KubernetesSourceOptions options = QuickOptions();
  // Too long for anything but an attempt at once.
  options.min_retry_wait = absl::Minutes(10);
  options.max_retry_wait = absl::Minutes(10);
  // The file changes while the old token is on its way.
  api.Guard([&](const FakeRequest& request) -> std::optional<FakeAnswer> {
    if (request.path() != "/api/v1/services") return Silence();
    if (request.authorization == "Bearer new") return std::nullopt;
    WriteFile(path, "new");
    return Status(401, StatusJson(401, "Unauthorized"));
  });
  Followed followed(api, server, options);
  CHECK(followed.AwaitRequests("services", {"list", "list", "watch 1"}));
}

TEST_CASE("a token that is not accepted is an error that names it") {
  const Authorities authorities;
  FakeApiServer api(authorities.ServerTls());
  Admit(api, [](const FakeRequest&) { return false; });
  ApiServer server = authorities.ServerAt(api);
  server.token = "wrong";
  Followed followed(api, server);
  CHECK(followed.AwaitRequests("services", {"list", "list", "list"}));
  CHECK(followed.StatusOf("services").last_error ==
        absl::StrCat(api.url(),
                     "/api/v1/services: HTTP 401 (Unauthorized), with the kubeconfig's "
                     "token"));
  CHECK_FALSE(followed.journal().complete());
}

TEST_CASE("a client certificate that is replaced is used from the next request on") {
  const Authorities authorities;
  FakeApiServer api(authorities.ServerTls());
  const TemporaryFolder folder;
  ApiServer server = authorities.ServerAt(api);
  server.client_certificate.file = folder.path() + "/tls.crt";
  server.client_key.file = folder.path() + "/tls.key";
  const auto install = [&](const std::string& name) {
    const feed_test::KeyPair pair = authorities.clients.Issue({.common_name = name});
    WriteFile(server.client_certificate.file, pair.certificate);
    WriteFile(server.client_key.file, pair.key);
  };
  install("first");
  std::mutex mutex;
  std::vector<std::string> names;
  api.Guard([&](const FakeRequest& request) -> std::optional<FakeAnswer> {
    if (request.path() != "/api/v1/services") return Silence();
    std::lock_guard lock(mutex);
    names.push_back(request.client_name);
    if (names.size() == 2) {
      install("second");
      return Watch({Bookmark("Service", "9")}, WatchEnd::kClean);
    }
    return std::nullopt;
  });
  Followed followed(api, server);
  CHECK(followed.AwaitRequests("services", {"list", "watch 1", "watch 9"}));
  std::lock_guard lock(mutex);
  CHECK(names == std::vector<std::string>{"first", "first", "second"});
}

TEST_CASE("requests share a connection as long as it can be used") {
  const Authorities authorities;
  FakeApiServer api(authorities.ServerTls());
  api.Script("services", {Services("7", {}, "c1"), Services("7", {}),
                          Watch({Bookmark("Service", "9")}, WatchEnd::kClean)});
  Followed followed(api, authorities.ServerAt(api));
  for (const char* resource : {"endpointslices", "nodes"}) {
    CHECK(followed.AwaitRequests(resource, {"list", "watch 1"}));
  }
  CHECK(followed.AwaitRequests("services", {"list", "list c1", "watch 7", "watch 9"}));
  CHECK(api.connections() == 3);
}

TEST_CASE("a server of another authority is not believed") {
  const Authorities authorities;
  FakeApiServer api(authorities.ServerTls());
  ApiServer server = authorities.ServerAt(api);
  SECTION("than the kubeconfig's") {
    server.ca.data = authorities.clients.certificate();
    Followed followed(api, server);
    const std::string error = AwaitError(followed);
    CHECK_THAT(error, Catch::Contains("/api/v1/services: SSL certificate problem: "));
    CHECK_THAT(error, Catch::EndsWith(", with the certificate authority the kubeconfig's"));
  }
  SECTION("than the file's") {
    const TemporaryFolder folder;
    server.ca = {.file = folder.path() + "/ca.crt"};
    WriteFile(server.ca.file, authorities.clients.certificate());
    Followed followed(api, server);
    CHECK_THAT(AwaitError(followed),
               Catch::EndsWith(", with the certificate authority " + server.ca.file));
  }
  SECTION("than the system's") {
    server.ca = {};
    Followed followed(api, server);
    CHECK_THAT(AwaitError(followed),
               Catch::EndsWith(", with the certificate authority the system's"));
  }
  SECTION("unless nobody looks") {
    server.ca = {};
    server.insecure_skip_tls_verify = true;
    Followed followed(api, server);
    CHECK(followed.AwaitRequests("services", {"list", "watch 1"}));
  }
}

TEST_CASE("an authority that is no certificate is an error that names it") {
  const Authorities authorities;
  FakeApiServer api(authorities.ServerTls());
  const TemporaryFolder folder;
  ApiServer server = authorities.ServerAt(api);
  server.ca = {.file = folder.path() + "/ca.crt"};
  WriteFile(server.ca.file, "hello");
  Followed followed(api, server);
  CHECK_THAT(AwaitError(followed),
             Catch::EndsWith(", with the certificate authority " + server.ca.file));
}

TEST_CASE("a client certificate that is none is an error that names it") {
  const Authorities authorities;
  FakeApiServer api(authorities.ServerTls());
  ApiServer server = authorities.ServerAt(api);
  server.client_certificate.data = "hello";
  server.client_key.data = "hello";
  Followed followed(api, server);
  CHECK_THAT(AwaitError(followed), Catch::EndsWith(", with the kubeconfig's client certificate"));
}

TEST_CASE("a client certificate of another authority is an error that names it") {
  const Authorities authorities;
  FakeApiServer api(authorities.ServerTls());
  ApiServer server = authorities.ServerAt(api);
  const feed_test::KeyPair pair = authorities.servers.Issue({.common_name = "stranger"});
  server.client_certificate.data = pair.certificate;
  server.client_key.data = pair.key;
  Followed followed(api, server);
  CHECK_THAT(AwaitError(followed), Catch::EndsWith(", with the kubeconfig's client certificate"));
}

TEST_CASE("the server's name is the one that is asked for") {
  const Authorities authorities;
  FakeApiServer api(authorities.ServerTls());
  ApiServer server = authorities.ServerAt(api);
  SECTION("where it has that name") {
    server.url = "https://127.0.0.1" + api.url().substr(api.url().rfind(':'));
    server.tls_server_name = "kubernetes";
    Followed followed(api, server);
    CHECK(followed.AwaitRequests("services", {"list", "watch 1"}));
  }
  SECTION("where it has not") {
    server.tls_server_name = "elsewhere";
    Followed followed(api, server);
    CHECK_THAT(AwaitError(followed), Catch::Contains("elsewhere"));
  }
}

TEST_CASE("a plugin whose token is refused is run again at once") {
  const Authorities authorities;
  FakeApiServer api(authorities.ServerTls());
  const TemporaryFolder folder;
  const std::string path = folder.path() + "/plugin";
  WriteFile(path, R"sh(#!/bin/sh
cd "$(dirname "$0")"
printf x >> runs
echo '{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1beta1","status":{
"token":"'"$(cat runs)"'"}}'
)sh");
  REQUIRE(chmod(path.c_str(), 0700) == 0);
  ApiServer server = authorities.ServerAt(api);
  server.exec = ExecPlugin{.api_version = "client.authentication.k8s.io/v1beta1", .command = path};
  Admit(api, [](const FakeRequest& request) { return request.authorization == "Bearer xx"; });
  KubernetesSourceOptions options = QuickOptions();
  options.min_retry_wait = absl::Minutes(10);
  options.max_retry_wait = absl::Minutes(10);
  Followed followed(api, server, options);
  // Each of three threads may have had the first token, but nobody had a third one.
  CHECK(followed.Await([&] { return followed.journal().complete(); }));
  CHECK(feed_test::ReadFile(folder.path() + "/runs") == "xx");
}

TEST_CASE("a plugin that hangs does not keep us from stopping") {
  FakeApiServer api;
  ApiServer server{.url = api.url()};
  server.exec = ExecPlugin{.command = "sleep", .arguments = {"600"}};
  Followed followed(api, server);
  const absl::Time start = absl::Now();
  followed.source().Stop();
  CHECK(absl::Now() - start < absl::Seconds(5));
}

}  // namespace
}  // namespace fairlead::kubernetes
