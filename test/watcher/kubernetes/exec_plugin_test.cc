#include "watcher/kubernetes/exec_plugin.h"

#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <string>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/time/clock.h"
#include "test/watcher/feed/certificates.h"
#include "watcher/kubernetes/run_program.h"

namespace fairlead::kubernetes {
namespace {

constexpr char kV1[] = "client.authentication.k8s.io/v1";

std::string CredentialJson(const std::string& status) {
  return absl::StrCat(R"({"kind":"ExecCredential","apiVersion":")", kV1, R"(","status":)", status,
                      "}");
}

// A shell script as plugin.
class Script {
 public:
  explicit Script(const std::string& lines) {
    feed_test::WriteFile(path(), "#!/bin/sh\n" + lines + "\n");
    REQUIRE(chmod(path().c_str(), 0700) == 0);
  }
  std::string path() const { return folder_.path() + "/plugin"; }
  std::string folder() const { return folder_.path(); }

  // The error of a run, without the script's path.
  std::string Fail(absl::Duration timeout = absl::Seconds(20)) const {
    const absl::StatusOr<ExecCredential> credential = Run(timeout);
    REQUIRE_FALSE(credential.ok());
    return absl::StrReplaceAll(credential.status().message(), {{path(), "plugin"}});
  }
  absl::StatusOr<ExecCredential> Run(absl::Duration timeout = absl::Seconds(20)) const {
    const StopSignal stop;
    ApiServer server{.url = "https://a:6443"};
    server.exec = ExecPlugin{.api_version = kV1, .command = path()};
    return RunExecPlugin(server, timeout, stop);
  }

