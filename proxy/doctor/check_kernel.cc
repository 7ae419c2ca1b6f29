#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proxy/doctor/checks.h"
#include "proxy/doctor/kernel_version.h"

namespace fairlead {
namespace {

constexpr KernelVersion kTried = {6, 1};
// What the ruleset and the agent's child processes need is in all kernels from here on: typed sets
// with concatenated prefixes are of 5.6.
constexpr KernelVersion kOldest = {5, 6};

Finding CheckRelease(const std::string& release) {
  Finding finding = {.check = "kernel.release",
                     .message = "The kernel is one that Fairlead is tested on, or newer.",
                     .evidence = absl::StrCat("Linux ", release)};
  const std::optional<KernelVersion> version = ParseKernelVersion(release);
  if (!version) {
    finding.severity = Severity::kNote;
    finding.message = "The kernel's version cannot be told.";
  } else if (*version < kOldest) {
    finding.severity = Severity::kError;
    finding.message = "The kernel is too old: nftables' sets of prefixes came with 5.6.";
    finding.fix = "install a kernel from 6.1 on";
  } else if (*version < kTried) {
    finding.severity = Severity::kNote;
    finding.message = "The kernel is older than those that Fairlead is tested on (6.1, 6.12).";
    finding.fix = "try ./dev test kernel with it, or install one from 6.1 on";
  }
  return finding;
}

Finding CheckIpvs(const KernelFacts& kernel) {
  Finding finding = {.check = "kernel.ipvs",
                     .message = "The kernel answers for IPVS.",
                     .evidence = "generic netlink family IPVS"};
  if (kernel.ipvs.ok()) return finding;
  finding.severity = Severity::kError;
  finding.evidence = std::string(kernel.ipvs.message());
  finding.message = "The kernel does not answer for IPVS.";
  if (absl::IsPermissionDenied(kernel.ipvs)) {
    finding.message = "IPVS cannot be looked at without CAP_NET_ADMIN.";
    finding.fix = "sudo fairlead doctor";
    return finding;
  }
  const auto module = kernel.modules.find("ip_vs");
  const bool missing = module != kernel.modules.end() && module->second == ModuleState::kMissing;
  finding.fix = missing ? "install the kernel's modules that have ip_vs (Debian: package "
                          "linux-image-amd64), or a kernel with CONFIG_IP_VS"
                        : "modprobe ip_vs";
  return finding;
}

Finding CheckModule(const std::string& name, ModuleState state) {
  Finding finding = {.check = absl::StrCat("kernel.module.", name)};
  switch (state) {
    case ModuleState::kThere:
      finding.message = absl::StrCat(name, " is loaded or built in.");
      finding.evidence = absl::StrCat("/sys/module/", name, ", /proc/modules, modules.builtin");
      break;
    case ModuleState::kLoadable:
      finding.message =
          absl::StrCat(name, " is not loaded; the kernel loads it when it is needed.");
      finding.evidence = "modules.dep has it, /proc/modules has not";
      break;
    case ModuleState::kMissing:
      finding.severity = Severity::kError;
      finding.message = absl::StrCat("The kernel has no module ", name, ".");
      finding.evidence = "neither /proc/modules, modules.builtin nor modules.dep has it";
      finding.fix = "install the kernel's modules, or a kernel that has it";
      break;
    case ModuleState::kUnknown:
      finding.severity = Severity::kNote;
      finding.message = absl::StrCat("Whether the kernel has ", name, " cannot be seen from here.");
      finding.evidence = "it is not in /proc/modules, and there is no folder with modules";
      finding.fix = "on the node itself: fairlead doctor";
      break;
  }
  return finding;
}

Finding CheckScheduler(const std::string& name, const absl::Status& tried) {
  Finding finding = {.check = absl::StrCat("kernel.scheduler.", name),
                     .message = absl::StrCat("The scheduler ", name, " can be used."),
                     .evidence = "a virtual server with it, in a network namespace of its own"};
  if (tried.ok()) return finding;
  finding.evidence = std::string(tried.message());
  if (absl::IsNotFound(tried) || absl::IsInvalidArgument(tried)) {
    finding.severity = Severity::kError;
    finding.message = absl::StrCat("The kernel does not have the scheduler ", name, ".");
    finding.fix = absl::StrCat("modprobe ip_vs_", name,
                               "; or use another: --scheduler, or the annotation "
                               "fairlead.dev/scheduler");
  } else {
    finding.severity = Severity::kNote;
    finding.message = absl::StrCat("The scheduler ", name, " could not be tried.");
  }
  return finding;
}

Finding CheckNft(const KernelFacts& kernel) {
  if (!kernel.nft_version.empty()) {
    return {.check = "kernel.nft",
            .message = "The program nft is there.",
            .evidence = absl::StrCat("nftables v", kernel.nft_version)};
  }
  return {.check = "kernel.nft",
          .severity = Severity::kError,
          .message = "The program nft cannot be run; the agent needs it.",
          .evidence = "nft --version says nothing",
          .fix = "apt-get install nftables"};
}

Finding CheckRuleset(const absl::Status& tried) {
  Finding finding = {.check = "kernel.ruleset",
                     .message = "The kernel and nft take Fairlead's ruleset.",
                     .evidence = "loaded in a network namespace of its own"};
  if (tried.ok()) return finding;
  finding.evidence = std::string(tried.message());
  if (absl::IsPermissionDenied(tried)) {
    finding.severity = Severity::kNote;
    finding.message = "Fairlead's ruleset could not be tried.";
    finding.fix = "sudo fairlead doctor, on the node itself";
  } else {
    finding.severity = Severity::kError;
    finding.message = "Fairlead's ruleset cannot be loaded.";
    finding.fix =
        "modprobe -a nf_tables nft_ct nft_masq nft_chain_nat nft_reject_inet "
        "nft_fib_inet; a newer nftables";
  }
  return finding;
}

}  // namespace

std::optional<KernelVersion> ParseKernelVersion(const std::string& release) {
  KernelVersion version;
  if (std::sscanf(release.c_str(), "%d.%d", &version.major, &version.minor) != 2) {
    return std::nullopt;
  }
  return version;
}

std::vector<Finding> CheckKernel(const KernelFacts& kernel) {
  std::vector<Finding> findings = {CheckRelease(kernel.release), CheckIpvs(kernel)};
  for (const auto& [name, state] : kernel.modules) findings.push_back(CheckModule(name, state));
  for (const auto& [name, tried] : kernel.schedulers) {
    findings.push_back(CheckScheduler(name, tried));
  }
  findings.push_back(CheckNft(kernel));
  findings.push_back(CheckRuleset(kernel.ruleset));
  return findings;
}

}  // namespace fairlead
