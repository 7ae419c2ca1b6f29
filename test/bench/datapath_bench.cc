// What a packet pays for Fairlead's firewall: connections, requests, datagrams and bytes straight
// to a pod, through IPVS alone, and through what `fairlead proxy` makes of a node. As root on a
// kernel with IPVS:
//
//   test/lab/run build/test/bench/datapath_bench [--services N] [--endpoints N] [--rounds N]
//     [--variant NAME=SED]...
//
// "Plain" and "Fairlead" are the same node with the same virtual servers, routes and settings, on
// which the agent has stopped after its first sync: for plain tables Fairlead's table of nftables
// is made dormant, and one rule, which masquerades what comes from outside, awake. Both are
// measured in turn, and what counts is the median of the ratios of neighbours.
// "Direct" is a second node, which balances nothing. All of them track connections, as a node with
// Pods does.
//
// A variant is Fairlead's table as `nft` lists it, edited by `sed -E`, in place of Fairlead's: so
// one sees what a rule costs (--variant 'served only=/jump unserved/d').
//
// With FAIRLEAD_LAB_COUNT=1 test/lab/run gives a machine whose clock counts what it executes: a
// nanosecond is an instruction, in the kernel as in the client and in the server. That is nearly
// free of noise, and knows nothing of caches. It is what is held against the goals: an emulated
// machine's times differ by more than these from one moment to the next.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "test/bench/fed_agent.h"
#include "test/bench/need.h"
#include "test/bench/packets.h"
#include "test/bench/program.h"
#include "test/bench/report.h"
#include "test/lab/cluster.h"
#include "test/lab/process.h"

namespace fairlead::bench {
namespace {

constexpr double kGoal = 1.02;
// Of times, and where instructions are counted, which differ by some in a thousand.
constexpr int kRounds = 40;
constexpr int kCountedRounds = 5;

struct Variant {
  std::string name;
  std::string edit;
};

struct Settings {
  int services = 10'000;
  int endpoints = 10;
  int rounds = kRounds;
  std::vector<Variant> variants;
};

// What is measured of a way in a round.
struct Measure {
  std::string name;
  std::string unit;
  bool more_is_better = false;
  // A value for each thing that was done, or one for all.
  std::function<std::vector<double>(const PacketTarget&)> run;
};

std::vector<Measure> Measures() {
  return {
      {"connection, request, close", "us", false,
       [](const PacketTarget& target) { return TimeConnections(target, 60); }},
      {"request on a standing connection", "us", false,
       [](const PacketTarget& target) { return TimeRequests(target, 100); }},
      {"datagram and answer, new socket", "us", false,
       [](const PacketTarget& target) { return TimeDatagrams(target, 60); }},
      {"connections of 4 clients", "/s", true,
       [](const PacketTarget& target) { return std::vector{ConnectionRate(target, 4, 30)}; }},
      {"bytes over 1 connection", "MB/s", true,
       [](const PacketTarget& target) { return std::vector{Throughput(target, 1, 16 << 20)}; }},
      {"bytes over 4 connections", "MB/s", true,
       [](const PacketTarget& target) { return std::vector{Throughput(target, 4, 6 << 20)}; }},
  };
}

// Whether a nanosecond is an instruction.
bool Counting() { return std::getenv("FAIRLEAD_LAB_COUNT") != nullptr; }

// Who asks for counting and is given time would take the one for the other.
void CheckCounting() {
  if (!Counting()) return;
#if defined(__x86_64__)  // As the lab's guests are.
  int64_t turns = 20'000'000;
  const int64_t expected = 2 * turns;
  const absl::Time start = absl::Now();
  asm volatile("1: dec %0\n\tjnz 1b" : "+r"(turns) : : "cc");
  const double measured = absl::ToDoubleNanoseconds(absl::Now() - start);
  // The ticks of the kernel's clock come on top.
  Need(std::abs(measured / static_cast<double>(expected) - 1) < 0.02,
       absl::StrCat("FAIRLEAD_LAB_COUNT is set, but the clock does not count instructions: ",
                    expected, " took ", measured, " ns"));
#endif
}

// Where instructions are counted, there is no other measure of speed than how many it takes.
std::vector<Measure> CountedMeasures() {
  std::vector<Measure> measures = Measures();
  for (Measure& measure : measures) {
    const double factor = measure.unit == "us" ? 1e3 : 1e9;
    measure.unit = measure.unit == "MB/s" ? "instr./MB" : "instr.";
    measure.run = [inner = measure.run, factor,
                   rate = measure.more_is_better](const PacketTarget& target) {
      std::vector<double> values = inner(target);
      for (double& value : values) value = factor * (rate ? 1 / value : value);
      return values;
    };
    measure.more_is_better = false;
  }
  return measures;
}

// The way of a packet. The first is the one that the others are compared with.
constexpr char kPlain[] = "plain";
constexpr char kFairlead[] = "Fairlead";
constexpr char kDirect[] = "direct";

// Of one measure of one way.
struct Values {
  std::vector<double> all;
  std::vector<double> of_round;  // The median of each.
};

// By where the client is, measure and way.
using Results = std::map<std::string, std::map<std::string, std::map<std::string, Values>>>;

// Tracking, and what any node does for its Pods' way out. It never matches here.
constexpr char kEgress[] = R"nft(table inet egress {
	chain postrouting {
		type nat hook postrouting priority srcnat
		oifname "eth0" ip saddr 10.244.0.0/16 ip daddr != { 10.244.0.0/16, 172.18.0.0/24 } masquerade
	}
}
)nft";

