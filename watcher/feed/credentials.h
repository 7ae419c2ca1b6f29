// Transport security of the feed: TLS in which both ends show a certificate.
#pragma once

#include <grpcpp/security/auth_context.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/security/server_credentials.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "watcher/feed/tls_files.h"

namespace fairlead {

// How often certificate files are read again. A Secret's files change within a minute of the
// Secret, so this adds little.
inline constexpr absl::Duration kTlsReloadInterval = absl::Seconds(5);

struct TlsReload {
  // Whole seconds, at least one.
  absl::Duration interval = kTlsReloadInterval;
  // OK: replaced files are in use, for new connections. Otherwise: they are not usable, and what
  // was there before stays in use; told once, until the error is another one. On a thread of the
  // credentials; must not block.
  std::function<void(const absl::Status&)> on_change = [](const absl::Status&) {};
};

// TLS 1.2 or 1.3. The files are read at once, and errors are those of ReadTlsFiles; afterwards they
// are followed. A bad replacement is logged. A good one is used for connections that are made two
// intervals later; those that are open go on.
//
// Keep the result as long as the server or channel: gRPC does not, and with it the following ends.

// Refuses clients that have no certificate of the authorities. What may call itself which node is
// not decided here, but by MayBeNode.
absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeServerCredentials(
    const TlsFiles& files, TlsReload reload = TlsReload());

// Refuses servers whose certificate is not of the authorities, or not for the host name of the
// channel's address (ChannelArguments::SetSslTargetNameOverride names another).
absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakeChannelCredentials(
    const TlsFiles& files, TlsReload reload = TlsReload());

// Names in a peer's certificate.
struct PeerNames {
  std::string common_name;
  // DNS names among the subject's alternative names.
  std::vector<std::string> dns_names;

  friend bool operator==(const PeerNames&, const PeerNames&) = default;
};

// Nothing for a peer without a certificate. To be had from the context of any call, on the server
// also of one with the callback API (CallbackServerContext::auth_context).
PeerNames NamesOf(const grpc::AuthContext& context);

// Whether a certificate with these names entitles its holder to speak for the node: as a DNS name
// or common name equal to the node's, or as the kubelet's common name, "system:node:" and the
// node's. Wildcards match nothing.
bool MayBeNode(const PeerNames& names, absl::string_view node);

}  // namespace fairlead
