// A certificate authority for tests.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace fairlead::lab {

// Of a certificate and its key, PEM.
struct KeyPair {
  std::string certificate_file;
  std::string key_file;
};

struct CertificateRequest {
  // Of the files: NAME.crt and NAME.key. Those that are there are replaced, each as a whole.
  std::string name;
  std::string common_name;
  std::vector<std::string> organizations = {};
  // "DNS:localhost", "IP:127.0.0.1"; empty: for a client.
  std::vector<std::string> alternative_names = {};
};

// Certificates are good for two days and have EC keys; they are made by the program `openssl`.
// Thread-compatible.
class CertificateAuthority {
 public:
  // Makes ca.crt and ca.key in the folder, which is there.
  static absl::StatusOr<std::unique_ptr<CertificateAuthority>> Create(const std::string& folder);

  // A certificate that this authority has signed.
  absl::StatusOr<KeyPair> Issue(const CertificateRequest& request) const;

  std::string certificate_file() const { return folder_ + "/ca.crt"; }

 private:
  explicit CertificateAuthority(std::string folder) : folder_(std::move(folder)) {}

  const std::string folder_;
};

// Makes `path` hold the text, at once for whoever opens it.
absl::Status ReplaceFile(const std::string& path, absl::string_view text);
absl::StatusOr<std::string> ReadFile(const std::string& path);

}  // namespace fairlead::lab