// What a node port needs where IPVS is alone: replies come back through this node.
constexpr char kPlainTable[] = R"nft(table inet plain {
	flags dormant
	chain postrouting {
		type nat hook postrouting priority srcnat
		ip saddr != 10.244.0.0/16 ip daddr 10.244.0.0/16 masquerade fully-random
	}
}
)nft";

constexpr int kNodePort = 30'080;

class Bench {
 public:
  explicit Bench(const Settings& settings);

  // With the Services that are there now. Prints what it has found.
  Results Run(Report& report, const std::string& title);
  // Lets the agent program so many others.
  void AddCrowd();

  const std::vector<Measure>& measures() const { return measures_; }

 private:
  // A client's place, and where each way leads it.
  struct Place {
    std::string name;  // Of what is reached.
    std::string from;
    PacketTarget direct;
    PacketTarget balanced;
  };

  // "fairlead", "plain" or a variant's, of nftables; the others sleep.
  void Awake(const std::string& table);
  void MakeVariants();
  void Round(const std::vector<std::string>& ways, Results& results);
  void Print(Report& report, const std::string& title, const Results& results);

  const lab::NetNamespace& services_net() const { return *cluster_->node(1).net; }

  const Settings settings_;
  const std::vector<Measure> measures_;
  std::unique_ptr<lab::Cluster> cluster_;
  std::vector<std::unique_ptr<PacketServer>> servers_;
  std::unique_ptr<FedAgent> agent_;
  std::vector<Place> places_;
  std::vector<std::string> variant_tables_;
};

std::shared_ptr<const Service> MeasuredService() {
  using ipvs::Protocol;
  const auto node_port = static_cast<uint16_t>(kNodePort);
  return std::make_shared<const Service>(
      Service{.name = {"bench", "measured"},
              .type = ServiceType::kNodePort,
              .cluster_ips = {IpAddress::V4(0x0a60000a)},  // 10.96.0.10
              .ports = {{"echo", Protocol::kTcp, 80, node_port},
                        {"sink", Protocol::kTcp, 81, static_cast<uint16_t>(kNodePort + 1)},
                        {"datagrams", Protocol::kUdp, 80, node_port}}});
}

std::shared_ptr<const EndpointSlice> MeasuredSlice(const lab::Pod& pod) {
  using ipvs::Protocol;
  return std::make_shared<const EndpointSlice>(EndpointSlice{
      .name = {"bench", "measured-x7k2p"},
      .service_name = "measured",
      .ports = {{"echo", Protocol::kTcp, PacketServer::kEchoPort},
                {"sink", Protocol::kTcp, PacketServer::kSinkPort},
                {"datagrams", Protocol::kUdp, PacketServer::kEchoPort}},
      .endpoints = {{.address = Need(IpAddress::Parse(pod.ipv4)), .node_name = "n1"}}});
}

