#include "test/watcher/feed/certificates.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"

namespace fairlead::feed_test {
namespace {

template <typename T, void (*Free)(T*)>
struct Deleter {
  void operator()(T* object) const { Free(object); }
};
using CertificatePtr = std::unique_ptr<X509, Deleter<X509, X509_free>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, Deleter<EVP_PKEY, EVP_PKEY_free>>;
using BioPtr = std::unique_ptr<BIO, Deleter<BIO, BIO_free_all>>;

std::string Contents(const BioPtr& bio) {
  char* data = nullptr;
  const long length = BIO_get_mem_data(bio.get(), &data);
  return std::string(data, static_cast<size_t>(length));
}

std::string ToPem(X509* certificate) {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  REQUIRE(PEM_write_bio_X509(bio.get(), certificate) == 1);
  return Contents(bio);
}

std::string ToPem(EVP_PKEY* key) {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  REQUIRE(PEM_write_bio_PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr) == 1);
  return Contents(bio);
}

void AddExtension(X509* certificate, int kind, const std::string& value) {
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, kind, value.c_str());
  REQUIRE(extension != nullptr);
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

// With everything but its issuer and signature.
CertificatePtr MakeUnsigned(const std::string& name, EVP_PKEY* key, absl::Time expires) {
  static std::atomic<int> serial = 0;
  CertificatePtr certificate(X509_new());
  X509_set_version(certificate.get(), X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), ++serial);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -3600);
  const absl::Duration validity =
      expires == absl::InfiniteFuture() ? absl::Hours(24) : expires - absl::Now();
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), absl::ToInt64Seconds(validity));
  X509_set_pubkey(certificate.get(), key);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate.get()), "CN", MBSTRING_UTF8,
                             reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
  return certificate;
}

}  // namespace

struct Authority::Impl {
  KeyPtr key;
  CertificatePtr certificate;
};

Authority::Authority(const std::string& name) : impl_(std::make_unique<Impl>()) {
  impl_->key.reset(EVP_EC_gen("P-256"));
  impl_->certificate = MakeUnsigned(name, impl_->key.get(), absl::InfiniteFuture());
  X509* const certificate = impl_->certificate.get();
  X509_set_issuer_name(certificate, X509_get_subject_name(certificate));
  AddExtension(certificate, NID_basic_constraints, "critical,CA:TRUE");
  REQUIRE(X509_sign(certificate, impl_->key.get(), EVP_sha256()) > 0);
  certificate_ = ToPem(certificate);
}

Authority::~Authority() = default;

KeyPair Authority::Issue(const CertificateRequest& request) const {
  const KeyPtr key(EVP_EC_gen("P-256"));
  const CertificatePtr certificate = MakeUnsigned(request.common_name, key.get(), request.expires);
  X509_set_issuer_name(certificate.get(), X509_get_subject_name(impl_->certificate.get()));
  if (!request.dns_names.empty()) {
    AddExtension(certificate.get(), NID_subject_alt_name,
                 absl::StrCat("DNS:", absl::StrJoin(request.dns_names, ",DNS:")));
  }
  REQUIRE(X509_sign(certificate.get(), impl_->key.get(), EVP_sha256()) > 0);
  return {ToPem(certificate.get()), ToPem(key.get())};
}

MountedSecret::MountedSecret(const KeyPair& pair, const std::string& authorities) {
  Replace(pair, authorities);
  for (const char* name : {"tls.crt", "tls.key", "ca.crt"}) {
    std::filesystem::create_symlink(absl::StrCat("..data/", name),
                                    absl::StrCat(folder_.path(), "/", name));
  }
}

void MountedSecret::Replace(const KeyPair& pair, const std::string& authorities) {
  const std::string version = absl::StrCat("..version", ++versions_);
  const std::string folder = absl::StrCat(folder_.path(), "/", version);
  std::filesystem::create_directory(folder);
  WriteFile(folder + "/tls.crt", pair.certificate);
  WriteFile(folder + "/tls.key", pair.key);
  WriteFile(folder + "/ca.crt", authorities);
  std::filesystem::create_symlink(version, folder_.path() + "/..data_tmp");
  std::filesystem::rename(folder_.path() + "/..data_tmp", folder_.path() + "/..data");
}

TlsFiles MountedSecret::files() const {
  return {.certificate = folder_.path() + "/tls.crt",
          .key = folder_.path() + "/tls.key",
          .authorities = folder_.path() + "/ca.crt"};
}

}  // namespace fairlead::feed_test
