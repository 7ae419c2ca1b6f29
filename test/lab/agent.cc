#include "test/lab/agent.h"

#include "absl/strings/str_cat.h"

namespace fairlead::lab {
namespace {

std::string SocketOf(const Node& node, const AgentOptions& options) {
  return absl::StrCat(options.folder, "/", node.name, ".sock");
}

std::vector<std::string> FlagsOfNode(const Node& node, const AgentOptions& options) {
  std::vector<std::string> flags = {"--node-name", node.name,
                                    "--node-ip",   node.ipv4,
                                    "--state-dir", absl::StrCat(options.folder, "/", node.name)};
  if (!node.ipv6.empty()) flags.insert(flags.end(), {"--node-ip", node.ipv6});
  if (options.default_flags) {
    flags.insert(flags.end(),
                 {"--cluster-cidr", "10.244.0.0/16", "--nodeport-addresses", "primary"});
    if (!node.ipv6.empty()) flags.insert(flags.end(), {"--cluster-cidr", "fd44::/16"});
  }
  return flags;
}

std::vector<std::string> FedFlags(const Node& node, const AgentOptions& options) {
  std::vector<std::string> flags = FlagsOfNode(node, options);
  for (const std::string& address : options.watchers) {
    flags.insert(flags.end(), {"--watcher", address});
  }
  for (const auto* more : {&options.transport_flags, &options.flags}) {
    flags.insert(flags.end(), more->begin(), more->end());
  }
  return flags;
}

}  // namespace

std::vector<std::string> Agent::NodeFlags(const Node& node, const AgentOptions& options) {
  std::vector<std::string> flags = FlagsOfNode(node, options);
  for (const std::string& path : options.manifests) {
    flags.insert(flags.end(), {"--manifests", path});
  }
  flags.insert(flags.end(), options.flags.begin(), options.flags.end());
  return flags;
}

absl::StatusOr<std::unique_ptr<Agent>> Agent::Start(const Node& node, const AgentOptions& options) {
  std::vector<std::string> words = {options.program, "proxy", "--socket", SocketOf(node, options)};
  const std::vector<std::string> flags =
      options.watchers.empty() ? NodeFlags(node, options) : FedFlags(node, options);
  words.insert(words.end(), flags.begin(), flags.end());
  absl::StatusOr<std::unique_ptr<Process>> process =
      Process::Start({.words = words,
                      .net = node.net.get(),
                      .log_path = absl::StrCat(options.folder, "/", node.name, ".log")});
  if (!process.ok()) return process.status();
  return std::unique_ptr<Agent>(new Agent(node, options, std::move(*process)));
}

absl::StatusOr<std::string> Agent::ListText() const {
  return Shell(*node_.net, {options_.program, "list", "--socket", SocketOf(node_, options_)});
}

absl::StatusOr<std::string> Agent::ListMessages() const {
  return Shell(*node_.net, {"bash", "-c", "\"$@\" 2>&1 >/dev/null", "bash", options_.program,
                            "list", "--socket", SocketOf(node_, options_)});
}

absl::StatusOr<nlohmann::json> Agent::List() const {
  absl::StatusOr<std::string> text = Shell(
      *node_.net, {options_.program, "list", "-o", "json", "--socket", SocketOf(node_, options_)});
  if (!text.ok()) return text.status();
  nlohmann::json list = nlohmann::json::parse(*text, nullptr, /*allow_exceptions=*/false);
  if (list.is_discarded()) return absl::DataLossError(absl::StrCat("no JSON: ", *text));
  return list;
}

absl::StatusOr<nlohmann::json> Agent::ListUntil(
    const std::function<bool(const nlohmann::json&)>& satisfies) const {
  absl::StatusOr<nlohmann::json> last = absl::UnknownError("not asked");
  const bool satisfied = WaitUntil(kPatience, [&] {
    last = List();
    return last.ok() && last->at("complete") && satisfies(*last);
  });
  if (satisfied) return last;
  return absl::DeadlineExceededError(absl::StrCat(
      "the agent on ", node_.name, " did not get there; last: ",
      last.ok() ? last->dump(1) : last.status().ToString(), "\nlog: ", process_->Log()));
}

nlohmann::json FindServer(const nlohmann::json& list, const std::string& service,
                          const std::string& kind, bool ipv6) {
  for (const nlohmann::json& server : list.at("virtualServers")) {
    if (server.at("address").is_null()) continue;  // It has a firewall mark instead.
    const bool is_ipv6 = server.at("address").get<std::string>().find(':') != std::string::npos;
    if (server.at("service") == service && server.at("kind") == kind && is_ipv6 == ipv6) {
      return server;
    }
  }
  return nullptr;
}

}  // namespace fairlead::lab
