#include <catch2/catch.hpp>
#include <cstdlib>
#include <string>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "test/watcher/feed/certificates.h"
#include "watcher/kubernetes/api_server.h"

namespace fairlead {
namespace {

using feed_test::TemporaryFolder;
using feed_test::WriteFile;
using Pairs = std::vector<std::pair<std::string, std::string>>;

constexpr char kPem[] = "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n";

// A kubeconfig with one context, whose cluster and user hold these lines.
std::string Kubeconfig(const std::string& cluster, const std::string& user) {
  const auto indent = [](const std::string& lines) {
    return absl::StrReplaceAll(lines, {{"\n", "\n    "}});
  };
  return absl::StrCat(R"(apiVersion: v1
kind: Config
current-context: here
contexts:
- name: here
  context: {cluster: home, user: dev, namespace: shop}
clusters:
- name: home
  cluster:
    )",
                      indent(cluster), R"(
users:
- name: dev
  user:
    )",
                      indent(user), "\n");
}

absl::StatusOr<ApiServer> Load(const std::string& text, const std::string& context = "") {
  const TemporaryFolder folder;
  const std::string path = folder.path() + "/config";
  WriteFile(path, text);
  absl::StatusOr<ApiServer> server = LoadKubeconfig(path, context);
  // The folder has another name each time.
  if (!server.ok()) {
    return absl::Status(server.status().code(),
                        absl::StrReplaceAll(server.status().message(), {{folder.path(), "F"}}));
  }
  for (std::string* file : {&server->ca.file, &server->client_certificate.file,
                            &server->client_key.file, &server->token_file}) {
    *file = absl::StrReplaceAll(*file, {{folder.path(), "F"}});
  }
  if (server->exec.has_value()) {
    server->exec->command = absl::StrReplaceAll(server->exec->command, {{folder.path(), "F"}});
  }
  return server;
}

constexpr char kServer[] = "server: https://10.0.0.1:6443/";

TEST_CASE("a kubeconfig with a certificate authority and a client certificate in it") {
  const std::string data = absl::Base64Escape(kPem);
  const auto server = Load(
      Kubeconfig(absl::StrCat(kServer, "\ncertificate-authority-data: ", data),
                 absl::StrCat("client-certificate-data: ", data, "\nclient-key-data: ", data)));
  REQUIRE(server.ok());
  CHECK(server->url == "https://10.0.0.1:6443");
  CHECK(server->ca.data == kPem);
  CHECK(server->client_certificate.data == kPem);
  CHECK(server->client_key.data == kPem);
  CHECK(server->token.empty());
  CHECK_FALSE(server->insecure_skip_tls_verify);
  CHECK_FALSE(server->exec.has_value());
}

TEST_CASE("files of a kubeconfig are relative to its folder") {
  const auto server = Load(
      Kubeconfig(absl::StrCat(kServer,
                              "\ncertificate-authority: pki/ca.crt"
                              "\ntls-server-name: kubernetes"
                              "\nproxy-url: http://proxy:3128"),
                 "client-certificate: dev.crt\nclient-key: /pki/dev.key\ntokenFile: ../token"));
  REQUIRE(server.ok());
  CHECK(server->ca.file == "F/pki/ca.crt");
  CHECK(server->tls_server_name == "kubernetes");
  CHECK(server->proxy_url == "http://proxy:3128");
  CHECK(server->client_certificate.file == "F/dev.crt");
  CHECK(server->client_key.file == "/pki/dev.key");
  CHECK(server->token_file == "F/../token");
}

TEST_CASE("a kubeconfig with a password and no look at the certificate") {
  const auto server = Load(Kubeconfig(absl::StrCat(kServer, "\ninsecure-skip-tls-verify: true"),
                                      "username: admin\npassword: secret"));
  REQUIRE(server.ok());
  CHECK(server->insecure_skip_tls_verify);
  CHECK(server->username == "admin");
  CHECK(server->password == "secret");
}

