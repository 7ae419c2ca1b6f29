// From kube-proxy to Fairlead and back, with traffic. A real kube-proxy, fed by a real API server,
// which the lab reaches on the machine outside by a forward:
//
//   with_api_server sh -c 'test/lab/run --forward 10.0.2.100:6443=127.0.0.1:$FAIRLEAD_API_PORT …'
#include <signal.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <map>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "test/kernel/harness.h"
#include "test/kubernetes/api_client.h"
#include "test/kubernetes/objects.h"
#include "test/lab/http_client.h"
#include "test/lab/process.h"
#include "test/lab/responder.h"
#include "test/life/summary.h"
#include "test/life/traffic.h"

namespace fairlead::lab {
namespace {

using Lines = std::set<std::string>;

constexpr char kApiUrl[] = "https://10.0.2.100:6443";
constexpr int kTcpPort = 80;
constexpr int kUdpPort = 53;
constexpr int kTcpTarget = 8080;
constexpr int kUdpTarget = 8053;
// On an emulated machine: kube-proxy's first sync, and what comes of it.
constexpr absl::Duration kPatience = absl::Minutes(8);
// Virtual servers that the traffic goes through: each of TCP and UDP by two cluster IPs and a node
// port.
constexpr int kUsedServers = 6;

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  REQUIRE(value != nullptr);
  return value;
}

Lines LinesOf(const std::string& text) {
  Lines lines;
  for (absl::string_view line : absl::StrSplit(text, '\n', absl::SkipWhitespace())) {
    lines.emplace(absl::StripAsciiWhitespace(line));
  }
  return lines;
}

// Two nodes with an endpoint each; n1 is the node that is migrated. The client leads to the API
// server.
class World {
 public:
  World() {
    auto made = Cluster::Create({.node_count = 2});
    REQUIRE(made.ok());
    cluster = std::move(*made);
    ConnectApiServer();
    const std::string folder = Environment("FAIRLEAD_API_FOLDER");
    api = std::make_unique<ApiClient>(ApiClientOptions{
        .url = kApiUrl,
        .ca_file = folder + "/ca.crt",
        .client = {.certificate_file = folder + "/admin.crt", .key_file = folder + "/admin.key"}});
    WriteKubeconfig(folder);
    for (int i = 1; i <= 2; ++i) {
      const Node& node = cluster->node(i);
      Require(Post(kNodesPath, NodeObject(node.name, {node.ipv4, node.ipv6}, "zone-a")).status());
      AddPod(absl::StrCat("web-", i), i);
    }
    REQUIRE(cluster->AddPod("client-1", 1).ok());
    AddService();
  }

  static void Require(const absl::Status& status) {
    INFO(status);
    REQUIRE(status.ok());
  }

  // The output of a command line on n1.
  std::string Run(const std::string& command) const {
    const auto out = Shell(node(), {"bash", "-c", command}, "", kPatience);
    INFO(command << "\n" << out.status());
    REQUIRE(out.ok());
    return *out;
  }

  const NetNamespace& node() const { return *cluster->node(1).net; }
  const NetNamespace& pod() const { return *cluster->pod("client-1").net; }

  // A file as kube-proxy has it, in this mode.
  std::string WriteConfig(const std::string& mode) const {
    const std::string name = absl::StrCat("config-", mode, ".conf");
    work.Write(
        name, absl::StrCat("apiVersion: kubeproxy.config.k8s.io/v1alpha1\n"
                           "kind: KubeProxyConfiguration\n"
                           "mode: ",
                           mode,
                           "\nhostnameOverride: n1\n"
                           "clientConnection: {kubeconfig: ",
                           work.Path("kubeconfig"),
                           "}\n"
                           "clusterCIDR: 10.244.0.0/16,fd44::/16\n"
                           "nodePortAddresses: [172.18.0.0/24, 'fd18::/64']\n"
                           "ipvs: {scheduler: rr, strictARP: true, excludeCIDRs: [198.51.100.0/24],"
                           " tcpTimeout: 20m}\n"
                           // Limits of the machine, not of a network namespace.
                           "conntrack: {maxPerCore: 0, min: 0}\n"
                           "healthzBindAddress: 127.0.0.1:10256\n"
                           "metricsBindAddress: 127.0.0.1:10249\n"));
    return work.Path(name);
  }