Bench::Bench(const Settings& settings)
    : settings_(settings), measures_(Counting() ? CountedMeasures() : Measures()) {
  cluster_ = Need(lab::Cluster::Create({.node_count = 2, .ipv6 = false}));
  for (const int node : {1, 2}) {
    for (const char* name : {"client", "server"}) {
      const lab::Pod* pod = Need(cluster_->AddPod(absl::StrCat(name, "-", node), node));
      // Without it a client runs out of ports that it has not used lately.
      Need(pod->net->SetSysctl("net.ipv4.ip_local_port_range", "1024 65535"));
      if (pod->name.starts_with("server")) {
        servers_.push_back(std::make_unique<PacketServer>(*pod->net));
      }
    }
    (void)Need(lab::Shell(*cluster_->node(node).net, "nft -f -", kEgress));
  }
  Need(cluster_->client().SetSysctl("net.ipv4.ip_local_port_range", "1024 65535"));
  Need(lab::SetRoute(cluster_->client(), {.destination = cluster_->node(2).pod_cidr4,
                                          .gateway = cluster_->node(2).ipv4}));

  agent_ = std::make_unique<FedAgent>(cluster_->node(1));
  agent_->journal().Upsert(MeasuredService(), absl::Now());
  agent_->journal().Upsert(MeasuredSlice(cluster_->pod("server-1")), absl::Now());
  agent_->journal().MarkComplete();
  agent_->Start();
  agent_->Stop();
  (void)Need(lab::Shell(services_net(), "nft -f -", kPlainTable));

  const std::string& pod = cluster_->pod("server-2").ipv4;
  const lab::NetNamespace& client = cluster_->client();
  places_ = {{.name = "ClusterIP",
              .from = "a pod",
              .direct = {.net = cluster_->pod("client-2").net.get(), .address = pod},
              .balanced = {.net = cluster_->pod("client-1").net.get(),
                           .address = "10.96.0.10",
                           .echo_port = 80,
                           .sink_port = 81}},
             {.name = "NodePort",
              .from = "outside",
              .direct = {.net = &client, .address = pod},
              .balanced = {.net = &client,
                           .address = cluster_->node(1).ipv4,
                           .echo_port = kNodePort,
                           .sink_port = kNodePort + 1}}};
}

void Bench::AddCrowd() {
  Awake("fairlead");
  std::string script;
  for (const std::string& table : variant_tables_) {
    absl::StrAppend(&script, "delete table inet ", table, "\n");
  }
  (void)Need(lab::Shell(services_net(), "nft -f -", script));
  variant_tables_.clear();
  // The measured one of `--services` is there.
  agent_->Add({.services = settings_.services - 1, .endpoints = settings_.endpoints});
  agent_->Start();
  agent_->Stop();
}

void Bench::MakeVariants() {
  for (const Variant& variant : settings_.variants) {
    const std::string table = absl::StrCat("variant", variant_tables_.size());
    const std::string command = absl::StrCat(
        "set -o pipefail; nft list table inet fairlead | sed -E 's/^table inet fairlead \\{/table "
        "inet ",
        table, " {\\n\\tflags dormant/' | sed -E \"$1\" | nft -f -");
    (void)Need(lab::Shell(services_net(), {"bash", "-c", command, "bash", variant.edit}, {},
                          absl::Minutes(2)));
    variant_tables_.push_back(table);
  }
}

void Bench::Awake(const std::string& table) {
  std::vector<std::string> tables = variant_tables_;
  tables.insert(tables.end(), {"fairlead", "plain"});
  // What sleeps goes to sleep first: two that masquerade are never awake together.
  std::string script;
  for (const std::string& other : tables) {
    if (other != table) absl::StrAppend(&script, "add table inet ", other, " { flags dormant; }\n");
  }
  absl::StrAppend(&script, "add table inet ", table, "\n");
  (void)Need(lab::Shell(services_net(), "nft -f -", script));
}

void Bench::Round(const std::vector<std::string>& ways, Results& results) {
  for (const std::string& way : ways) {
    if (way == kPlain) Awake("plain");
    if (way == kFairlead) Awake("fairlead");
    for (size_t i = 0; i < settings_.variants.size(); ++i) {
      if (way == settings_.variants[i].name) Awake(variant_tables_[i]);
    }
    for (const Place& place : places_) {
      for (const Measure& measure : measures_) {
        const std::vector<double> values =
            measure.run(way == kDirect ? place.direct : place.balanced);
        Values& kept = results[place.name][measure.name][way];
        kept.all.insert(kept.all.end(), values.begin(), values.end());
        kept.of_round.push_back(Median(values));
      }
    }
  }
}

Results Bench::Run(Report& report, const std::string& title) {
  MakeVariants();
  std::vector<std::string> ways = {kPlain, kFairlead, kDirect};
  for (const Variant& variant : settings_.variants) ways.push_back(variant.name);
  Results results;
  // Caches and address resolution.
  Round(ways, results);
  results.clear();
  for (int round = 0; round < settings_.rounds; ++round) {
    // Each way comes first, and each has each other one as its neighbour.
    std::rotate(ways.begin(), ways.begin() + 1, ways.end());
    if (round % static_cast<int>(ways.size()) == 0) std::swap(ways.front(), ways.back());
    Round(ways, results);
  }
  Print(report, title, results);
  return results;
}

// How much more the second costs, for each round.
std::vector<double> Ratios(const Measure& measure, const std::vector<double>& base,
                           const std::vector<double>& other) {
  std::vector<double> ratios;
  for (size_t i = 0; i < base.size(); ++i) {
    ratios.push_back(measure.more_is_better ? base[i] / other[i] : other[i] / base[i]);
  }
  return ratios;
}

