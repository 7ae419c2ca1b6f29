#include "watcher/kubernetes/credential_source.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "watcher/kubernetes/small_file.h"

namespace fairlead::kubernetes {
namespace {

absl::Status ReadPem(const PemSource& source, absl::string_view what, std::string* pem) {
  *pem = source.data;
  if (source.file.empty()) return absl::OkStatus();
  absl::StatusOr<std::string> read = ReadSmallFile(source.file);
  if (!read.ok()) {
    return absl::Status(read.status().code(), absl::StrCat(what, ": ", read.status().message()));
  }
  *pem = *std::move(read);
  return absl::OkStatus();
}

// A line break in it would be a header of its own.
bool IsToken(absl::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), absl::ascii_isgraph);
}

absl::Status ReadTokenFile(const std::string& path, std::string* token) {
  absl::StatusOr<std::string> read = ReadSmallFile(path);
  if (!read.ok()) {
    return absl::Status(read.status().code(), absl::StrCat("token: ", read.status().message()));
  }
  *token = std::string(absl::StripAsciiWhitespace(*read));
  return absl::OkStatus();
}

std::string DescribePem(const PemSource& source) {
  return source.file.empty() ? "the kubeconfig's client certificate"
                             : absl::StrCat("the client certificate ", source.file);
}

}  // namespace

CredentialSource::CredentialSource(const ApiServer& server, absl::Duration exec_timeout,
                                   const StopSignal& stop, std::function<absl::Time()> now)
    : server_(server), exec_timeout_(exec_timeout), stop_(stop), now_(std::move(now)) {}

absl::StatusOr<Credentials> CredentialSource::Get() {
  Credentials credentials;
  TlsMaterial& tls = credentials.tls;
  absl::Status status = ReadPem(server_.ca, "certificate authority", &tls.ca);
  if (status.ok()) {
    status = ReadPem(server_.client_certificate, "client certificate", &tls.client_certificate);
  }
  if (status.ok()) status = ReadPem(server_.client_key, "client key", &tls.client_key);
  if (!tls.client_certificate.empty()) {
    credentials.description = DescribePem(server_.client_certificate);
  }
  // Who has a token or a password needs no plugin.
  if (!status.ok()) return status;
  if (!server_.token_file.empty()) {
    status = ReadTokenFile(server_.token_file, &credentials.token);
    credentials.description = absl::StrCat("the token in ", server_.token_file);
  } else if (!server_.token.empty()) {
    credentials.token = server_.token;
    credentials.description = "the kubeconfig's token";
  } else if (!server_.username.empty()) {
    credentials.username = server_.username;
    credentials.password = server_.password;
    credentials.description = absl::StrCat("the password of ", server_.username);
  } else if (server_.exec.has_value()) {
    status = AddExec(&credentials);
  }
  if (!status.ok()) return status;
  if (!IsToken(credentials.token) && (!credentials.token.empty() || !server_.token_file.empty())) {
    return absl::InvalidArgumentError(absl::StrCat(credentials.description, " is none"));
  }
  if (credentials.description.empty()) credentials.description = "no credentials";
  return credentials;
}

absl::Status CredentialSource::AddExec(Credentials* credentials) {
  std::lock_guard lock(mutex_);
  if (!from_exec_.has_value() || now_() >= from_exec_->expires) {
    from_exec_.reset();
    absl::StatusOr<ExecCredential> credential = RunExecPlugin(server_, exec_timeout_, stop_);
    if (!credential.ok()) return credential.status();
    from_exec_ = *std::move(credential);
    ++exec_runs_;
  }
  credentials->token = from_exec_->token;
  if (!from_exec_->client_certificate.empty()) {
    credentials->tls.client_certificate = from_exec_->client_certificate;
    credentials->tls.client_key = from_exec_->client_key;
  }
  credentials->exec_run = exec_runs_;
  credentials->description =
      absl::StrCat("the credentials of the exec plugin ", server_.exec->command);
  return absl::OkStatus();
}

void CredentialSource::Refused(const Credentials& credentials) {
  std::lock_guard lock(mutex_);
  // Another thread may have got new ones since.
  if (credentials.exec_run == exec_runs_) from_exec_.reset();
}

}  // namespace fairlead::kubernetes