  std::unique_ptr<Process> StartKubeProxy(const std::string& config) const {
    auto process = Process::Start(
        {.words = {Environment("FAIRLEAD_TEST_TOOLS") + "/kube-proxy", "--config", config},
         .net = &node(),
         .log_path = work.Path("kube-proxy.log")});
    Require(process.status());
    return *std::move(process);
  }

  std::unique_ptr<Process> StartFairlead(const std::string& config) const {
    auto process = Process::Start({.words = {Program(), "proxy", "--config", config, "--state-dir",
                                             work.Path("state"), "--socket", Socket()},
                                   .net = &node(),
                                   .log_path = work.Path("fairlead.log")});
    Require(process.status());
    return *std::move(process);
  }

  std::string Socket() const { return work.Path("fairlead.sock"); }

  // Ends it with SIGTERM. kube-proxy has no handler for it.
  static void End(Process& process, int exit_code) {
    Require(process.Kill(SIGTERM));
    const std::optional<int> code = process.Wait(absl::Seconds(30));
    INFO(process.Log());
    REQUIRE(code == exit_code);
  }

  std::vector<Flow> Flows() const {
    struct From {
      std::string name;
      const NetNamespace* net;
      std::string address;
      int tcp, udp;
    };
    const From froms[] = {
        {"pod to cluster IP", &pod(), vip4, kTcpPort, kUdpPort},
        {"pod to cluster IP, IPv6", &pod(), vip6, kTcpPort, kUdpPort},
        {"node to cluster IP", &node(), vip4, kTcpPort, kUdpPort},
        {"outside to node port", &cluster->client(), cluster->node(1).ipv4, tcp_node_port,
         udp_node_port},
    };
    std::vector<Flow> flows;
    for (const From& from : froms) {
      for (const Transport transport : {Transport::kTcp, Transport::kUdp}) {
        const bool udp = transport == Transport::kUdp;
        flows.push_back({.name = absl::StrCat(from.name, udp ? ", UDP" : ", TCP"),
                         .net = from.net,
                         .address = from.address,
                         .port = udp ? from.udp : from.tcp,
                         .transport = transport,
                         .per_second = 2,
                         .held = 1});
      }
    }
    return flows;
  }

  // Until each flow gets an answer to a first try.
  bool AwaitService() const {
    const std::vector<Flow> flows = Flows();
    return WaitUntil(kPatience, [&flows] {
      for (const Flow& flow : flows) {
        const RequestOptions options{.transport = flow.transport, .timeout = absl::Seconds(1)};
        const Response response = flow.transport == Transport::kUdp
                                      ? AskUdp(*flow.net, flow.address, flow.port, options)
                                      : Get(*flow.net, flow.address, flow.port, options);
        if (!response.ok()) return false;
      }
      return true;
    });
  }

  // Nothing on n1 is anybody's any more.
  void Reset() const {
    Run("ipvsadm -C; nft flush ruleset; ip link del kube-ipvs0 2>/dev/null; ipset destroy; "
        "for family in -4 -6; do ip $family route flush table local proto 119; "
        "ip $family route flush table local proto static; done; true");
  }

