#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "proxy/doctor/read_facts.h"

namespace fairlead {
namespace {

// A machine of files.
class Machine {
 public:
  Machine() {
    char name[] = "/tmp/fairlead-doctor-XXXXXX";
    root_ = mkdtemp(name);
    roots = {.proc = root_ + "/proc", .sys = root_ + "/sys", .modules = root_ + "/modules"};
  }
  ~Machine() { std::filesystem::remove_all(root_); }

  void Write(const std::string& file, const std::string& text = "") const {
    const std::filesystem::path path = root_ + "/" + file;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }

  MachineRoots roots;

 private:
  std::string root_;
};

TEST_CASE("the kernel's release is read") {
  const Machine machine;
  CHECK(ReadKernelRelease(machine.roots).empty());
  machine.Write("proc/sys/kernel/osrelease", "6.1.0-56-cloud-amd64\n");
  CHECK(ReadKernelRelease(machine.roots) == "6.1.0-56-cloud-amd64");
}

TEST_CASE("a module is there, loadable, missing or not to be seen") {
  const Machine machine;
  const auto state = [&](const char* name) { return ReadModuleState(machine.roots, "6.1", name); };
  CHECK(state("ip_vs") == ModuleState::kUnknown);
  machine.Write("proc/modules", "ip_vs_rr 16384 2 - Live 0x0\n");
  CHECK(state("ip_vs_rr") == ModuleState::kThere);
  CHECK(state("ip_vs") == ModuleState::kUnknown);
  machine.Write("sys/module/nf_conntrack/refcnt", "1");
  CHECK(state("nf_conntrack") == ModuleState::kThere);
  machine.Write("modules/6.1/modules.builtin", "kernel/net/netfilter/nf-tables.ko\n");
  CHECK(state("nf_tables") == ModuleState::kThere);
  machine.Write("modules/6.1/modules.dep",
                "kernel/net/netfilter/ipvs/ip_vs.ko.xz: kernel/lib/libcrc32c.ko\n");
  CHECK(state("ip_vs") == ModuleState::kLoadable);
  CHECK(state("ip_vs_wrr") == ModuleState::kMissing);
  // It is a dependency there, and has no line of its own.
  CHECK(state("libcrc32c") == ModuleState::kMissing);
}

TEST_CASE("settings are read by name, those of devices for each") {
  const Machine machine;
  machine.Write("proc/sys/net/ipv4/ip_forward", "1\n");
  machine.Write("proc/sys/net/ipv4/conf/all/rp_filter", "0\n");
  machine.Write("proc/sys/net/ipv4/conf/default/rp_filter", "1\n");
  machine.Write("proc/sys/net/ipv4/conf/eth0.100/rp_filter", "2\n");
  machine.Write("sys/class/net/cni0/brif/veth1");
  std::filesystem::create_directories(machine.roots.sys + "/class/net/docker0/brif");
  machine.Write("sys/class/net/eth0/address", "02:00:00:00:00:01");
  const SettingFacts facts =
      ReadSettings(machine.roots, {"net.ipv4.ip_forward", "net.ipv4.vs.conntrack"});
  CHECK(facts.values == std::map<std::string, std::optional<std::string>>{
                            {"net.ipv4.ip_forward", "1"},
                            {"net.ipv4.vs.conntrack", std::nullopt},
                            {"net.ipv4.conf.all.rp_filter", "0"},
                            {"net.ipv4.conf.eth0.100.rp_filter", "2"}});
  CHECK(facts.bridges == std::vector<std::string>{"cni0"});
  CHECK_FALSE(facts.read_only);
}

TEST_CASE("sizes are read where they are") {
  const Machine machine;
  const TableFacts nothing = ReadTableSizes(machine.roots);
  CHECK(nothing.size == std::nullopt);
  CHECK(nothing.tracked == std::nullopt);
  machine.Write("proc/net/ip_vs", "IP Virtual Server version 1.2.1 (size=4096)\nProt Local\n");
  machine.Write("proc/sys/net/netfilter/nf_conntrack_count", "17\n");
  machine.Write("proc/sys/net/netfilter/nf_conntrack_max", "65536\n");
  const TableFacts facts = ReadTableSizes(machine.roots);
  CHECK(facts.size == 4096);
  CHECK(facts.tracked == 17);
  CHECK(facts.tracked_limit == 65536);
  machine.Write("proc/net/ip_vs", "something else\n");
  CHECK(ReadTableSizes(machine.roots).size == std::nullopt);
}

TEST_CASE("other proxies are found by their processes, devices and maps") {
  const Machine machine;
  machine.Write("proc/7/comm", "kube-proxy\n");
  machine.Write("proc/8/comm", "keepalived\n");
  machine.Write("proc/9/comm", "keepalived\n");
  machine.Write("proc/10/comm", "bash\n");
  machine.Write("proc/self/comm", "kube-router\n");
  ProxyFacts facts = ReadProxies(machine.roots);
  CHECK(facts.processes == std::vector<std::string>{"keepalived", "kube-proxy"});
  CHECK_FALSE(facts.kube_ipvs_device);
  CHECK_FALSE(facts.cilium_maps);
  machine.Write("sys/class/net/kube-ipvs0/address", "");
  machine.Write("sys/fs/bpf/tc/globals/cilium_lb6_services_v2", "");
  facts = ReadProxies(machine.roots);
  CHECK(facts.kube_ipvs_device);
  CHECK(facts.cilium_maps);
}

TEST_CASE("an agent's rights and limits are read") {
  const Machine machine;
  CHECK_FALSE(ReadAgentProcess(machine.roots, 7).has_value());
  machine.Write("proc/7/status", "Name:\tfairlead\nCapPrm:\t000001\nCapEff:\t0000000000001000\n");
  CHECK_FALSE(ReadAgentProcess(machine.roots, 7).has_value());
  machine.Write("proc/7/limits",
                "Limit                     Soft Limit           Hard Limit           Units     \n"
                "Max open files            1024                 524288               files     \n");
  auto facts = ReadAgentProcess(machine.roots, 7);
  REQUIRE(facts.has_value());
  CHECK(facts->capabilities == 0x1000);
  CHECK(facts->open_files_limit == 1024);
  machine.Write("proc/7/limits",
                "Max open files            unlimited            unlimited  files\n");
  facts = ReadAgentProcess(machine.roots, 7);
  REQUIRE(facts.has_value());
  CHECK(facts->open_files_limit == UINT64_MAX);
}

TEST_CASE("chains of kube-proxy are found in what nft and iptables print") {
  ProxyFacts facts;
  ParseChains(
      "table ip nat {\n\tchain KUBE-SERVICES {\n\t}\n\tchain PREROUTING {\n"
      "\t\ttype nat hook prerouting priority dstnat; policy accept;\n\t}\n}\n"
      "table ip6 kube-proxy {\n\tchain services {\n\t}\n}\n",
      facts);
  ParseIptablesSave(
      "# Generated\n*filter\n:INPUT ACCEPT [0:0]\n:KUBE-FIREWALL - [0:0]\n"
      "-A INPUT -j KUBE-FIREWALL\nCOMMIT\n*nat\n:KUBE-SVC-X - [0:0]\nCOMMIT\n",
      "ip6", facts);
  CHECK(facts.nft_tables == std::vector<std::string>{"ip nat", "ip6 kube-proxy"});
  CHECK(facts.iptables_chains == std::vector<std::string>{"ip nat KUBE-SERVICES",
                                                          "ip6 filter KUBE-FIREWALL",
                                                          "ip6 nat KUBE-SVC-X"});
  ProxyFacts nothing;
  ParseChains("", nothing);
  ParseIptablesSave("", "ip", nothing);
  CHECK(nothing.nft_tables.empty());
  CHECK(nothing.iptables_chains.empty());
}

TEST_CASE("nft's version is what it says") {
  CHECK(ParseNftVersion("nftables v1.0.6 (Lester Gooch #5)\n") == "1.0.6");
  CHECK(ParseNftVersion("nftables v1.1.0\n") == "1.1.0");
  CHECK(ParseNftVersion("sh: nft: not found") == "");
  CHECK(ParseNftVersion("") == "");
}

}  // namespace
}  // namespace fairlead
