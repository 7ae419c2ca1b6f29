#include "proxy/kernel/sysctl.h"

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace fairlead {
namespace {

// A /proc of files.
class ProcFolder {
 public:
  ProcFolder() {
    char name[] = "/tmp/fairlead-sysctl-XXXXXX";
    root_ = mkdtemp(name);
  }
  ~ProcFolder() { std::filesystem::remove_all(root_); }

  std::string root() const { return root_; }
  std::filesystem::path Path(const std::string& file) const {
    return std::filesystem::path(root_) / "sys" / file;
  }
  void Write(const std::string& file, const std::string& text) const {
    std::filesystem::create_directories(Path(file).parent_path());
    std::ofstream(Path(file)) << text;
  }
  std::string Read(const std::string& file) const {
    std::ifstream in(Path(file));
    return {std::istreambuf_iterator<char>(in), {}};
  }

 private:
  std::string root_;
};

TEST_CASE("a setting is written only where it differs") {
  const ProcFolder proc;
  proc.Write("net/ipv4/ip_forward", "1\n");
  CHECK(EnsureSysctl({"net.ipv4.ip_forward", "1", ""}, proc.root()).ok());
  CHECK(proc.Read("net/ipv4/ip_forward") == "1\n");
  CHECK(EnsureSysctl({"net.ipv4.ip_forward", "0", ""}, proc.root()).ok());
  CHECK(proc.Read("net/ipv4/ip_forward") == "0");
}

TEST_CASE("who repairs a setting learns what was found, and that nothing was") {
  const ProcFolder proc;
  proc.Write("net/ipv4/ip_forward", "0\n");
  const Sysctl forward = {"net.ipv4.ip_forward", "1", ""};
  CHECK(*ReadSysctl(forward, proc.root()) == "0");
  CHECK(*RepairSysctl(forward, proc.root()) == std::optional<std::string>("0"));
  CHECK(*RepairSysctl(forward, proc.root()) == std::nullopt);
  CHECK(*ReadSysctl(forward, proc.root()) == "1");
  CHECK(absl::IsNotFound(RepairSysctl({"net.ipv4.vs.conntrack", "1", ""}, proc.root()).status()));
}

TEST_CASE("a setting with a minimum keeps a larger number") {
  struct Row {
    std::string before;
    bool minimum;
    std::string after;
  };
  const std::vector<Row> rows = {
      {"0\n", true, "1"},  {"1\n", true, "1\n"}, {"2\n", true, "2\n"}, {"10\n", true, "10\n"},
      {"-1\n", true, "1"}, {"2\n", false, "1"},  {"", true, "1"},      {"2 of them\n", true, "1"},
  };
  for (const Row& row : rows) {
    INFO(row.before << (row.minimum ? "at least 1" : "just 1"));
    const ProcFolder proc;
    proc.Write("net/ipv4/conf/all/arp_ignore", row.before);
    CHECK(EnsureSysctl({"net.ipv4.conf.all.arp_ignore", "1", "", row.minimum}, proc.root()).ok());
    CHECK(proc.Read("net/ipv4/conf/all/arp_ignore") == row.after);
  }
}

TEST_CASE("a setting that cannot be made is named with what it should be") {
  const ProcFolder proc;
  const absl::Status missing = EnsureSysctl({"net.ipv4.vs.conntrack", "1", ""}, proc.root());
  CHECK(absl::IsNotFound(missing));
  CHECK(missing.message() ==
        "net.ipv4.vs.conntrack has to be 1 and cannot be read: No such file or directory; IPVS is "
        "not there: run `modprobe ip_vs`");
  const absl::Status without = EnsureSysctl({"net.ipv6.conf.all.forwarding", "1", ""}, proc.root());
  CHECK(absl::IsNotFound(without));
  CHECK(absl::EndsWith(without.message(),
                       "; this kernel runs without IPv6, whose Services are not served"));

  // Of the real kernel, which refuses this even to root.
  const absl::Status refused = EnsureSysctl({"kernel.osrelease", "1", ""});
  CHECK(absl::IsPermissionDenied(refused));
  CHECK(absl::StartsWith(refused.message(), "kernel.osrelease has to be 1 and is "));
  CHECK(absl::EndsWith(refused.message(),
                       "cannot be written: Permission denied; run as root with CAP_NET_ADMIN, or "
                       "run `sysctl -w kernel.osrelease=1` on the node"));
}

TEST_CASE("a node needs the settings of the families that it serves") {
  struct Row {
    std::vector<IpFamily> families;
    std::vector<std::string> of_family;
  };
  const std::vector<Row> rows = {
      {{IpFamily::kIpv4}, {"net.ipv4.ip_forward=1", "net.ipv4.conf.all.arp_ignore>=1"}},
      {{IpFamily::kIpv6}, {"net.ipv6.conf.all.forwarding=1"}},
      {{IpFamily::kIpv4, IpFamily::kIpv6},
       {"net.ipv4.ip_forward=1", "net.ipv4.conf.all.arp_ignore>=1",
        "net.ipv6.conf.all.forwarding=1"}},
  };
  for (const Row& row : rows) {
    std::vector<std::string> expected = row.of_family;
    for (const char* name : {"conntrack", "expire_nodest_conn", "expire_quiescent_template"}) {
      expected.push_back(absl::StrCat("net.ipv4.vs.", name, "=1"));
    }
    std::vector<std::string> found;
    for (const Sysctl& sysctl : RequiredSysctls(row.families)) {
      found.push_back(absl::StrCat(sysctl.name, sysctl.minimum ? ">=" : "=", sysctl.value));
      CHECK(!sysctl.reason.empty());
    }
    CHECK(found == expected);
  }
}

}  // namespace
}  // namespace fairlead
