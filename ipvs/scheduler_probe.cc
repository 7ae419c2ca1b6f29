#include "ipvs/scheduler_probe.h"

#include <sched.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "ipvs/errors.h"
#include "ipvs/kernel_table.h"

namespace fairlead::ipvs {
namespace {

// On a thread that ends afterwards: its table keeps the namespace.
absl::StatusOr<std::unique_ptr<Table>> OpenInNewNamespace() {
  if (unshare(CLONE_NEWNET) != 0) {
    return StatusFromErrno(errno, "make a network namespace to try a scheduler in");
  }
  auto table = KernelTable::Open();
  if (!table.ok()) return table.status();
  return *std::move(table);
}

absl::Status Missing(absl::string_view name) {
  return absl::NotFoundError(absl::StrCat(
      "scheduler \"", name, "\" is not in this kernel: module ip_vs_", name, " is missing"));
}

}  // namespace

absl::StatusOr<SchedulerProbe> SchedulerProbe::Open() {
  absl::StatusOr<std::unique_ptr<Table>> table = absl::UnknownError("");
  std::thread opener([&table] { table = OpenInNewNamespace(); });
  opener.join();
  if (!table.ok()) return table.status();
  return SchedulerProbe(*std::move(table));
}

absl::Status SchedulerProbe::Probe(absl::string_view name) {
  const auto key = VirtualServerKey::ForMark(IpFamily::kIpv4, 1);
  const Operation operations[] = {
      Operation::AddVirtualServer(key,
                                  VirtualServerConfig::ForFamily(key.family, std::string(name))),
      Operation::DeleteVirtualServer(key)};
  const absl::Status added = table_->Apply(operations).front();
  return absl::IsNotFound(added) ? Missing(name) : added;
}

absl::Status ProbeScheduler(absl::string_view name) {
  absl::StatusOr<SchedulerProbe> probe = SchedulerProbe::Open();
  return probe.ok() ? probe->Probe(name) : probe.status();
}

absl::Status FindSchedulerModule(absl::string_view name, absl::string_view release,
                                 const std::string& root) {
  const std::string module = absl::StrCat("ip_vs_", name);
  std::error_code error;
  if (std::filesystem::exists(absl::StrCat(root, "/sys/module/", module), error)) {
    return absl::OkStatus();
  }
  const std::string folder = absl::StrCat(root, "/lib/modules/", release);
  for (const char* list : {"modules.dep", "modules.builtin"}) {
    std::ifstream in(absl::StrCat(folder, "/", list));
    if (!in) return absl::UnavailableError(absl::StrCat(folder, "/", list, " cannot be read"));
    for (std::string line; std::getline(in, line);) {
      // "kernel/net/netfilter/ipvs/ip_vs_wlc.ko.xz: …"
      const std::pair<std::string, std::string> entry =
          absl::StrSplit(line, absl::MaxSplits(':', 1));
      const size_t slash = entry.first.rfind('/') + 1;
      const std::string file = absl::StrReplaceAll(entry.first.substr(slash), {{"-", "_"}});
      if (absl::StartsWith(file, absl::StrCat(module, ".ko"))) return absl::OkStatus();
    }
  }
  return Missing(name);
}

}  // namespace fairlead::ipvs
