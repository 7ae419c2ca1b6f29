// Which virtual servers are meant: by the Service's name, by an address, by a mark.
#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "fairlead/v1/inspect.pb.h"
#include "google/protobuf/repeated_field.h"

namespace fairlead {

// Understands what tables print and people write:
//   a Service           shop/cart, shop/cart:http (one port), shop/ (all of a namespace)
//   an address          10.96.0.10, fd00::1, 10.96.0.10:80, [fd00::1]:80, 10.96.0.10:80/udp
//   a virtual server    "TCP 10.96.0.10:80", FWM:7, "FWM 7", "FWM 7 IPv6"
// INVALID_ARGUMENT names the text, and says what is understood.
absl::StatusOr<v1::Selector> ParseSelector(absl::string_view text);

// "tcp", "udp" or "sctp", in any case. INVALID_ARGUMENT names the text.
absl::StatusOr<v1::Protocol> ParseSelectedProtocol(absl::string_view text);

using SelectorGroups = google::protobuf::RepeatedPtrField<v1::SelectorGroup>;

// INVALID_ARGUMENT where an address has not 4 or 16 bytes, or a port stands without one.
absl::Status ValidateSelectors(const SelectorGroups& groups);

// Whether some address decides: then a virtual server's real servers are needed to know whether it
// fits.
bool SelectByAddress(const SelectorGroups& groups);

// Of selectors that are valid.
bool Fits(const v1::Selector& selector, const v1::VirtualServer& server);
// One selector of each group does.
bool IsSelected(const SelectorGroups& groups, const v1::VirtualServer& server);

}  // namespace fairlead
