#include "proxy/cli/select_flags.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "proxy/cli/command.h"

namespace fairlead {
namespace {

absl::StatusOr<v1::Selector> ParseNamespace(absl::string_view text) {
  absl::StatusOr<v1::Selector> selector = ParseSelector(absl::StrCat(text, "/"));
  if (selector.ok()) return selector;
  return absl::InvalidArgumentError(absl::StrCat("\"", text, "\" is no namespace such as shop"));
}

// Also the Service's name alone, in any namespace.
absl::StatusOr<v1::Selector> ParseServiceFlag(absl::string_view text) {
  absl::StatusOr<v1::Selector> selector = ParseSelector(text);
  if (selector.ok()) return selector;
  constexpr char kAnyNamespace[] = "any/";
  absl::StatusOr<v1::Selector> name = ParseSelector(absl::StrCat(kAnyNamespace, text));
  if (!name.ok() || name->service_name().empty()) return selector;
  name->clear_service_namespace();
  return name;
}

absl::StatusOr<v1::Selector> ParseProtocolFlag(absl::string_view text) {
  const absl::StatusOr<v1::Protocol> protocol = ParseSelectedProtocol(text);
  if (!protocol.ok()) return protocol.status();
  v1::Selector selector;
  selector.set_protocol(*protocol);
  return selector;
}

}  // namespace

void AddSelectFlags(CLI::App& command, SelectFlags& flags) {
  command.add_option("selector", flags.selectors,
                     "Only these: a Service (shop/cart, shop/cart:http, shop/ for its namespace), "
                     "an address of a virtual server or an endpoint (10.96.0.10, 10.96.0.10:80, "
                     "[fd00::1]:80), a mark (FWM:7)");
  const auto add = [&](const char* names, std::vector<std::string>& values, const char* what) {
    // One value each, so that a selector may follow.
    command.add_option(names, values, what)->allow_extra_args(false);
  };
  add("-n,--namespace", flags.namespaces, "Only those of Services in the namespace");
  add("--service", flags.services,
      "Only those of the Service: shop/cart, cart in any namespace, or its address");
  add("--address", flags.addresses,
      "Only those with the address, with or without a port, or of the Service");
  add("--protocol", flags.protocols, "Only those with the protocol: tcp, udp or sctp");
}

absl::StatusOr<Selection> Selection::Make(const SelectFlags& flags) {
  Selection selection;
  absl::Status status = selection.Add(flags.selectors, "", ParseSelector);
  status.Update(selection.Add(flags.namespaces, "--namespace", ParseNamespace));
  status.Update(selection.Add(flags.services, "--service", ParseServiceFlag));
  status.Update(selection.Add(flags.addresses, "--address", ParseSelector));
  status.Update(selection.Add(flags.protocols, "--protocol", ParseProtocolFlag));
  if (!status.ok()) return status;
  return selection;
}

absl::Status Selection::Add(const std::vector<std::string>& texts, absl::string_view flag,
                            absl::StatusOr<v1::Selector> (*parse)(absl::string_view)) {
  if (texts.empty()) return absl::OkStatus();
  v1::SelectorGroup* group = groups_.Add();
  std::vector<std::string>& words = words_.emplace_back();
  for (const std::string& text : texts) {
    const absl::StatusOr<v1::Selector> selector = parse(text);
    if (!selector.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat(flag, flag.empty() ? "" : ": ", selector.status().message()));
    }
    *group->add_any_of() = *selector;
    words.push_back(absl::StrCat(flag, flag.empty() ? "" : " ", text));
  }
  return absl::OkStatus();
}

std::vector<std::vector<bool>> Selection::FindIn(
    const std::vector<v1::VirtualServer>& servers) const {
  std::vector<std::vector<bool>> found;
  for (const v1::SelectorGroup& group : groups_) {
    std::vector<bool>& one = found.emplace_back();
    for (const v1::Selector& selector : group.any_of()) {
      one.push_back(
          std::any_of(servers.begin(), servers.end(),
                      [&](const v1::VirtualServer& server) { return Fits(selector, server); }));
    }
  }
  return found;
}

std::vector<std::string> Selection::Complain(const std::vector<std::vector<bool>>& found) const {
  std::vector<std::string> complaints;
  bool any = false;
  for (size_t i = 0; i < words_.size(); ++i) {
    for (size_t j = 0; j < words_[i].size(); ++j) {
      any = any || found[i][j];
      if (!found[i][j]) complaints.push_back(absl::StrCat("nothing fits ", words_[i][j]));
    }
  }
  if (any || complaints.empty()) return complaints;
  return {absl::StrCat(
      "nothing fits ",
      absl::StrJoin(words_, " and ", [](std::string* out, const std::vector<std::string>& words) {
        absl::StrAppend(out, absl::StrJoin(words, " or "));
      }))};
}

int FailUsage(const char* command, const absl::Status& status) {
  std::fprintf(stderr, "fairlead %s: %s\n", command, std::string(status.message()).c_str());
  return kExitUsage;
}

int TellComplaints(const char* command, const std::vector<std::string>& complaints) {
  for (const std::string& complaint : complaints) {
    std::fprintf(stderr, "fairlead %s: %s\n", command, complaint.c_str());
  }
  return complaints.empty() ? kExitOk : kExitFailure;
}

}  // namespace fairlead
