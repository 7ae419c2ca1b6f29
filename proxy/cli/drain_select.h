// Which of the endpoints that drain are meant.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "fairlead/v1/inspect.pb.h"
#include "ipvs/types.h"

namespace fairlead {

// All of what is set has to fit.
struct DrainSelection {
  // An address of a virtual server or an endpoint, with its port unless that is 0.
  struct Place {
    IpAddress address;
    uint16_t port = 0;

    friend bool operator==(const Place&, const Place&) = default;
  };

  std::vector<std::string> services;  // "shop/cart".
  std::vector<Place> places;
  // Of the virtual server alone.
  std::optional<Place> virtual_server;
  std::optional<ipvs::Protocol> protocol;
  uint32_t firewall_mark = 0;

  bool empty() const {
    return services.empty() && places.empty() && !virtual_server.has_value() && firewall_mark == 0;
  }

  friend bool operator==(const DrainSelection&, const DrainSelection&) = default;
};

// Adds "shop/cart", "10.244.1.2", "10.244.1.2:8080" or "[fd00::1]:80". INVALID_ARGUMENT names the
// text.
absl::Status AddToSelection(absl::string_view text, DrainSelection& selection);

// "10.96.0.1:80" with any protocol, "10.96.0.1:80/tcp", "TCP 10.96.0.1:80", or "FWM 1174405121",
// also with the family that tables show. INVALID_ARGUMENT names the text.
absl::Status SelectVirtualServer(absl::string_view text, DrainSelection& selection);

bool IsSelected(const DrainSelection& selection, const v1::Drain& drain);

// "TCP 10.96.0.1:80", "FWM 7 IPv4".
std::string FormatVirtualServer(const v1::DrainKey& key);
// "10.244.1.2:8080".
std::string FormatEndpoint(const v1::DrainKey& key);
// "shop/cart:http"; empty where no Service has it.
std::string FormatDrainService(const v1::Drain& drain);

}  // namespace fairlead
