#include "ipvs/scheduler_probe.h"

#include <sched.h>

#include <cerrno>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "ipvs/errors.h"
#include "ipvs/kernel_table.h"

namespace fairlead::ipvs {
namespace {

// On a thread that ends afterwards, and with it the namespace.
absl::Status ProbeInNewNamespace(const std::string& name) {
  if (unshare(CLONE_NEWNET) != 0) {
    return StatusFromErrno(errno, "make a network namespace to try a scheduler in");
  }
  const auto table = KernelTable::Open();
  if (!table.ok()) return table.status();
  const auto key = VirtualServerKey::ForMark(IpFamily::kIpv4, 1);
  const auto operation =
      Operation::AddVirtualServer(key, VirtualServerConfig::ForFamily(key.family, name));
  const absl::Status status = (*table)->Apply({&operation, 1}).front();
  if (!absl::IsNotFound(status)) return status;
  return absl::NotFoundError(absl::StrCat(
      "scheduler \"", name, "\" is not in this kernel: module ip_vs_", name, " is missing"));
}

}  // namespace

absl::Status ProbeScheduler(absl::string_view name) {
  absl::Status status;
  std::thread prober([&] { status = ProbeInNewNamespace(std::string(name)); });
  prober.join();
  return status;
}

}  // namespace fairlead::ipvs
