// `fairlead proxy` in kube-proxy's place: the flags for it, and what comes of them.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "proxy/cli/kube_proxy_flags.h"

namespace fairlead {

// As given on the command line.
struct KubeProxyStartFlags {
  std::string config;
  bool take_over = false;
  // What `config` says of the flags has been done: it is no file of kube-proxy's.
  bool own_config = false;
};

void AddKubeProxyStartFlags(CLI::App& command, KubeProxyStartFlags& flags);

struct KubeProxyStart {
  // What kube-proxy has left is removed once everything works. Implied by a file.
  bool take_over = false;
  KubeProxyKernelSettings kernel;
  // A line for each field of the file that has no effect.
  std::vector<std::string> ignored;
};

// Reads the file, if one is given, and fills in those of `open` that the command line, which is
// parsed, does not give. INVALID_ARGUMENT names --config, or --node-name where nobody says it.
absl::StatusOr<KubeProxyStart> ReadKubeProxyStart(const KubeProxyStartFlags& flags,
                                                  const CLI::App& command,
                                                  const KubeProxyFlags& open);

// To stdout, or to the log.
void PrintIgnored(const KubeProxyStart& start);
void LogIgnored(const KubeProxyStart& start);

}  // namespace fairlead