// The values between which the median of whatever gave these lies, with about 95 % certainty:
// those half a width of the binomial distribution to either side of the middle.
std::vector<double> MedianBounds(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const double count = static_cast<double>(values.size());
  const double half = 0.98 * std::sqrt(count);
  const auto at = [&](double rank) {
    return values[static_cast<size_t>(std::clamp(rank, 0.0, count - 1))];
  };
  return {at(std::floor(count / 2 - half)), at(std::ceil(count / 2 + half))};
}

void Bench::Print(Report& report, const std::string& title, const Results& results) {
  for (const Place& place : places_) {
    report.Section(absl::StrCat("From ", place.from, " to a ", place.name, ", ", title));
    const auto& of_place = results.at(place.name);
    for (const Measure& measure : measures_) {
      const auto& of_measure = of_place.at(measure.name);
      std::vector<std::string> ways = {kDirect, kPlain, kFairlead};
      for (const Variant& variant : settings_.variants) ways.push_back(variant.name);
      for (const std::string& way : ways) {
        report.Add(absl::StrCat(measure.name, ": ", way), measure.unit, of_measure.at(way).all);
      }
      for (const std::string& way : ways) {
        if (way == kPlain) continue;
        const std::vector<double> ratios =
            Ratios(measure, of_measure.at(kPlain).of_round, of_measure.at(way).of_round);
        report.Add(absl::StrCat("  cost of ", way, " / plain"), "x", ratios);
        if (!Counting()) {
          report.Add("    whose median is, at 95 %, between", "x", MedianBounds(ratios));
        }
        if (way == kFairlead && Counting()) {
          report.Goal(absl::StrCat(measure.name, ": Fairlead / plain"), Median(ratios), kGoal);
        }
      }
    }
  }
}

// What becomes of the cost of each way, and of Fairlead's beside plain tables.
void PrintGrowth(Report& report, const std::vector<Measure>& measures, int services,
                 const Results& few, const Results& many) {
  report.Section(absl::StrCat("Costs with ", services, " Services / with one"));
  for (const auto& [place, of_place] : few) {
    for (const Measure& measure : measures) {
      const auto& before = of_place.at(measure.name);
      const auto& after = many.at(place).at(measure.name);
      const auto growth = [&](const char* way) {
        return Ratios(measure, {Median(before.at(way).of_round)}, {Median(after.at(way).of_round)});
      };
      for (const char* way : {kDirect, kPlain, kFairlead}) {
        report.Add(absl::StrCat(place, ", ", measure.name, ": ", way), "x", growth(way));
      }
      if (!Counting()) continue;
      const auto beside_plain = [&](const auto& of_measure) {
        return Median(
            Ratios(measure, of_measure.at(kPlain).of_round, of_measure.at(kFairlead).of_round));
      };
      report.Goal(absl::StrCat(place, ", ", measure.name, ": Fairlead / plain, ", services,
                               " Services / one"),
                  beside_plain(after) / beside_plain(before), kGoal);
    }
  }
}

void RunBench(const Settings& settings) {
  CheckCounting();
  Report report(Counting() ? "datapath_instructions" : "datapath");
  Bench bench(settings);
  const Results few = bench.Run(report, "1 Service");
  if (settings.services == 1) return;
  bench.AddCrowd();
  const Results many = bench.Run(
      report, absl::StrCat(settings.services, " Services of ", settings.endpoints, " endpoints"));
  PrintGrowth(report, bench.measures(), settings.services, few, many);
}

Variant ParseVariant(const std::string& text) {
  const size_t equals = text.find('=');
  Need(equals != std::string::npos && equals > 0, absl::StrCat("no NAME=SED: ", text));
  return {text.substr(0, equals), text.substr(equals + 1)};
}

int Main(int argc, char** argv) {
  Settings settings;
  if (Counting()) settings.rounds = kCountedRounds;
  std::vector<std::string> variants;
  BenchProgram program("What a packet pays for Fairlead's firewall");
  program.Add("--services", settings.services, "Services there are, beside one");
  program.Add("--endpoints", settings.endpoints, "endpoints of each");
  program.Add("--rounds", settings.rounds, "rounds in which the ways take turns");
  program.AddRepeated("--variant", variants, "NAME=SED: Fairlead's table edited by sed -E");
  return program.Run(argc, argv, [&] {
    for (const std::string& variant : variants) settings.variants.push_back(ParseVariant(variant));
    RunBench(settings);
  });
}

}  // namespace
}  // namespace fairlead::bench

int main(int argc, char** argv) { return fairlead::bench::Main(argc, argv); }
