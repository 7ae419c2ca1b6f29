#include "watcher/feed/credentials.h"

#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>
#include <openssl/ssl.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "watcher/log_object.h"

namespace fairlead {
namespace {

std::string ToString(grpc::string_ref text) { return std::string(text.data(), text.size()); }

// Refreshes the files until it is destroyed. gRPC reads what they publish in its own time.
class TlsFollower {
 public:
  TlsFollower(std::unique_ptr<FollowedTlsFiles> files, std::string certificate, TlsReload reload)
      : files_(std::move(files)),
        certificate_(std::move(certificate)),
        reload_(std::move(reload)),
        thread_([this] { Run(); }) {}
  ~TlsFollower() {
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    stop_.notify_all();
    thread_.join();
  }
  TlsFollower(const TlsFollower&) = delete;
  TlsFollower& operator=(const TlsFollower&) = delete;

 private:
  void Run() {
    while (!StoppedWithin(absl::ToChronoNanoseconds(reload_.interval))) Look();
  }

  bool StoppedWithin(std::chrono::nanoseconds time) {
    std::unique_lock lock(mutex_);
    return stop_.wait_for(lock, time, [this] { return stopping_; });
  }

  void Look() {
    const absl::StatusOr<bool> changed = files_->Refresh();
    if (!changed.ok()) {
      if (changed.status() == last_error_) return;
      last_error_ = changed.status();
      spdlog::warn("TLS: {}; the certificate read before stays in use",
                   std::string(changed.status().message()));
      reload_.on_change(last_error_);
      return;
    }
    const bool failed = !std::exchange(last_error_, absl::OkStatus()).ok();
    if (!*changed && !failed) return;
    LogAbout(spdlog::level::info, FileObject(certificate_),
             absl::StrCat("TLS: the certificate ", certificate_, " was read again"));
    reload_.on_change(absl::OkStatus());
  }

  const std::unique_ptr<FollowedTlsFiles> files_;
  const std::string certificate_;
  const TlsReload reload_;
  // Of the last look; the thread's.
  absl::Status last_error_;
  std::mutex mutex_;
  std::condition_variable stop_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

// Credentials that gRPC made, and what keeps their certificates up to date.
template <typename Credentials>
struct Followed {
  std::shared_ptr<Credentials> credentials;
  std::unique_ptr<TlsFollower> follower;
};

// `make` is called with a provider of the certificates that are in the files.
template <typename Credentials, typename Make>
absl::StatusOr<std::shared_ptr<Credentials>> MakeFollowed(const TlsFiles& files, TlsReload reload,
                                                          const Make& make) {
  auto followed_files = FollowedTlsFiles::Open(files);
  if (!followed_files.ok()) return followed_files.status();
  // gRPC's own follower takes a key for that of any certificate, forgets what it had when a file is
  // missing, and does not say so: it gets copies that are good.
  const std::string& identity = (*followed_files)->identity_path();
  const auto seconds = static_cast<unsigned int>(
      std::max<int64_t>(1, absl::ToInt64Seconds(absl::Ceil(reload.interval, absl::Seconds(1)))));
  auto provider = std::make_shared<grpc::experimental::FileWatcherCertificateProvider>(
      identity, identity, (*followed_files)->authorities_path(), seconds);
  auto followed = std::make_shared<Followed<Credentials>>();
  followed->credentials = make(std::move(provider));
  followed->follower = std::make_unique<TlsFollower>(*std::move(followed_files), files.certificate,
                                                     std::move(reload));
  Credentials* const credentials = followed->credentials.get();
  return std::shared_ptr<Credentials>(std::move(followed), credentials);
}

// A connection of gRPC's holds about 170 KB of memory, of which this saves 33: buffers of OpenSSL's
// that are empty while nothing is under way. Session tickets are of no use to agents, who do not
// resume sessions. gRPC hands out neither its SSL objects nor a way to configure them, so each one
// of the process is met as it is made.
void KeepConnectionsSmall() {
  static const int index = SSL_get_ex_new_index(
      0, nullptr,
      [](void* ssl, void*, CRYPTO_EX_DATA*, int, long, void*) {
        SSL_set_mode(static_cast<SSL*>(ssl), SSL_MODE_RELEASE_BUFFERS);
        SSL_set_num_tickets(static_cast<SSL*>(ssl), 0);
      },
      nullptr, nullptr);
  if (index < 0) spdlog::warn("TLS: connections need more memory than they should");
}

using ProviderPtr = std::shared_ptr<grpc::experimental::FileWatcherCertificateProvider>;

}  // namespace

absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeServerCredentials(
    const TlsFiles& files, TlsReload reload) {
  KeepConnectionsSmall();
  return MakeFollowed<grpc::ServerCredentials>(files, std::move(reload), [](ProviderPtr provider) {
    grpc::experimental::TlsServerCredentialsOptions options(std::move(provider));
    options.watch_root_certs();
    options.watch_identity_key_cert_pairs();
    options.set_cert_request_type(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
    return grpc::experimental::TlsServerCredentials(options);
  });
}

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakeChannelCredentials(
    const TlsFiles& files, TlsReload reload) {
  return MakeFollowed<grpc::ChannelCredentials>(files, std::move(reload), [](ProviderPtr provider) {
    grpc::experimental::TlsChannelCredentialsOptions options;
    options.set_certificate_provider(std::move(provider));
    options.watch_root_certs();
    options.watch_identity_key_cert_pairs();
    return grpc::experimental::TlsCredentials(options);
  });
}

PeerNames NamesOf(const grpc::AuthContext& context) {
  PeerNames names;
  if (!context.IsPeerAuthenticated()) return names;
  const auto common_names = context.FindPropertyValues(GRPC_X509_CN_PROPERTY_NAME);
  if (!common_names.empty()) names.common_name = ToString(common_names.front());
  for (const grpc::string_ref& name : context.FindPropertyValues(GRPC_PEER_DNS_PROPERTY_NAME)) {
    names.dns_names.push_back(ToString(name));
  }
  return names;
}

bool MayBeNode(const PeerNames& names, absl::string_view node) {
  if (node.empty()) return false;
  if (names.common_name == node || names.common_name == absl::StrCat("system:node:", node)) {
    return true;
  }
  return std::find(names.dns_names.begin(), names.dns_names.end(), node) != names.dns_names.end();
}

}  // namespace fairlead
