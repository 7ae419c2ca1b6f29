#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <exception>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "watcher/kubernetes/api_server.h"
#include "watcher/kubernetes/small_file.h"

namespace fairlead {
namespace {

constexpr absl::string_view kExecVersions[] = {"client.authentication.k8s.io/v1",
                                               "client.authentication.k8s.io/v1beta1"};
// Fields of a user that make it somebody else. Not to heed them would be to act as the wrong one.
constexpr const char* kImpersonation[] = {"as", "as-uid", "as-groups", "as-user-extra"};

// One entry of the file, "users[dev]", with its fields. Remembers the first that is wrong; what is
// wrong reads as empty.
class Entry {
 public:
  Entry(std::string name, const YAML::Node& fields, absl::Status* status)
      : name_(std::move(name)), fields_(fields), status_(*status) {}

  void Fail(absl::string_view field, absl::string_view problem) const {
    if (!status_.ok()) return;
    const char* dot = name_.empty() || field.empty() ? "" : ".";
    status_ = absl::InvalidArgumentError(absl::StrCat(name_, dot, field, ": ", problem));
  }

  bool Has(const char* field) const {
    const YAML::Node node = Find(field);
    return node.IsDefined() && !node.IsNull();
  }

  std::string Text(const char* field) const {
    if (!Has(field)) return "";
    const YAML::Node node = Find(field);
    if (node.IsScalar()) return node.Scalar();
    Fail(field, "is no string");
    return "";
  }

  bool Flag(const char* field) const {
    const std::string text = Text(field);
    if (text == "true") return true;
    if (!text.empty() && text != "false") Fail(field, "is neither true nor false");
    return false;
  }

  std::vector<YAML::Node> List(const char* field) const {
    std::vector<YAML::Node> list;
    if (!Has(field)) return list;
    const YAML::Node node = Find(field);
    if (!node.IsSequence()) {
      Fail(field, "is no list");
      return list;
    }
    for (const YAML::Node& item : node) list.push_back(item);
    return list;
  }

  // The map in a field; empty where there is none.
  Entry Map(const char* field) const {
    const YAML::Node node = Has(field) ? Find(field) : YAML::Node();
    if (Has(field) && !node.IsMap()) Fail(field, "is no map");
    return Entry(absl::StrCat(name_, ".", field),
                 node.IsMap() ? node : YAML::Node(YAML::NodeType::Map), &status_);
  }

  absl::Status& status() const { return status_; }

 private:
  YAML::Node Find(const char* field) const {
    return fields_.IsMap() ? fields_[field] : YAML::Node(YAML::NodeType::Undefined);
  }

  const std::string name_;
  const YAML::Node fields_;
  absl::Status& status_;
};

// Reads one context of a kubeconfig file.
class KubeconfigReader {
 public:
  KubeconfigReader(const std::string& path, const YAML::Node& root)
      : folder_(FolderOf(path)), root_("", root, &status_) {}

  absl::StatusOr<ApiServer> Read(absl::string_view context);

 private:
  static std::string FolderOf(const std::string& path) {
    const size_t slash = path.rfind('/');
    return slash == std::string::npos ? "." : path.substr(0, slash);
  }

  // The entry of that name in a list such as "users", which holds its fields under "user".
  Entry FindEntry(const char* list, const char* field, const std::string& name);
  void ReadCluster(const Entry& cluster);
  void CheckUrl(const Entry& cluster);
  void ReadUser(const Entry& user);
  void CheckUser(const Entry& user);
  void ReadExec(const Entry& exec);
  // From the fields `field`, a path, and `field`-data, which is base64.
  PemSource ReadPem(const Entry& entry, const std::string& field);
  std::string Resolve(const std::string& path) const {
    return path.empty() || path[0] == '/' ? path : absl::StrCat(folder_, "/", path);
  }

