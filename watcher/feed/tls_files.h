// Certificate, key and authorities of one end of the feed, as files that may be replaced.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace fairlead {

// Largest certificate, key or bundle of authorities that is read.
inline constexpr size_t kMaxTlsFileBytes = 1 << 20;

// Paths of PEM files.
struct TlsFiles {
  // The own certificate, followed by intermediate ones if there are any.
  std::string certificate;
  // Its private key, without a passphrase.
  std::string key;
  // The authorities whose certificates are accepted from the other end.
  std::string authorities;
};

// Contents that belong together: a TLS library takes them.
struct TlsMaterial {
  // Certificates, then the key.
  std::string identity;
  std::string authorities;

  friend bool operator==(const TlsMaterial&, const TlsMaterial&) = default;
};

// Errors name what the file is for, and its path: that of open(2), or INVALID_ARGUMENT for contents
// that are not usable, a key of another certificate included. A certificate that has expired is
// read: whether to accept it is the other end's decision.
absl::StatusOr<TlsMaterial> ReadTlsFiles(const TlsFiles& files);

// The newest usable contents of the files, under paths where a reader never finds a part of a
// replacement, nor a key of another certificate. Both paths lead to memory of this process, and are
// good for as long as it runs. Confined to one thread, but for the paths.
class FollowedTlsFiles {
 public:
  // Fails as ReadTlsFiles does.
  static absl::StatusOr<std::unique_ptr<FollowedTlsFiles>> Open(const TlsFiles& files);
  FollowedTlsFiles(const FollowedTlsFiles&) = delete;
  FollowedTlsFiles& operator=(const FollowedTlsFiles&) = delete;

  // Reads the files again: whether they hold something else than before. After an error, what was
  // there stays.
  absl::StatusOr<bool> Refresh();

  // Certificates and key in one file.
  const std::string& identity_path() const { return identity_.path; }
  const std::string& authorities_path() const { return authorities_.path; }

 private:
  // A file in memory that is replaced as a whole.
  struct Copy {
    int descriptor = -1;
    std::string path;
    int versions = 0;
  };

  explicit FollowedTlsFiles(TlsFiles files) : files_(std::move(files)) {}
  static absl::Status Publish(const std::string& contents, Copy& copy);

  const TlsFiles files_;
  TlsMaterial material_;
  Copy identity_;
  Copy authorities_;
};

}  // namespace fairlead
