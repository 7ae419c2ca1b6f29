#include "proxy/cli/feed_flags.h"

#include "absl/strings/str_cat.h"

namespace fairlead {

absl::StatusOr<std::optional<TlsFiles>> ParseTransport(const TransportFlags& flags,
                                                       const std::string& authorities_flag) {
  const bool any = !flags.certificate.empty() || !flags.key.empty() || !flags.authorities.empty();
  if (flags.plaintext) {
    if (!any) return std::nullopt;
    return absl::InvalidArgumentError(
        "--insecure-plaintext: excludes certificates: give one or the other");
  }
  if (flags.certificate.empty() || flags.key.empty() || flags.authorities.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--tls-cert-file, --tls-key-file and ", authorities_flag,
                     " are needed for the feed; --insecure-plaintext does without, and trusts "
                     "everybody on the network"));
  }
  return TlsFiles{
      .certificate = flags.certificate, .key = flags.key, .authorities = flags.authorities};
}

}  // namespace fairlead