  const std::string folder_;
  absl::Status status_;
  const Entry root_;
  ApiServer server_;
};

absl::StatusOr<ApiServer> KubeconfigReader::Read(absl::string_view context) {
  const std::string name = context.empty() ? root_.Text("current-context") : std::string(context);
  if (status_.ok() && name.empty()) {
    return absl::InvalidArgumentError("current-context: is missing, and no context was named");
  }
  const Entry chosen = FindEntry("contexts", "context", name);
  const std::string cluster = chosen.Text("cluster");
  const std::string user = chosen.Text("user");
  if (cluster.empty()) chosen.Fail("cluster", "is missing");
  if (!status_.ok()) return status_;
  ReadCluster(FindEntry("clusters", "cluster", cluster));
  if (!user.empty() && status_.ok()) ReadUser(FindEntry("users", "user", user));
  if (!status_.ok()) return status_;
  return std::move(server_);
}

Entry KubeconfigReader::FindEntry(const char* list, const char* field, const std::string& name) {
  YAML::Node found(YAML::NodeType::Map);
  int count = 0;
  for (const YAML::Node& item : root_.List(list)) {
    const Entry entry(list, item, &status_);
    if (entry.Text("name") != name) continue;
    ++count;
    if (entry.Has(field)) found = item[field];
  }
  const std::string label = absl::StrCat(list, "[", name, "]");
  const Entry entry(label, found, &status_);
  if (!found.IsMap()) entry.Fail(field, "is no map");
  if (count == 0) entry.Fail("", "there is no such entry");
  if (count > 1) entry.Fail("", "is there twice");
  return entry;
}

void KubeconfigReader::ReadCluster(const Entry& cluster) {
  server_.url = cluster.Text("server");
  while (absl::EndsWith(server_.url, "/")) server_.url.pop_back();
  CheckUrl(cluster);
  server_.tls_server_name = cluster.Text("tls-server-name");
  server_.insecure_skip_tls_verify = cluster.Flag("insecure-skip-tls-verify");
  server_.ca = ReadPem(cluster, "certificate-authority");
  server_.proxy_url = cluster.Text("proxy-url");
  if (server_.insecure_skip_tls_verify && !server_.ca.empty()) {
    cluster.Fail("insecure-skip-tls-verify",
                 "is of no use with a certificate authority: only one of them may be given");
  }
}

void KubeconfigReader::CheckUrl(const Entry& cluster) {
  absl::string_view rest = server_.url;
  if (rest.empty()) return cluster.Fail("server", "is missing");
  if (!absl::ConsumePrefix(&rest, "https://") && !absl::ConsumePrefix(&rest, "http://")) {
    return cluster.Fail("server", "does not begin with https:// or http://");
  }
  if (rest.find('@') != rest.npos) return cluster.Fail("server", "holds a password");
  const bool is_plain = std::all_of(rest.begin(), rest.end(), [](char c) {
    return absl::ascii_isgraph(c) && c != '?' && c != '#';
  });
  if (!is_plain || rest.empty() || rest[0] == '/') {
    cluster.Fail("server", "is no URL of a host and a path");
  }
}

void KubeconfigReader::ReadUser(const Entry& user) {
  server_.client_certificate = ReadPem(user, "client-certificate");
  server_.client_key = ReadPem(user, "client-key");
  server_.token = user.Text("token");
  server_.token_file = Resolve(user.Text("tokenFile"));
  server_.username = user.Text("username");
  server_.password = user.Text("password");
  if (user.Has("exec")) ReadExec(user.Map("exec"));
  CheckUser(user);
}

void KubeconfigReader::CheckUser(const Entry& user) {
  if (user.Has("auth-provider")) {
    user.Fail("auth-provider", "is not supported, as Kubernetes has given it up: use exec");
  }
  for (const char* field : kImpersonation) {
    if (user.Has(field)) user.Fail(field, "to act as somebody else is not supported");
  }
  if (server_.client_certificate.empty() != server_.client_key.empty()) {
    user.Fail(server_.client_key.empty() ? "client-key" : "client-certificate",
              "is missing: certificate and key belong together");
  }
  const bool has_token = !server_.token.empty() || !server_.token_file.empty();
  if (has_token && !server_.username.empty()) {
    user.Fail("username", "may not be given together with a token");
  }
  const bool has_secret = has_token || !server_.username.empty() || server_.exec.has_value();
  if (has_secret && !absl::StartsWith(server_.url, "https://")) {
    user.Fail("", absl::StrCat("holds credentials, which are not sent to ", server_.url,
                               ": it is not https"));
  }
}

void KubeconfigReader::ReadExec(const Entry& exec) {
  ExecPlugin plugin;
  plugin.api_version = exec.Text("apiVersion");
  if (std::count(std::begin(kExecVersions), std::end(kExecVersions), plugin.api_version) == 0) {
    exec.Fail("apiVersion",
              absl::StrCat("is neither ", kExecVersions[0], " nor ", kExecVersions[1]));
  }
  plugin.command = exec.Text("command");
  if (plugin.command.empty()) exec.Fail("command", "is missing");
  if (absl::StrContains(plugin.command, '/')) plugin.command = Resolve(plugin.command);
  for (const YAML::Node& argument : exec.List("args")) {
    if (!argument.IsScalar()) exec.Fail("args", "holds what is no string");
    if (argument.IsScalar()) plugin.arguments.push_back(argument.Scalar());
  }
  for (const YAML::Node& item : exec.List("env")) {
    const Entry variable("env", item, &status_);
    plugin.environment.emplace_back(variable.Text("name"), variable.Text("value"));
    const std::string& name = plugin.environment.back().first;
    if (name.empty() || absl::StrContains(name, '=')) {
      exec.Fail("env", "holds a variable without a valid name");
    }
  }
  plugin.install_hint = std::string(absl::StripAsciiWhitespace(exec.Text("installHint")));
  plugin.provide_cluster_info = exec.Flag("provideClusterInfo");
  const std::string mode = exec.Text("interactiveMode");
  if (mode == "Always") {
    exec.Fail("interactiveMode", "is Always, but there is nobody to ask");
  } else if (!mode.empty() && mode != "Never" && mode != "IfAvailable") {
    exec.Fail("interactiveMode", "is none of Never, IfAvailable, Always");
  }
  server_.exec = std::move(plugin);
}

PemSource KubeconfigReader::ReadPem(const Entry& entry, const std::string& field) {
  const std::string data_field = field + "-data";
  const std::string encoded = entry.Text(data_field.c_str());
  PemSource source{.file = Resolve(entry.Text(field.c_str()))};
  if (encoded.empty()) return source;
  if (!source.file.empty()) {
    entry.Fail(field, absl::StrCat("may not be given together with ", data_field));
  }
  if (!absl::Base64Unescape(encoded, &source.data)) entry.Fail(data_field, "is not base64");
  if (source.data.find("-----BEGIN ") == std::string::npos) {
    entry.Fail(data_field, "holds no PEM");
  }
  return source;
}

absl::StatusOr<ApiServer> ReadContext(const std::string& path, const std::string& text,
                                      absl::string_view context) {
  YAML::Node root;
  try {
    root = YAML::Load(text);
    if (!root.IsMap()) return absl::InvalidArgumentError("it is no kubeconfig");
    return KubeconfigReader(path, root).Read(context);
  } catch (const YAML::Exception& exception) {
    // Only its place and kind, as the text may hold secrets.
    return absl::InvalidArgumentError(
        absl::StrCat("line ", exception.mark.line + 1, ": it is no YAML: ", exception.msg));
  }
}

}  // namespace

absl::StatusOr<ApiServer> LoadKubeconfig(const std::string& path, absl::string_view context) {
  const absl::StatusOr<std::string> text = kubernetes::ReadSmallFile(path);
  if (!text.ok()) {
    return absl::Status(text.status().code(),
                        absl::StrCat("kubeconfig: ", text.status().message()));
  }
  absl::StatusOr<ApiServer> server = ReadContext(path, *text, context);
  if (server.ok()) return server;
  return absl::Status(server.status().code(),
                      absl::StrCat("kubeconfig ", path, ": ", server.status().message()));
}

}  // namespace fairlead
