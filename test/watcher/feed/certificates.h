// Certificates for tests, made on the spot.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "test/watcher/feed/temporary_folder.h"
#include "watcher/feed/tls_files.h"

namespace fairlead::feed_test {

// A certificate and its key in PEM form.
struct KeyPair {
  std::string certificate;
  std::string key;
};

struct CertificateRequest {
  std::string common_name;
  std::vector<std::string> dns_names;
  // Of its validity; it began an hour earlier than now.
  absl::Time expires = absl::InfiniteFuture();
};

// A self-signed authority with a key of its own.
class Authority {
 public:
  explicit Authority(const std::string& name);
  ~Authority();

  const std::string& certificate() const { return certificate_; }
  KeyPair Issue(const CertificateRequest& request) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
  std::string certificate_;
};

// Certificate, key and authorities as a Secret is mounted: links through "..data" to the folder of
// one version, which are all replaced at once.
class MountedSecret {
 public:
  MountedSecret(const KeyPair& pair, const std::string& authorities);

  void Replace(const KeyPair& pair, const std::string& authorities);
  TlsFiles files() const;

 private:
  TemporaryFolder folder_;
  int versions_ = 0;
};

}  // namespace fairlead::feed_test