TEST_CASE("a kubeconfig with a plugin") {
  const auto load = [](const std::string& command) {
    return Load(Kubeconfig(kServer, absl::StrCat(R"(exec:
  apiVersion: client.authentication.k8s.io/v1
  command: )",
                                                 command, R"(
  args: [token, --cluster, 7]
  env: [{name: REGION, value: north}]
  installHint: get it
  provideClusterInfo: true
  interactiveMode: IfAvailable)")));
  };
  const auto server = load("bin/helper");
  REQUIRE(server.ok());
  REQUIRE(server->exec.has_value());
  CHECK(server->exec->api_version == "client.authentication.k8s.io/v1");
  CHECK(server->exec->command == "F/bin/helper");
  CHECK(server->exec->arguments == std::vector<std::string>{"token", "--cluster", "7"});
  CHECK(server->exec->environment == Pairs{{"REGION", "north"}});
  CHECK(server->exec->install_hint == "get it");
  CHECK(server->exec->provide_cluster_info);
  CHECK(load("helper")->exec->command == "helper");
  CHECK(load("/bin/helper")->exec->command == "/bin/helper");
}

TEST_CASE("the context that is asked for") {
  const std::string text = R"(
current-context: a
contexts:
- {name: a, context: {cluster: a, user: a}}
- {name: b, context: {cluster: b}}
clusters:
- {name: a, cluster: {server: "https://a"}}
- {name: b, cluster: {server: "http://b:8080/base/"}}
users:
- {name: a, user: {token: secret}}
- {name: unused, user: {auth-provider: {name: gcp}}}
)";
  CHECK(Load(text)->url == "https://a");
  CHECK(Load(text)->token == "secret");
  CHECK(Load(text, "b")->url == "http://b:8080/base");
  CHECK(Load(text, "c").status().message() ==
        "kubeconfig F/config: contexts[c]: there is no such entry");
}

TEST_CASE("JSON is a kubeconfig too") {
  CHECK(Load(R"({"current-context":"a","contexts":[{"name":"a","context":{"cluster":"a"}}],
"clusters":[{"name":"a","cluster":{"server":"https://a"}}]})")
            ->url == "https://a");
}

TEST_CASE("what is wrong with a kubeconfig is named by entry and field") {
  const std::string exec = "exec:\n  apiVersion: client.authentication.k8s.io/v1\n  command: x\n  ";
  struct Case {
    std::string text;
    std::string message;
  };
  const Case cases[] = {
      {"", "it is no kubeconfig"},
      {"- a", "it is no kubeconfig"},
      {"a: [b", "line 1: it is no YAML: end of sequence flow not found"},
      {"clusters: []", "current-context: is missing, and no context was named"},
      {"current-context: a", "contexts[a]: there is no such entry"},
      {"current-context: [a]", "current-context: is no string"},
      {"current-context: a\ncontexts: {}", "contexts: is no list"},
      {"current-context: a\ncontexts: [{name: a}]", "contexts[a].cluster: is missing"},
      {"current-context: a\ncontexts: [{name: a, context: 7}]", "contexts[a].context: is no map"},
      {"current-context: a\ncontexts: [{name: a}, {name: a}]", "contexts[a]: is there twice"},
      {"current-context: a\ncontexts: [{name: a, context: {cluster: c}}]",
       "clusters[c]: there is no such entry"},
      {absl::StrReplaceAll(Kubeconfig(kServer, "token: x"), {{"name: dev", "name: ops"}}),
       "users[dev]: there is no such entry"},
      {Kubeconfig("insecure-skip-tls-verify: true", "token: x"),
       "clusters[home].server: is missing"},
      {Kubeconfig("server: 10.0.0.1:6443", "token: x"),
       "clusters[home].server: does not begin with https:// or http://"},
      {Kubeconfig("server: https://u:p@10.0.0.1", "token: x"),
       "clusters[home].server: holds a password"},
      {Kubeconfig("server: https:///path", "token: x"),
       "clusters[home].server: is no URL of a host and a path"},
      {Kubeconfig("server: https://a?b=c", "token: x"),
       "clusters[home].server: is no URL of a host and a path"},
      {Kubeconfig(absl::StrCat(kServer, "\ninsecure-skip-tls-verify: maybe"), "token: x"),
       "clusters[home].insecure-skip-tls-verify: is neither true nor false"},
      {Kubeconfig(
           absl::StrCat(kServer, "\ninsecure-skip-tls-verify: true\n", "certificate-authority: x"),
           "token: x"),
       "clusters[home].insecure-skip-tls-verify: is of no use with a certificate authority: only "
       "one of them may be given"},
      {Kubeconfig(absl::StrCat(kServer, "\ncertificate-authority-data: '%'"), "token: x"),
       "clusters[home].certificate-authority-data: is not base64"},
      {Kubeconfig(absl::StrCat(kServer, "\ncertificate-authority-data: aGVsbG8="), "token: x"),
       "clusters[home].certificate-authority-data: holds no PEM"},
      {Kubeconfig(absl::StrCat(kServer, "\ncertificate-authority: x\ncertificate-authority-data: ",
                               absl::Base64Escape(kPem)),
                  "token: x"),
       "clusters[home].certificate-authority: may not be given together with "
       "certificate-authority-data"},
      {Kubeconfig(kServer, "client-certificate: x"),
       "users[dev].client-key: is missing: certificate and key belong together"},
      {Kubeconfig(kServer, "client-key: x"),
       "users[dev].client-certificate: is missing: certificate and key belong together"},
      {Kubeconfig(kServer, "token: x\nusername: y"),
       "users[dev].username: may not be given together with a token"},
      {Kubeconfig(kServer, "auth-provider: {name: gcp}"),
       "users[dev].auth-provider: is not supported, as Kubernetes has given it up: use exec"},
      {Kubeconfig(kServer, "token: x\nas: root"),
       "users[dev].as: to act as somebody else is not supported"},
      {Kubeconfig("server: http://a", "token: x"),
       "users[dev]: holds credentials, which are not sent to http://a: it is not https"},
      {Kubeconfig(kServer, "exec: x"), "users[dev].exec: is no map"},
      {Kubeconfig(kServer, "exec: {apiVersion: client.authentication.k8s.io/v1alpha1}"),
       "users[dev].exec.apiVersion: is neither client.authentication.k8s.io/v1 nor "
       "client.authentication.k8s.io/v1beta1"},
      {Kubeconfig(kServer, "exec: {apiVersion: client.authentication.k8s.io/v1}"),
       "users[dev].exec.command: is missing"},
      {Kubeconfig(kServer, exec + "interactiveMode: Always"),
       "users[dev].exec.interactiveMode: is Always, but there is nobody to ask"},
      {Kubeconfig(kServer, exec + "interactiveMode: Now"),
       "users[dev].exec.interactiveMode: is none of Never, IfAvailable, Always"},
      {Kubeconfig(kServer, exec + "args: x"), "users[dev].exec.args: is no list"},
      {Kubeconfig(kServer, exec + "args: [[]]"), "users[dev].exec.args: holds what is no string"},
      {Kubeconfig(kServer, exec + "env: [{value: x}]"),
       "users[dev].exec.env: holds a variable without a valid name"},
  };
  for (const Case& c : cases) {
    INFO(c.text);
    const auto server = Load(c.text);
    REQUIRE_FALSE(server.ok());
    CHECK(server.status().code() == absl::StatusCode::kInvalidArgument);
    CHECK(server.status().message() == absl::StrCat("kubeconfig F/config: ", c.message));
  }
}

