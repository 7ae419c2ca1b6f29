#include "test/lab/watcher.h"

#include "absl/strings/str_cat.h"

namespace fairlead::lab {
namespace {

std::string SocketOf(const WatcherOptions& options) {
  return absl::StrCat(options.folder, "/", options.name, ".sock");
}

}  // namespace

absl::StatusOr<std::unique_ptr<Watcher>> Watcher::Start(const NetNamespace& net,
                                                        const WatcherOptions& options) {
  std::vector<std::string> words = {options.program,
                                    "watcher",
                                    "--socket",
                                    SocketOf(options),
                                    "--listen",
                                    absl::StrCat("[::]:", options.port),
                                    "--healthz-bind-address",
                                    absl::StrCat("[::]:", options.port + 1),
                                    "--metrics-bind-address",
                                    absl::StrCat("127.0.0.1:", options.port + 2)};
  for (const std::string& path : options.manifests) {
    words.insert(words.end(), {"--manifests", path});
  }
  words.insert(words.end(), options.flags.begin(), options.flags.end());
  absl::StatusOr<std::unique_ptr<Process>> process =
      Process::Start({.words = words,
                      .net = &net,
                      .log_path = absl::StrCat(options.folder, "/", options.name, ".log")});
  if (!process.ok()) return process.status();
  return std::unique_ptr<Watcher>(new Watcher(net, options, *std::move(process)));
}

absl::StatusOr<std::string> Watcher::NodesText() const {
  return Shell(net_, {options_.program, "watcher", "nodes", "--socket", SocketOf(options_)});
}

absl::StatusOr<nlohmann::json> Watcher::Nodes() const {
  absl::StatusOr<std::string> text = Shell(
      net_, {options_.program, "watcher", "nodes", "-o", "json", "--socket", SocketOf(options_)});
  if (!text.ok()) return text.status();
  nlohmann::json nodes = nlohmann::json::parse(*text, nullptr, /*allow_exceptions=*/false);
  if (nodes.is_discarded()) return absl::DataLossError(absl::StrCat("no JSON: ", *text));
  return nodes;
}

}  // namespace fairlead::lab