  // What others have on the node, which nobody may touch. Counters are left out.
  void MakeForeignThings() const {
    Run("ipvsadm -A -t 198.51.100.1:99 -s rr && ipvsadm -a -t 198.51.100.1:99 -r 198.51.100.2:99 "
        "-m && "
        "nft 'table ip foreign { set s { type ipv4_addr; elements = { 198.51.100.1 } }; "
        "chain c { type filter hook input priority 7; ip saddr @s drop; }; }' && "
        "iptables -N FOREIGN && iptables -A FOREIGN -s 198.51.100.3 -j DROP && "
        "iptables -I INPUT -j FOREIGN && ip6tables -A INPUT -s 2001:db8::3 -j DROP && "
        "iptables -t nat -A POSTROUTING -s 198.51.100.4 -j ACCEPT && "
        "ipset create FOREIGN hash:ip && ipset add FOREIGN 198.51.100.5 && "
        "ip route add local 198.51.100.6 dev lo table local proto static");
  }
  Lines ForeignThings() const {
    return LinesOf(
        Run("ipvsadm --save -n | grep -F 198.51.100.; nft list table ip foreign; "
            "(iptables-save; ip6tables-save) | grep -E '198\\.51\\.100|FOREIGN|2001:db8' | "
            "sed 's/\\[.*//'; ipset save FOREIGN | grep -v create; "
            "ip route show table local proto static"));
  }

  // What there is of kube-proxy, a line each. KUBE-FIREWALL is kubelet's too, and stays.
  std::string KubeProxyThings() const {
    return Run(
        "ip -o addr show dev kube-ipvs0 2>/dev/null; ip -o link show dev kube-ipvs0 2>/dev/null; "
        "for save in iptables-save ip6tables-save; do $save 2>/dev/null | grep KUBE- | "
        "grep -v KUBE-FIREWALL; done; "
        "ipset list -n | grep KUBE-; nft list tables | grep kube-proxy; true");
  }

  // The virtual servers, with the real servers of each.
  Lines VirtualServers() const { return LinesOf(Run("ipvsadm --save -n | grep -vF 198.51.100.")); }

  // Connections that each virtual server has counted since it was made.
  std::map<std::string, int64_t> Connections() const {
    std::map<std::string, int64_t> connections;
    for (const std::string& line :
         LinesOf(Run("ipvsadm -Ln --stats --exact | grep -E '^(TCP|UDP)'"))) {
      const std::vector<std::string> words = absl::StrSplit(line, ' ', absl::SkipWhitespace());
      REQUIRE(words.size() > 2);
      REQUIRE(absl::SimpleAtoi(words[2], &connections[words[0] + " " + words[1]]));
    }
    return connections;
  }

  Folder work;
  std::unique_ptr<Cluster> cluster;
  std::unique_ptr<ApiClient> api;
  Responder responder;
  std::string vip4, vip6;
  int tcp_node_port = 0;
  int udp_node_port = 0;

 private:
  // The machine outside is on a device of the guest's, which becomes the client's; n1 goes by it.
  void ConnectApiServer() const {
    const NetNamespace& client = cluster->client();
    const std::string find = "ip -o -4 addr show to 10.0.2.15 | awk '{print $2}'";
    REQUIRE(
        std::system(absl::StrCat("ip link set $(", find, ") netns ", client.name(), " name api0")
                        .c_str()) == 0);
    Require(Shell(client, "ip -batch -", "addr add 10.0.2.15/24 dev api0\nlink set api0 up\n")
                .status());
    Require(client.SetSysctl("net.ipv4.ip_forward", "1"));
    Require(Shell(client, "nft -f -",
                  "table ip outside { chain c { type nat hook postrouting priority 100; "
                  "oifname api0 masquerade; }; }")
                .status());
    Require(SetRoute(node(), {.destination = "10.0.2.0/24", .gateway = cluster->client_ipv4()}));
  }

  void WriteKubeconfig(const std::string& folder) const {
    work.Write("kubeconfig",
               absl::StrCat("apiVersion: v1\nkind: Config\ncurrent-context: c\n"
                            "clusters: [{name: c, cluster: {server: '",
                            kApiUrl, "', certificate-authority: ", folder,
                            "/ca.crt}}]\n"
                            "users: [{name: c, user: {client-certificate: ",
                            folder, "/admin.crt, client-key: ", folder,
                            "/admin.key}}]\n"
                            "contexts: [{name: c, context: {cluster: c, user: c}}]\n"));
  }

