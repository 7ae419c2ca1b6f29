#include "expect.h"
#include "healthy_node.h"
#include "proxy/doctor/checks.h"
#include "proxy/doctor/kernel_version.h"

namespace fairlead {
namespace {

TEST_CASE("a kernel's version is what its release begins with") {
  CHECK(ParseKernelVersion("6.1.0-56-cloud-amd64") == KernelVersion{6, 1});
  CHECK(ParseKernelVersion("5.15") == KernelVersion{5, 15});
  CHECK(ParseKernelVersion("6.12+") == KernelVersion{6, 12});
  CHECK(ParseKernelVersion("six") == std::nullopt);
  CHECK(ParseKernelVersion("") == std::nullopt);
  CHECK(KernelVersion{5, 15} < KernelVersion{6, 1});
  CHECK(KernelVersion{6, 2} < KernelVersion{6, 12});
}

TEST_CASE("a kernel is judged by its age") {
  struct Row {
    const char* release;
    Severity severity;
  };
  for (const Row& row : std::vector<Row>{{"6.12.1", Severity::kOk},
                                         {"6.1.0", Severity::kOk},
                                         {"5.15.0-91-generic", Severity::kNote},
                                         {"5.6.0", Severity::kNote},
                                         {"5.4.0", Severity::kError},
                                         {"4.19.0", Severity::kError},
                                         {"unheard of", Severity::kNote}}) {
    INFO(row.release);
    KernelFacts kernel = HealthyNode().kernel;
    kernel.release = row.release;
    const Finding finding = Only(CheckKernel(kernel), "kernel.release");
    CHECK(finding.severity == row.severity);
    CHECK(finding.evidence == absl::StrCat("Linux ", row.release));
  }
}

TEST_CASE("what the kernel lacks is named, with what to do") {
  struct Row {
    std::string name;
    std::function<void(KernelFacts&)> change;
    std::vector<Finding> expected;
  };
  const std::vector<Row> rows = {
      {"IPVS's module is there and not loaded",
       [](KernelFacts& kernel) {
         kernel.ipvs = absl::FailedPreconditionError("the kernel has no family IPVS");
         kernel.modules["ip_vs"] = ModuleState::kLoadable;
       },
       {{.check = "kernel.ipvs",
         .severity = Severity::kError,
         .message = "The kernel does not answer for IPVS.",
         .evidence = "the kernel has no family IPVS",
         .fix = "modprobe ip_vs"}}},
      {"there is no IPVS",
       [](KernelFacts& kernel) {
         kernel.ipvs = absl::FailedPreconditionError("the kernel has no family IPVS");
         kernel.modules["ip_vs"] = ModuleState::kMissing;
       },
       {{.check = "kernel.ipvs",
         .severity = Severity::kError,
         .message = "The kernel does not answer for IPVS.",
         .evidence = "the kernel has no family IPVS",
         .fix = "install the kernel's modules that have ip_vs (Debian: package "
                "linux-image-amd64), or a kernel with CONFIG_IP_VS"},
        {.check = "kernel.module.ip_vs",
         .severity = Severity::kError,
         .message = "The kernel has no module ip_vs.",
         .evidence = "neither /proc/modules, modules.builtin nor modules.dep has it",
         .fix = "install the kernel's modules, or a kernel that has it"}}},
      {"IPVS may not be looked at",
       [](KernelFacts& kernel) { kernel.ipvs = absl::PermissionDeniedError("not permitted"); },
       {{.check = "kernel.ipvs",
         .severity = Severity::kError,
         .message = "IPVS cannot be looked at without CAP_NET_ADMIN.",
         .evidence = "not permitted",
         .fix = "sudo fairlead doctor"}}},
      {"modules cannot be seen",
       [](KernelFacts& kernel) { kernel.modules["nf_tables"] = ModuleState::kUnknown; },
       {{.check = "kernel.module.nf_tables",
         .severity = Severity::kNote,
         .message = "Whether the kernel has nf_tables cannot be seen from here.",
         .evidence = "it is not in /proc/modules, and there is no folder with modules",
         .fix = "on the node itself: fairlead doctor"}}},
      {"a scheduler is missing",
       [](KernelFacts& kernel) {
         kernel.schedulers["mh"] = absl::NotFoundError("module ip_vs_mh is missing");
       },
       {{.check = "kernel.scheduler.mh",
         .severity = Severity::kError,
         .message = "The kernel does not have the scheduler mh.",
         .evidence = "module ip_vs_mh is missing",
         .fix = "modprobe ip_vs_mh; or use another: --scheduler, or the annotation "
                "fairlead.dev/scheduler"}}},
      {"schedulers cannot be tried",
       [](KernelFacts& kernel) {
         kernel.schedulers["rr"] = absl::PermissionDeniedError("no namespace");
       },
       {{.check = "kernel.scheduler.rr",
         .severity = Severity::kNote,
         .message = "The scheduler rr could not be tried.",
         .evidence = "no namespace",
         .fix = ""}}},
      {"there is no nft",
       [](KernelFacts& kernel) { kernel.nft_version.clear(); },
       {{.check = "kernel.nft",
         .severity = Severity::kError,
         .message = "The program nft cannot be run; the agent needs it.",
         .evidence = "nft --version says nothing",
         .fix = "apt-get install nftables"}}},
      {"the ruleset is refused",
       [](KernelFacts& kernel) {
         kernel.ruleset = absl::FailedPreconditionError("nft refused: line 7");
       },
       {{.check = "kernel.ruleset",
         .severity = Severity::kError,
         .message = "Fairlead's ruleset cannot be loaded.",
         .evidence = "nft refused: line 7",
         .fix = "modprobe -a nf_tables nft_ct nft_masq nft_chain_nat nft_reject_inet "
                "nft_fib_inet; a newer nftables"}}},
      {"the ruleset cannot be tried",
       [](KernelFacts& kernel) { kernel.ruleset = absl::PermissionDeniedError("no namespace"); },
       {{.check = "kernel.ruleset",
         .severity = Severity::kNote,
         .message = "Fairlead's ruleset could not be tried.",
         .evidence = "no namespace",
         .fix = "sudo fairlead doctor, on the node itself"}}},
  };
  for (const Row& row : rows) {
    INFO(row.name);
    KernelFacts kernel = HealthyNode().kernel;
    row.change(kernel);
    std::vector<Finding> found = CheckKernel(kernel);
    std::erase_if(found, [](const Finding& each) { return each.severity == Severity::kOk; });
    CHECK(found == row.expected);
  }
}

TEST_CASE("a module that is not loaded yet is no complaint") {
  KernelFacts kernel = HealthyNode().kernel;
  kernel.modules["nf_conntrack_netlink"] = ModuleState::kLoadable;
  CHECK(Complaints(CheckKernel(kernel)).empty());
}

}  // namespace
}  // namespace fairlead
