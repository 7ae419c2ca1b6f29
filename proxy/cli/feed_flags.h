// The flags of the feed's transport.
#pragma once

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "watcher/feed/tls_files.h"

namespace fairlead {

// As given on the command line.
struct TransportFlags {
  std::string certificate;
  std::string key;
  std::string authorities;
  bool plaintext = false;
};

// `authorities_flag` is what the role calls it. nullopt: plain text, which has to be asked for.
// INVALID_ARGUMENT names the flags.
absl::StatusOr<std::optional<TlsFiles>> ParseTransport(const TransportFlags& flags,
                                                       const std::string& authorities_flag);

}  // namespace fairlead
