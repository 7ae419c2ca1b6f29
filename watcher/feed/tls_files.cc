#include "watcher/feed/tls_files.h"

#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace fairlead {
namespace {

template <typename T, void (*Free)(T*)>
struct Deleter {
  void operator()(T* object) const { Free(object); }
};
using BioPtr = std::unique_ptr<BIO, Deleter<BIO, BIO_free_all>>;
using CertificatePtr = std::unique_ptr<X509, Deleter<X509, X509_free>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, Deleter<EVP_PKEY, EVP_PKEY_free>>;
using ContextPtr = std::unique_ptr<SSL_CTX, Deleter<SSL_CTX, SSL_CTX_free>>;

// A file and what it is for: "the certificate /etc/fairlead/tls.crt".
struct NamedFile {
  absl::string_view role;
  const std::string& path;

  absl::Status Fails(int error, absl::string_view what) const {
    return absl::ErrnoToStatus(error, absl::StrCat("the ", role, " ", path, ": ", what));
  }
  absl::Status Unusable(absl::string_view what) const {
    return absl::InvalidArgumentError(absl::StrCat("the ", role, " ", path, ": ", what));
  }
};

absl::StatusOr<std::string> Read(const NamedFile& file) {
  const int descriptor = open(file.path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return file.Fails(errno, "cannot be opened");
  const absl::Cleanup closing = [&] { close(descriptor); };
  std::string contents;
  char buffer[16 << 10];
  while (true) {
    const ssize_t length = read(descriptor, buffer, sizeof(buffer));
    if (length < 0 && errno == EINTR) continue;
    if (length < 0) return file.Fails(errno, "cannot be read");
    if (length == 0) return contents;
    contents.append(buffer, static_cast<size_t>(length));
    if (contents.size() > kMaxTlsFileBytes) return file.Unusable("is larger than 1 MiB");
  }
}

// Why OpenSSL refused, and a clean slate for what it does next.
std::string TakeReason() {
  const unsigned long error = ERR_peek_last_error();
  ERR_clear_error();
  const char* reason = ERR_reason_error_string(error);
  return reason == nullptr ? "unknown reason" : reason;
}

BioPtr Open(const std::string& contents) {
  return BioPtr(BIO_new_mem_buf(contents.data(), static_cast<int>(contents.size())));
}

// All certificates of a file, at least one; other PEM blocks are passed over.
absl::StatusOr<std::vector<CertificatePtr>> ParseCertificates(const NamedFile& file,
                                                              const std::string& contents) {
  std::vector<CertificatePtr> certificates;
  const BioPtr bio = Open(contents);
  while (true) {
    CertificatePtr certificate(PEM_read_bio_X509_AUX(bio.get(), nullptr, nullptr, nullptr));
    if (certificate) {
      certificates.push_back(std::move(certificate));
      continue;
    }
    const bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    const std::string reason = TakeReason();
    if (!at_end) {
      return file.Unusable(absl::StrCat("certificate ", certificates.size() + 1,
                                        " of the file cannot be parsed: ", reason));
    }
    if (certificates.empty()) return file.Unusable("holds no certificate in PEM form");
    return certificates;
  }
}

absl::StatusOr<KeyPtr> ParseKey(const NamedFile& file, const std::string& contents) {
  const BioPtr bio = Open(contents);
  // Without this, OpenSSL would ask for a passphrase on the terminal.
  pem_password_cb* const no_passphrase = [](char*, int, int, void*) { return -1; };
  KeyPtr key(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_passphrase, nullptr));
  if (!key) {
    return file.Unusable(
        absl::StrCat("holds no private key in PEM form without a passphrase: ", TakeReason()));
  }
  return key;
}

// What gRPC will do with them later, when there is nobody to tell.
absl::Status CheckIdentity(const NamedFile& certificate_file, const NamedFile& key_file,
                           const std::vector<CertificatePtr>& certificates, const KeyPtr& key) {
  if (X509_check_private_key(certificates.front().get(), key.get()) != 1) {
    ERR_clear_error();
    return key_file.Unusable(
        absl::StrCat("is not the key of the certificate ", certificate_file.path));
  }
  const ContextPtr context(SSL_CTX_new(TLS_method()));
  if (SSL_CTX_use_certificate(context.get(), certificates.front().get()) != 1) {
    return certificate_file.Unusable(absl::StrCat("is not fit for TLS: ", TakeReason()));
  }
  if (SSL_CTX_use_PrivateKey(context.get(), key.get()) != 1) {
    return key_file.Unusable(absl::StrCat("is not fit for TLS: ", TakeReason()));
  }
  for (size_t i = 1; i < certificates.size(); ++i) {
    if (SSL_CTX_add1_chain_cert(context.get(), certificates[i].get()) != 1) {
      return certificate_file.Unusable(
          absl::StrCat("certificate ", i + 1, " of the file is not fit for TLS: ", TakeReason()));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<TlsMaterial> ReadOnce(const TlsFiles& files) {
  const NamedFile certificate_file{"certificate", files.certificate};
  const NamedFile key_file{"private key", files.key};
  const NamedFile authorities_file{"CA file", files.authorities};
  absl::StatusOr<std::string> certificate = Read(certificate_file);
  if (!certificate.ok()) return certificate.status();
  absl::StatusOr<std::string> key = Read(key_file);
  if (!key.ok()) return key.status();
  absl::StatusOr<std::string> authorities = Read(authorities_file);
  if (!authorities.ok()) return authorities.status();

  const auto certificates = ParseCertificates(certificate_file, *certificate);
  if (!certificates.ok()) return certificates.status();
  const absl::StatusOr<KeyPtr> parsed_key = ParseKey(key_file, *key);
  if (!parsed_key.ok()) return parsed_key.status();
  if (absl::Status status = CheckIdentity(certificate_file, key_file, *certificates, *parsed_key);
      !status.ok()) {
    return status;
  }
  const auto trusted = ParseCertificates(authorities_file, *authorities);
  if (!trusted.ok()) return trusted.status();
  return TlsMaterial{absl::StrCat(*certificate, "\n", *key), *std::move(authorities)};
}

}  // namespace

absl::StatusOr<TlsMaterial> ReadTlsFiles(const TlsFiles& files) {
  absl::StatusOr<TlsMaterial> material = ReadOnce(files);
  // The files may have been replaced between the first and the last one.
  if (!material.ok()) material = ReadOnce(files);
  return material;
}

absl::StatusOr<std::unique_ptr<FollowedTlsFiles>> FollowedTlsFiles::Open(const TlsFiles& files) {
  std::unique_ptr<FollowedTlsFiles> followed(new FollowedTlsFiles(files));
  const absl::StatusOr<bool> read = followed->Refresh();
  if (!read.ok()) return read.status();
  return followed;
}

absl::StatusOr<bool> FollowedTlsFiles::Refresh() {
  absl::StatusOr<TlsMaterial> material = ReadTlsFiles(files_);
  if (!material.ok()) return material.status();
  if (*material == material_) return false;
  // New authorities first, so that a peer with a new certificate is not refused in between.
  if (absl::Status status = Publish(material->authorities, authorities_); !status.ok()) {
    return status;
  }
  if (absl::Status status = Publish(material->identity, identity_); !status.ok()) return status;
  material_ = *std::move(material);
  return true;
}

// The descriptor is never closed: gRPC looks at the path until its last connection is gone, and
// would find another file under the number if it were used again.
absl::Status FollowedTlsFiles::Publish(const std::string& contents, Copy& copy) {
  const int descriptor = memfd_create("fairlead-tls", MFD_CLOEXEC);
  if (descriptor < 0) return absl::ErrnoToStatus(errno, "memfd_create for certificates");
  absl::Cleanup closing = [&] { close(descriptor); };
  size_t written = 0;
  while (written < contents.size()) {
    const ssize_t length = write(descriptor, contents.data() + written, contents.size() - written);
    if (length < 0 && errno == EINTR) continue;
    if (length < 0) return absl::ErrnoToStatus(errno, "write of certificates to memory");
    written += static_cast<size_t>(length);
  }
  // By this time, in seconds, gRPC sees whether a file was replaced while it read it twice, for the
  // certificate and for the key: so each version has its own.
  const timespec time{.tv_sec = ++copy.versions, .tv_nsec = 0};
  const timespec times[] = {time, time};
  if (futimens(descriptor, times) != 0) {
    return absl::ErrnoToStatus(errno, "futimens of certificates in memory");
  }
  if (copy.descriptor < 0) {
    copy.descriptor = descriptor;
    copy.path = absl::StrCat("/proc/self/fd/", descriptor);
    std::move(closing).Cancel();
    return absl::OkStatus();
  }
  if (dup3(descriptor, copy.descriptor, O_CLOEXEC) < 0) {
    return absl::ErrnoToStatus(errno, "dup3 for certificates");
  }
  return absl::OkStatus();
}

}  // namespace fairlead
