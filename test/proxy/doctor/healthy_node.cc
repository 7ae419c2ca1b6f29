#include "healthy_node.h"

#include "proxy/doctor/checks.h"
#include "proxy/kernel/modules.h"
#include "proxy/kernel/sysctl.h"

namespace fairlead {

Facts HealthyNode() {
  Facts facts;
  facts.kernel.release = "6.1.0-56-cloud-amd64";
  for (const std::string& name : NeededModules()) facts.kernel.modules[name] = ModuleState::kThere;
  facts.kernel.schedulers = {{"mh", absl::OkStatus()}, {"rr", absl::OkStatus()}};
  facts.kernel.nft_version = "1.0.6";
  for (const Sysctl& sysctl : RequiredSysctls({IpFamily::kIpv4, IpFamily::kIpv6})) {
    facts.settings.values[sysctl.name] = sysctl.value;
  }
  for (const std::string& name : WatchedSettings()) facts.settings.values[name] = std::nullopt;
  facts.settings.values["net.ipv4.vs.run_estimation"] = "1";
  facts.table = {.read = absl::OkStatus(),
                 .virtual_servers = 10,
                 .real_servers = 30,
                 .connections = 400,
                 .foreign = {},
                 .size = 4096,
                 .tracked = 500,
                 .tracked_limit = 65536};
  facts.clock = {.synchronised = true,
                 .largest_error = absl::Milliseconds(20),
                 .now = absl::FromUnixSeconds(1'700'000'000),
                 .newest_file = absl::FromUnixSeconds(1'699'999'990)};
  facts.rights = {.capabilities = 0x1ffffffffff, .large_buffers = true, .largest_buffer = 212992};
  facts.state = {.path = "/var/lib/fairlead",
                 .exists = true,
                 .writable = true,
                 .free_bytes = uint64_t{1} << 30,
                 .free_files = 100'000};
  facts.agent = {.asked = absl::OkStatus(),
                 .socket = "/run/fairlead/proxy.sock",
                 .version = "0.1.0",
                 .own_version = "0.1.0",
                 .complete = true,
                 .programmed = true,
                 .revision = 42,
                 .failures = {},
                 .warnings = 0,
                 .connected = true,
                 .feeder = "10.0.0.5:10270",
                 .current_as_of = facts.clock.now - absl::Seconds(2),
                 .saved_picture = false,
                 .process = AgentProcessFacts{.capabilities = 0x1000, .open_files_limit = 65536}};
  return facts;
}

}  // namespace fairlead