TEST_CASE("a kubeconfig that is not there is named") {
  const auto server = LoadKubeconfig("/nowhere/config", "");
  CHECK(absl::IsNotFound(server.status()));
  CHECK(server.status().message() ==
        "kubeconfig: cannot read /nowhere/config: No such file or directory");
}

TEST_CASE("a Pod's service account") {
  const TemporaryFolder folder;
  WriteFile(folder.path() + "/token", "secret");
  WriteFile(folder.path() + "/ca.crt", kPem);
  const auto load = [&folder](const char* host) {
    setenv("KUBERNETES_SERVICE_HOST", host, 1);
    setenv("KUBERNETES_SERVICE_PORT", "443", 1);
    absl::StatusOr<ApiServer> server = InClusterApiServer(folder.path());
    unsetenv("KUBERNETES_SERVICE_HOST");
    unsetenv("KUBERNETES_SERVICE_PORT");
    return server;
  };
  const auto server = load("10.96.0.1");
  REQUIRE(server.ok());
  CHECK(server->url == "https://10.96.0.1:443");
  CHECK(server->token_file == folder.path() + "/token");
  CHECK(server->ca.file == folder.path() + "/ca.crt");
  CHECK(load("fd00::1")->url == "https://[fd00::1]:443");
  CHECK(InClusterApiServer(folder.path()).status().message() ==
        "not in a Pod: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set");
  WriteFile(folder.path() + "/ca.crt", kPem);
  REQUIRE(std::remove((folder.path() + "/token").c_str()) == 0);
  CHECK(load("10.96.0.1").status().message() ==
        absl::StrCat("service account of the Pod: cannot read ", folder.path(),
                     "/token: No such file or directory"));
}

}  // namespace
}  // namespace fairlead