  absl::StatusOr<nlohmann::json> Post(absl::string_view path, const nlohmann::json& object) const {
    return cluster->client().Run([&] { return api->Post(path, object); });
  }

  void AddPod(const std::string& name, int node_number) {
    auto pod = cluster->AddPod(name, node_number);
    REQUIRE(pod.ok());
    REQUIRE(responder.AddHttp(*(*pod)->net, kTcpTarget, name).ok());
    REQUIRE(responder.AddUdp(*(*pod)->net, kUdpTarget, name).ok());
    Require(cluster->client().Run([&] {
      return CreatePod(*api, {.name = name,
                              .app = "web",
                              .node = cluster->node(node_number).name,
                              .ips = {(*pod)->ipv4, (*pod)->ipv6}});
    }));
  }

  void AddService() {
    const auto port = [](const char* name, const char* protocol, int port, int target) {
      return nlohmann::json{
          {"name", name}, {"protocol", protocol}, {"port", port}, {"targetPort", target}};
    };
    const auto service = Post(
        kServicesPath,
        ServiceObject(
            "web", {{"type", "NodePort"},
                    {"ports", nlohmann::json::array({port("http", "TCP", kTcpPort, kTcpTarget),
                                                     port("dns", "UDP", kUdpPort, kUdpTarget)})}}));
    Require(service.status());
    const nlohmann::json& spec = service->at("spec");
    for (const std::string address : spec.at("clusterIPs")) {
      (absl::StrContains(address, ":") ? vip6 : vip4) = address;
    }
    tcp_node_port = spec.at("ports").at(0).at("nodePort");
    udp_node_port = spec.at("ports").at(1).at("nodePort");
  }
};

// One for all cases: the device that leads to the API server moves once.
World& TheWorld() {
  static World world;
  return world;
}

void CheckAnswers(Traffic& traffic) {
  const bool answered = traffic.AwaitAnswers(absl::Seconds(30));
  for (const FlowSummary& summary : traffic.Summaries()) UNSCOPED_INFO(summary);
  CHECK(answered);
}

void ConcludeUnharmed(const std::string& name, Traffic& traffic, const std::string& counted) {
  const std::vector<FlowSummary> summaries = traffic.Stop();
  for (const FlowSummary& summary : summaries) {
    INFO(summary);
    CHECK(summary.answered > 0);
    CHECK(summary.failed == 0);
    CHECK(summary.lost == 0);
  }
  Conclude({.name = name, .traffic = Total(summaries), .counted = counted});
}

// Until Fairlead has everything and nothing of kube-proxy is left.
void AwaitTakeOver(World& world, const Process& fairlead) {
  std::string left;
  const bool gone = WaitUntil(kPatience, [&] {
    left = world.KubeProxyThings();
    return left.empty();
  });
  INFO("left of kube-proxy: " << left << "\n" << fairlead.Log());
  REQUIRE(gone);
  // The addresses are routes.
  const std::string routes =
      world.Run("ip route show table local proto 119; ip -6 route show table local proto 119");
  INFO(routes);
  CHECK(absl::StrContains(routes, world.vip4));
  CHECK(absl::StrContains(routes, world.vip6));
}

TEST_CASE("From kube-proxy's IPVS mode to Fairlead, and back") {
  World& world = TheWorld();
  world.Reset();
  const std::string config = world.WriteConfig("ipvs");
  world.MakeForeignThings();
  const Lines foreign = world.ForeignThings();
  CHECK(foreign.size() >= 10);
  auto kube_proxy = world.StartKubeProxy(config);
  const bool serves = world.AwaitService();
  INFO(kube_proxy->Log());
  REQUIRE(serves);
  const Lines before = world.VirtualServers();
  Traffic traffic(world.Flows());
  CheckAnswers(traffic);

  traffic.Note("kube-proxy is ended");
  World::End(*kube_proxy, 128 + SIGTERM);
  CheckAnswers(traffic);
  // The kernel adds up what it has counted every two seconds.
  std::map<std::string, int64_t> connections;
  const auto used = [&connections] {
    return std::count_if(connections.begin(), connections.end(),
                         [](const auto& server) { return server.second > 0; });
  };
  REQUIRE(WaitUntil(kPatience, [&] {
    connections = world.Connections();
    return used() >= kUsedServers;
  }));
  traffic.Note("Fairlead takes over");
  auto fairlead = world.StartFairlead(config);
  AwaitTakeOver(world, *fairlead);
  CheckAnswers(traffic);
  CHECK(world.ForeignThings() == foreign);
  // Virtual servers are not made anew: they go on counting, from where they were.
  CHECK(world.VirtualServers() == before);
  const std::map<std::string, int64_t> later = world.Connections();
  for (const auto& [server, count] : connections) {
    INFO(server);
    REQUIRE(later.contains(server));
    CHECK(later.at(server) >= count);
  }
  CHECK(absl::StrContains(fairlead->Log(), "ipvs.excludeCIDRs"));
  CHECK(absl::StrContains(world.Run("ipvsadm -L --timeout"), "1200"));

  traffic.Note("Fairlead is ended");
  World::End(*fairlead, 0);
  CheckAnswers(traffic);
  traffic.Note("kube-proxy takes over");
  kube_proxy = world.StartKubeProxy(config);
  {
    // Its rules are written after the addresses (pkg/proxy/ipvs/proxier.go, syncProxyRules).
    const bool back = WaitUntil(kPatience, [&] {
      const std::string addresses = world.Run("ip -o addr show dev kube-ipvs0 || true");
      return absl::StrContains(addresses, world.vip4 + "/32") &&
             absl::StrContains(addresses, world.vip6 + "/128") &&
             world.Run(
                 "for save in iptables-save ip6tables-save; do $save -t nat | "
                 "grep -q 'A KUBE-POSTROUTING.*MASQUERADE' && echo yes; done; true") ==
                 "yes\nyes\n";
    });
    INFO(kube_proxy->Log());
    REQUIRE(back);
  }
  traffic.Note("Fairlead is cleaned up");
  const std::string cleaned = world.Run(absl::StrCat(
      Program(), " cleanup --keep-virtual-servers --socket ", world.Socket(), " 2>&1"));
  INFO(cleaned);
  CheckAnswers(traffic);
  CHECK(world
            .Run("nft list tables | grep fairlead; ip route show table local proto 119; "
                 "ip -6 route show table local proto 119; true")
            .empty());
  CHECK(world.VirtualServers() == before);
  CHECK(world.ForeignThings() == foreign);
  ConcludeUnharmed("kube-proxy's IPVS mode, Fairlead, and back", traffic,
                   absl::StrCat(before.size(), " virtual and real servers, ", used(),
                                " kept with their connections"));
  World::End(*kube_proxy, 128 + SIGTERM);
}

// kube-proxy's nftables mode flushes IPVS when it starts: there is no way back without a break.
TEST_CASE("From kube-proxy's other modes to Fairlead") {
  World& world = TheWorld();
  // The node's own packets are routed before these modes change their destination.
  world.Run("ip route replace default via " + world.cluster->client_ipv4());
  for (const std::string mode : {"nftables", "iptables"}) {
    INFO(mode);
    world.Reset();
    const std::string config = world.WriteConfig(mode);
    auto kube_proxy = world.StartKubeProxy(config);
    const bool serves = world.AwaitService();
    INFO(kube_proxy->Log());
    REQUIRE(serves);
    Traffic traffic(world.Flows());
    CheckAnswers(traffic);
    traffic.Note("kube-proxy is ended");
    World::End(*kube_proxy, 128 + SIGTERM);
    traffic.Note("Fairlead takes over");
    auto fairlead = world.StartFairlead(config);
    AwaitTakeOver(world, *fairlead);
    CheckAnswers(traffic);
    ConcludeUnharmed(absl::StrCat("kube-proxy's ", mode, " mode to Fairlead"), traffic, "");
    World::End(*fairlead, 0);
  }
}

}  // namespace
}  // namespace fairlead::lab
