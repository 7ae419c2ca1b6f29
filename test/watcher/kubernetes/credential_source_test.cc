#include "watcher/kubernetes/credential_source.h"

#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <cstdio>
#include <string>

#include "absl/strings/str_cat.h"
#include "test/watcher/feed/certificates.h"

namespace fairlead::kubernetes {
namespace {

using feed_test::TemporaryFolder;
using feed_test::WriteFile;

// Credentials of a server, with a clock.
class Fixture {
 public:
  explicit Fixture(ApiServer server) : server_(std::move(server)) {}

  absl::StatusOr<Credentials> Get() { return source_.Get(); }
  void Refused(const Credentials& credentials) { source_.Refused(credentials); }
  void Advance(absl::Duration time) { now_ += time; }

 private:
  const ApiServer server_;
  StopSignal stop_;
  absl::Time now_ = absl::FromUnixSeconds(1'000'000);
  CredentialSource source_{server_, absl::Seconds(20), stop_, [this] { return now_; }};
};

TEST_CASE("files are read for each request") {
  const TemporaryFolder folder;
  const auto file = [&folder](const char* name) { return folder.path() + "/" + name; };
  for (const char* name : {"ca", "crt", "key"}) WriteFile(file(name), name);
  WriteFile(file("token"), " t1\n");
  Fixture fixture({.url = "https://a",
                   .ca = {.file = file("ca")},
                   .client_certificate = {.file = file("crt")},
                   .client_key = {.file = file("key")},
                   .token = "unused",
                   .token_file = file("token")});
  absl::StatusOr<Credentials> credentials = fixture.Get();
  REQUIRE(credentials.ok());
  CHECK(credentials->tls == TlsMaterial{"ca", "crt", "key"});
  CHECK(credentials->token == "t1");
  CHECK(credentials->description == absl::StrCat("the token in ", file("token")));
  WriteFile(file("token"), "t2");
  WriteFile(file("ca"), "ca2");
  credentials = fixture.Get();
  REQUIRE(credentials.ok());
  CHECK(credentials->tls == TlsMaterial{"ca2", "crt", "key"});
  CHECK(credentials->token == "t2");
}

TEST_CASE("which credentials a request has") {
  const ExecPlugin never{.command = "/nowhere"};
  struct Case {
    ApiServer server;
    std::string token;
    std::string username;
    std::string description;
  };
  const Case cases[] = {
      {{.url = "https://a"}, "", "", "no credentials"},
      {{.token = "t", .exec = never}, "t", "", "the kubeconfig's token"},
      {{.username = "u", .password = "p", .exec = never}, "", "u", "the password of u"},
      {{.client_certificate = {.data = "c"}, .client_key = {.data = "k"}},
       "",
       "",
       "the kubeconfig's client certificate"},
  };
  for (const Case& c : cases) {
    INFO(c.description);
    Fixture fixture(c.server);
    const absl::StatusOr<Credentials> credentials = fixture.Get();
    REQUIRE(credentials.ok());
    CHECK(credentials->token == c.token);
    CHECK(credentials->username == c.username);
    CHECK(credentials->description == c.description);
  }
}

TEST_CASE("a credential that cannot be had is named") {
  const TemporaryFolder folder;
  WriteFile(folder.path() + "/empty", "\n");
  WriteFile(folder.path() + "/lines", "a\nEvil: header\n");
  const std::string missing = "cannot read /nowhere: No such file or directory";
  struct Case {
    ApiServer server;
    std::string message;
  };
  const Case cases[] = {
      {{.ca = {.file = "/nowhere"}}, "certificate authority: " + missing},
      {{.client_certificate = {.file = "/nowhere"}, .client_key = {.data = "k"}},
       "client certificate: " + missing},
      {{.client_certificate = {.data = "c"}, .client_key = {.file = "/nowhere"}},
       "client key: " + missing},
      {{.token_file = "/nowhere"}, "token: " + missing},
      {{.token_file = folder.path()},
       absl::StrCat("token: cannot read ", folder.path(), ": it is no file")},
      {{.token_file = folder.path() + "/empty"},
       absl::StrCat("the token in ", folder.path(), "/empty is none")},
      {{.token_file = folder.path() + "/lines"},
       absl::StrCat("the token in ", folder.path(), "/lines is none")},
      {{.exec = ExecPlugin{.command = "/nowhere"}},
       "exec plugin: /nowhere cannot be run: No such file or directory"},
  };
  for (const Case& c : cases) {
    INFO(c.message);
    Fixture fixture(c.server);
    CHECK(fixture.Get().status().message() == c.message);
  }
}

TEST_CASE("a plugin runs when what it gave has expired or was refused, and only then") {
  const TemporaryFolder folder;
  const std::string path = folder.path() + "/plugin";
  // Each token is longer than the one before by a letter.
  WriteFile(path, R"sh(#!/bin/sh
cd "$(dirname "$0")"
printf x >> runs
echo '{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{
"token":"'"$(cat runs)"'","expirationTimestamp":"1970-01-12T14:46:40Z"}}'
)sh");
  REQUIRE(chmod(path.c_str(), 0700) == 0);
  ApiServer server{.url = "https://a"};
  server.exec = ExecPlugin{.api_version = "client.authentication.k8s.io/v1", .command = path};
  Fixture fixture(server);
  const auto get = [&fixture] {
    absl::StatusOr<Credentials> credentials = fixture.Get();
    REQUIRE(credentials.ok());
    return *credentials;
  };
  const Credentials first = get();
  CHECK(first.token == "x");
  CHECK(first.description == absl::StrCat("the credentials of the exec plugin ", path));
  CHECK(get().token == "x");
  fixture.Advance(absl::Seconds(3600 - 1));
  CHECK(get().token == "x");
  fixture.Refused(first);
  CHECK(get().token == "xx");
  fixture.Refused(first);  // By a thread that is late: the second one may be good.
  CHECK(get().token == "xx");
  fixture.Advance(absl::Seconds(1));
  CHECK(get().token == "xxx");
}

}  // namespace
}  // namespace fairlead::kubernetes
