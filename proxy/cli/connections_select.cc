#include "proxy/cli/connections_select.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace fairlead {
namespace {

bool IsPlace(const v1::Selector& selector, const AddressPort& place) {
  return selector.address() == place.address.bytes() &&
         (selector.port() == 0 || selector.port() == place.port);
}

bool Fits(const v1::Selector& selector, const BalancedConnection& connection,
          const ConnectionNames& names) {
  const auto fits = [](const std::string& wanted, const std::string& found) {
    return wanted.empty() || wanted == found;
  };
  return fits(selector.service_namespace(), names.service_namespace) &&
         fits(selector.service_name(), names.service_name) &&
         fits(selector.port_name(), names.port_name) &&
         (selector.protocol() == v1::PROTOCOL_UNSPECIFIED ||
          v1::Protocol_Name(selector.protocol()) == connection.protocol) &&
         (selector.address().empty() || IsPlace(selector, connection.virtual_server) ||
          IsPlace(selector, connection.real_server));
}

}  // namespace

absl::StatusOr<ConnectionSelection> ConnectionSelection::Make(const SelectFlags& flags,
                                                              const ClientFlags& client) {
  absl::StatusOr<Selection> selection = Selection::Make(flags);
  if (!selection.ok()) return selection.status();
  ConnectionSelection result(*std::move(selection));
  for (const v1::SelectorGroup& group : result.selection_.groups()) {
    result.found_.emplace_back(static_cast<size_t>(group.any_of_size()), false);
    for (const v1::Selector& selector : group.any_of()) {
      if (selector.firewall_mark() != 0) {
        return absl::InvalidArgumentError(
            "a connection does not tell its mark: name the Service, or an address");
      }
    }
  }
  for (const std::string& text : client.clients) {
    const absl::StatusOr<v1::Selector> selector = ParseSelector(text);
    if (!selector.ok() || selector->address().empty() ||
        selector->protocol() != v1::PROTOCOL_UNSPECIFIED) {
      return absl::InvalidArgumentError(
          absl::StrCat("--client: \"", text,
                       "\" is no address such as 10.244.1.2, 10.244.1.2:40000 or fd00::1"));
    }
    result.clients_.push_back({IpAddress::FromBytes(selector->address()).value(),
                               static_cast<uint16_t>(selector->port())});
  }
  for (const std::string& text : client.states) {
    result.states_.push_back(absl::AsciiStrToUpper(text));
  }
  return result;
}

bool ConnectionSelection::NeedsNames() const {
  return std::any_of(
      selection_.groups().begin(), selection_.groups().end(), [](const v1::SelectorGroup& group) {
        return std::any_of(
            group.any_of().begin(), group.any_of().end(), [](const v1::Selector& selector) {
              return !selector.service_namespace().empty() || !selector.service_name().empty();
            });
      });
}

bool ConnectionSelection::Takes(const BalancedConnection& connection,
                                const ConnectionNames& names) {
  if (!states_.empty() &&
      std::find(states_.begin(), states_.end(), connection.state) == states_.end()) {
    return false;
  }
  if (!clients_.empty() &&
      std::none_of(clients_.begin(), clients_.end(), [&](const Client& client) {
        return client.address == connection.client.address &&
               (client.port == 0 || client.port == connection.client.port);
      })) {
    return false;
  }
  bool takes = true;
  for (int i = 0; i < selection_.groups().size(); ++i) {
    bool any = false;
    for (int j = 0; j < selection_.groups()[i].any_of_size(); ++j) {
      const bool fits = Fits(selection_.groups()[i].any_of(j), connection, names);
      if (fits) found_[static_cast<size_t>(i)][static_cast<size_t>(j)] = true;
      any = any || fits;
    }
    takes = takes && any;
  }
  return takes;
}

std::vector<std::string> ConnectionSelection::Complain(
    const std::vector<v1::VirtualServer>& servers) const {
  std::vector<std::vector<bool>> found = selection_.FindIn(servers);
  for (size_t i = 0; i < found.size(); ++i) {
    for (size_t j = 0; j < found[i].size(); ++j) found[i][j] = found[i][j] || found_[i][j];
  }
  return selection_.Complain(found);
}

}  // namespace fairlead
