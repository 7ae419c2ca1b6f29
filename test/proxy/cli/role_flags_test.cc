// What `proxy` and `watcher` accept, by --check-config, which starts nothing.
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "proxy/cli/command.h"
#include "run_command.h"

namespace fairlead::testing {
namespace {

struct Case {
  const char* name;
  std::string arguments;
  std::string error;  // Empty: accepted.
};

void CheckCases(const std::vector<Case>& cases) {
  for (const Case& test : cases) {
    INFO(test.name);
    const Outcome outcome = RunCommand(test.arguments + " --check-config");
    CHECK(outcome.exit_code == (test.error.empty() ? kExitOk : kExitUsage));
    CHECK(outcome.err == (test.error.empty() ? "" : test.error + "\n"));
  }
}

TEST_CASE("an agent has one source, and a feed from the network is secured unless asked for") {
  const std::string proxy = "proxy --node-name n1";
  const std::string tls = " --tls-cert-file c --tls-key-file k --tls-ca-file a";
  const std::string needs_tls =
      "fairlead proxy: --tls-cert-file, --tls-key-file and --tls-ca-file are needed for the feed; "
      "--insecure-plaintext does without, and trusts everybody on the network";
  CheckCases({
      {"manifests", proxy + " --manifests a.yaml", ""},
      {"a kubeconfig", proxy + " --kubeconfig /nowhere --kube-context c", ""},
      {"a Pod's own cluster", proxy + " --in-cluster --state-dir /s", ""},
      {"watchers with TLS", proxy + " --watcher w1:1,w2:2 --watcher w3:3" + tls, ""},
      {"watcher in plain text", proxy + " --watcher w:1 --insecure-plaintext", ""},
      {"no source", proxy,
       "fairlead proxy: give one of --manifests, --kubeconfig, --in-cluster and --watcher"},
      {"two sources", proxy + " --manifests a.yaml --watcher w:1",
       "fairlead proxy: give one of --manifests, --kubeconfig, --in-cluster and --watcher, not "
       "--manifests and --watcher"},
      {"watcher without security", proxy + " --watcher w:1", needs_tls},
      {"half of it", proxy + " --watcher w:1 --tls-ca-file a", needs_tls},
      {"both", proxy + " --watcher w:1 --insecure-plaintext" + tls,
       "fairlead proxy: --insecure-plaintext: excludes certificates: give one or the other"},
      {"no address", proxy + " --watcher , --insecure-plaintext",
       "fairlead proxy: --watcher: names no address"},
      {"a context of nothing", proxy + " --manifests a --kube-context c",
       "fairlead proxy: --kube-context: has no effect without --kubeconfig"},
  });
}

TEST_CASE("a watcher has one source, and its feed is secured unless asked for") {
  const std::string watcher = "watcher --manifests a.yaml";
  const std::string tls = " --tls-cert-file c --tls-key-file k --tls-client-ca-file a";
  CheckCases({
      {"TLS", watcher + tls, ""},
      {"TLS and names", watcher + tls + " --require-node-name", ""},
      {"plain text", watcher + " --insecure-plaintext", ""},
      {"no source", "watcher" + tls,
       "fairlead watcher: give one of --manifests, --kubeconfig and --in-cluster"},
      {"no security", watcher,
       "fairlead watcher: --tls-cert-file, --tls-key-file and --tls-client-ca-file are needed for "
       "the feed; --insecure-plaintext does without, and trusts everybody on the network"},
      {"names without certificates", watcher + " --insecure-plaintext --require-node-name",
       "fairlead watcher: --require-node-name: needs certificates, and there are none with "
       "--insecure-plaintext"},
      {"a wrong address", watcher + " --insecure-plaintext --metrics-bind-address nowhere",
       "fairlead watcher: --metrics-bind-address: \"nowhere\" is no address with a port such "
       "as 10.0.0.1:80 or [fd00::1]:80: it has no port"},
      {"nowhere to listen", watcher + tls + " --listen nowhere",
       "fairlead watcher: --listen: \"nowhere\" is no address with a port such as 10.0.0.1:80 or "
       "[fd00::1]:80: it has no port"},
  });
}

}  // namespace
}  // namespace fairlead::testing