 private:
  feed_test::TemporaryFolder folder_;
};

TEST_CASE("a plugin's token") {
  const Script script("echo '" +
                      CredentialJson(R"({"token":"t1","expirationTimestamp":)"
                                     R"("2026-01-02T03:04:05Z"})") +
                      "'; echo chatter >&2");
  const auto credential = script.Run();
  REQUIRE(credential.ok());
  CHECK(*credential == ExecCredential{.token = "t1", .expires = absl::FromUnixSeconds(1767323045)});
}

TEST_CASE("what a plugin prints, good and bad") {
  struct Case {
    std::string text;
    std::string problem;
  };
  const std::string wrong_version =
      absl::StrReplaceAll(CredentialJson("{}"), {{"/v1", "/v1beta1"}});
  const Case cases[] = {
      {CredentialJson(R"({"clientCertificateData":"c","clientKeyData":"k"})"), ""},
      {CredentialJson(R"({"token":"t","clientCertificateData":null})"), ""},
      {"", "it is no JSON object"},
      {"[]", "it is no JSON object"},
      {"{\"kind\":\"Pod\"}", "kind is not ExecCredential"},
      {wrong_version, "apiVersion is not client.authentication.k8s.io/v1"},
      {CredentialJson("7"), "status is missing"},
      {CredentialJson("{}"), "status holds neither a token nor a client certificate"},
      {CredentialJson(R"({"token":7})"), "status.token is no string"},
      {CredentialJson(R"({"clientKeyData":"k"})"),
       "status.clientCertificateData and status.clientKeyData belong together"},
      {CredentialJson(R"({"token":"t","expirationTimestamp":"soon"})"),
       "status.expirationTimestamp is no time (RFC 3339)"},
  };
  for (const Case& c : cases) {
    INFO(c.text);
    const absl::Status status = ParseExecCredential(c.text, kV1).status();
    CHECK(status.message() ==
          (c.problem.empty() ? "" : absl::StrCat("printed no ExecCredential: ", c.problem)));
  }
}

TEST_CASE("what a plugin is told") {
  ApiServer server{.url = "https://a:6443",
                   .tls_server_name = "b",
                   .ca = {.data = "pem"},
                   .proxy_url = "http://p"};
  server.exec = ExecPlugin{.api_version = kV1};
  CHECK(*FormatExecInfo(server) ==
        R"({"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential",)"
        R"("spec":{"interactive":false}})");
  server.exec->provide_cluster_info = true;
  CHECK(*FormatExecInfo(server) ==
        R"({"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential",)"
        R"("spec":{"cluster":{"certificate-authority-data":"cGVt","proxy-url":"http://p",)"
        R"("server":"https://a:6443","tls-server-name":"b"},"interactive":false}})");
}

TEST_CASE("a plugin that fails says why") {
  CHECK(Script("echo no login >&2; echo secret; exit 3").Fail() ==
        "exec plugin: plugin failed with code 3: no login");
  CHECK(Script("exit 1").Fail() == "exec plugin: plugin failed with code 1");
  CHECK(Script("kill -9 $$").Fail() == "exec plugin: plugin was ended by signal 9 (Killed)");
  CHECK(Script("echo hello").Fail() ==
        "exec plugin: plugin printed no ExecCredential: it is no JSON object");
  CHECK(Script("yes x | head -c 2000 >&2; exit 1").Fail() ==
        absl::StrCat("exec plugin: plugin failed with code 1: ",
                     absl::StrReplaceAll(std::string(255, 'x'), {{"x", "x "}}), "x..."));
  CHECK(Script("yes | head -c 2000000").Fail() ==
        "exec plugin: plugin printed more than 1048576 bytes");
}

TEST_CASE("a plugin that is not there, with a hint") {
  const StopSignal stop;
  ApiServer server{.url = "https://a"};
  server.exec = ExecPlugin{.api_version = kV1, .command = "/nowhere/x", .install_hint = "get x"};
  CHECK(RunExecPlugin(server, absl::Seconds(20), stop).status().message() ==
        "exec plugin: /nowhere/x cannot be run: No such file or directory; get x");
}

TEST_CASE("a plugin that hangs is ended, with what it started") {
  const Script script("sleep 600 & echo waiting >&2; echo $$ $! > " +
                      std::string("$(dirname $0)/pids; wait"));
  CHECK(script.Fail(absl::Seconds(1)) == "exec plugin: plugin did not end within 1s: waiting");
  const StopSignal stop;
  // A zombie has no command line.
  const auto check = RunProgram(
      {.command = "/bin/sh",
       .arguments = {"-c",
                     "for p in $(cat " + script.folder() +
                         "/pids); do tr -d '\\0' < /proc/$p/cmdline 2>/dev/null; done; true"}},
      absl::Seconds(20), stop);
  REQUIRE(check.ok());
  CHECK(*check == "");
}

TEST_CASE("what a plugin leaves behind is not waited for") {
  const Script script("sleep 20 & echo '" + CredentialJson(R"({"token":"t1"})") + "'");
  const absl::Time start = absl::Now();
  CHECK(script.Run().ok());
  CHECK(absl::Now() - start < absl::Seconds(10));
}

TEST_CASE("a plugin is ended where we are to stop") {
  StopSignal stop;
  absl::Status status;
  std::thread thread([&] {
    status =
        RunProgram({.command = "sleep", .arguments = {"600"}}, absl::Minutes(10), stop).status();
  });
  stop.Raise();
  thread.join();
  CHECK(absl::IsCancelled(status));
}

TEST_CASE("a program has our environment with its own in it, no input and no file of ours") {
  setenv("FAIRLEAD_TEST_A", "a", 1);
  setenv("FAIRLEAD_TEST_B", "b", 1);
  const int fd = dup(0);
  const StopSignal stop;
  const auto output = RunProgram(
      {.command = "sh",
       .arguments = {"-c", "echo $FAIRLEAD_TEST_A $FAIRLEAD_TEST_B; cat; ls /proc/self/fd | wc -l"},
       .environment = {{"FAIRLEAD_TEST_B", "own"}}},
      absl::Seconds(20), stop);
  close(fd);
  unsetenv("FAIRLEAD_TEST_A");
  unsetenv("FAIRLEAD_TEST_B");
  REQUIRE(output.ok());
  // The fourth is the folder that is listed.
  CHECK(*output == "a own\n4\n");
}

}  // namespace
}  // namespace fairlead::kubernetes
