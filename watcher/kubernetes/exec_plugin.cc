#include "watcher/kubernetes/exec_plugin.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "watcher/kubernetes/run_program.h"
#include "watcher/kubernetes/small_file.h"

namespace fairlead::kubernetes {
namespace {

using nlohmann::json;

absl::Status Bad(absl::string_view problem) {
  return absl::InvalidArgumentError(absl::StrCat("printed no ExecCredential: ", problem));
}

// A string that may be absent.
absl::Status ReadText(const json& status, const char* field, std::string* text) {
  const auto it = status.find(field);
  if (it == status.end() || it->is_null()) return absl::OkStatus();
  if (!it->is_string()) return Bad(absl::StrCat("status.", field, " is no string"));
  *text = it->get<std::string>();
  return absl::OkStatus();
}

absl::Status ReadStatus(const json& status, ExecCredential* credential) {
  std::string expires;
  for (const auto& [field, text] : {std::pair("token", &credential->token),
                                    {"clientCertificateData", &credential->client_certificate},
                                    {"clientKeyData", &credential->client_key},
                                    {"expirationTimestamp", &expires}}) {
    if (absl::Status read = ReadText(status, field, text); !read.ok()) return read;
  }
  if (!expires.empty() &&
      !absl::ParseTime(absl::RFC3339_full, expires, &credential->expires, nullptr)) {
    return Bad("status.expirationTimestamp is no time (RFC 3339)");
  }
  if (credential->client_certificate.empty() != credential->client_key.empty()) {
    return Bad("status.clientCertificateData and status.clientKeyData belong together");
  }
  if (credential->token.empty() && credential->client_certificate.empty()) {
    return Bad("status holds neither a token nor a client certificate");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> FormatExecInfo(const ApiServer& server) {
  json spec = {{"interactive", false}};
  if (server.exec->provide_cluster_info) {
    json& cluster = spec["cluster"] = {{"server", server.url}};
    if (!server.tls_server_name.empty()) cluster["tls-server-name"] = server.tls_server_name;
    if (server.insecure_skip_tls_verify) cluster["insecure-skip-tls-verify"] = true;
    if (!server.proxy_url.empty()) cluster["proxy-url"] = server.proxy_url;
    std::string ca = server.ca.data;
    if (!server.ca.file.empty()) {
      absl::StatusOr<std::string> read = ReadSmallFile(server.ca.file);
      if (!read.ok()) return read.status();
      ca = *std::move(read);
    }
    if (!ca.empty()) cluster["certificate-authority-data"] = absl::Base64Escape(ca);
  }
  const json info = {{"kind", "ExecCredential"},
                     {"apiVersion", server.exec->api_version},
                     {"spec", std::move(spec)}};
  return info.dump();
}

absl::StatusOr<ExecCredential> ParseExecCredential(absl::string_view text,
                                                   absl::string_view api_version) {
  const json parsed = json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (!parsed.is_object()) return Bad("it is no JSON object");
  for (const auto& [field, wanted] :
       {std::pair<const char*, absl::string_view>("kind", "ExecCredential"),
        {"apiVersion", api_version}}) {
    const auto it = parsed.find(field);
    if (it == parsed.end() || !it->is_string() || it->get<std::string>() != wanted) {
      return Bad(absl::StrCat(field, " is not ", wanted));
    }
  }
  const auto status = parsed.find("status");
  if (status == parsed.end() || !status->is_object()) return Bad("status is missing");
  ExecCredential credential;
  if (absl::Status read = ReadStatus(*status, &credential); !read.ok()) return read;
  return credential;
}

absl::StatusOr<ExecCredential> RunExecPlugin(const ApiServer& server, absl::Duration timeout,
                                             const StopSignal& stop) {
  const ExecPlugin& plugin = *server.exec;
  const auto failed = [&plugin](const absl::Status& status) {
    const absl::string_view hint = plugin.install_hint;
    return absl::Status(status.code(), absl::StrCat("exec plugin: ", status.message(),
                                                    hint.empty() ? "" : "; ", hint));
  };
  absl::StatusOr<std::string> info = FormatExecInfo(server);
  if (!info.ok()) return failed(info.status());
  Program program{plugin.command, plugin.arguments, plugin.environment};
  program.environment.emplace_back("KUBERNETES_EXEC_INFO", *std::move(info));
  const absl::StatusOr<std::string> printed = RunProgram(program, timeout, stop);
  if (absl::IsCancelled(printed.status())) return printed.status();
  if (!printed.ok()) return failed(printed.status());
  absl::StatusOr<ExecCredential> credential = ParseExecCredential(*printed, plugin.api_version);
  if (credential.ok()) return credential;
  return failed(
      absl::InvalidArgumentError(absl::StrCat(plugin.command, " ", credential.status().message())));
}

}  // namespace fairlead::kubernetes
