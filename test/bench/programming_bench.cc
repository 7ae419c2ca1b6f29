// How fast a node's kernel is programmed, and at what cost: Fairlead, kube-proxy in both its modes,
// and the bare messages as the limit. In the lab; for kube-proxy beside a real API server, whose
// objects programming_outside makes (./dev bench programming):
//
//   with_api_server programming_outside sh -c 'test/lab/run
//     --forward 10.0.2.100:6443=127.0.0.1:$FAIRLEAD_API_PORT
//     --forward 10.0.2.100:7000=127.0.0.1:$FAIRLEAD_OUTSIDE_PORT programming_bench …'
//
//   programming_bench [--services N,N…] [--endpoints N] [--proxies NAME,NAME…] [--rounds N]
//     [--changes N] [--flood-seconds N] [--limit-seconds N]
//
// The proxies are fairlead (fed by a journal of this process, with the bare messages beside it),
// fairlead-api (which follows the API server itself), kube-proxy-ipvs, kube-proxy-nftables, and
// kube-proxy-nftables-1ms, whose minSyncPeriod is 1 ms in place of the default second (with IPVS
// the default is none). Each has a network namespace of its own, fresh for its first sync; one runs
// after the other. Time is measured from outside, from before the write at the source to the last
// change of the kernel that made the difference, which the kernel itself records; with nf_tables to
// its notification. What is counted is the proxy's with its children (programming_counters.h); the
// probes that count slow down all alike, the bare messages too. What changes cost Fairlead is
// counted with --audit-period 0, since its audit reads many times more; the rows of the idle proxy
// and of the flood have the audit.
//
// Environment: FAIRLEAD_BIN; FAIRLEAD_TEST_TOOLS for kube-proxy; what with_api_server says; where
// there is none, FAIRLEAD_BENCH_ABSENT says why.
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "test/bench/need.h"
#include "test/bench/program.h"
#include "test/bench/programming_cases.h"

namespace fairlead::bench {
namespace {

// The changes of a minute are shared by some.
constexpr int kMinServices = 10;

struct Options {
  std::vector<int> services = {100, 1'000, 5'000, 10'000};
  std::vector<std::string> proxies = {"fairlead", "fairlead-api", "kube-proxy-ipvs",
                                      "kube-proxy-nftables"};
  CaseOptions cases;
};

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::string WriteFile(const std::string& path, const std::string& text) {
  std::ofstream file(path);
  file << text;
  Need(file.flush().good(), absl::StrCat("cannot write ", path));
  return path;
}

ProxyKind Fairlead(const std::string& name, bool from_api) {
  std::vector<std::string> words = {Environment("FAIRLEAD_BIN"),
                                    "proxy",
                                    "--node-name",
                                    "n1",
                                    "--node-ip",
                                    BenchNode::kAddress,
                                    "--cluster-cidr",
                                    kPodRange,
                                    "--nodeport-addresses",
                                    "primary",
                                    "--state-dir",
                                    "/var/lib/fairlead/bench",
                                    "--socket",
                                    "/run/fairlead-bench.sock",
                                    "--healthz-bind-address",
                                    "127.0.0.1:10256",
                                    "--metrics-bind-address",
                                    "127.0.0.1:10249"};
  const std::vector<std::string> source =
      from_api
          ? std::vector<std::string>{"--kubeconfig", Environment("FAIRLEAD_TEST_KUBECONFIG_GUEST")}
          : std::vector<std::string>{"--watcher", absl::StrCat(BenchNode::kGateway, ":", kFeedPort),
                                     "--insecure-plaintext"};
  words.insert(words.end(), source.begin(), source.end());
  return {.name = name, .fairlead = true, .from_api = from_api, .words = words};
}

ProxyKind KubeProxy(const std::string& name, const std::string& mode, const std::string& more) {
  const std::string certificates = Environment("FAIRLEAD_API_FOLDER");
  const std::string kubeconfig = WriteFile(
      "/tmp/bench.kubeconfig",
      absl::StrCat("apiVersion: v1\nkind: Config\ncurrent-context: c\n"
                   "clusters: [{name: c, cluster: {server: '",
                   kApiUrl, "', certificate-authority: ", certificates,
                   "/ca.crt}}]\nusers: [{name: c, user: {client-certificate: ", certificates,
                   "/admin.crt, client-key: ", certificates,
                   "/admin.key}}]\ncontexts: [{name: c, context: {cluster: c, user: c}}]\n"));
  const std::string config = WriteFile(
      absl::StrCat("/tmp/", name, ".conf"),
      absl::StrCat("apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n"
                   "mode: ",
                   mode, "\nhostnameOverride: n1\nclientConnection: {kubeconfig: ", kubeconfig,
                   "}\nclusterCIDR: ", kPodRange, "\nnodePortAddresses: [172.18.0.0/24]\n", more,
                   // Limits of the machine, not of a network namespace.
                   "conntrack: {maxPerCore: 0, min: 0}\n"
                   "healthzBindAddress: 127.0.0.1:10256\nmetricsBindAddress: 127.0.0.1:10249\n"));
  return {.name = name,
          .backend = mode == "ipvs" ? Backend::kIpvs : Backend::kNftables,
          .from_api = true,
          .words = {Environment("FAIRLEAD_TEST_TOOLS") + "/kube-proxy", "--config", config}};
}

ProxyKind KindOf(const std::string& name) {
  if (name == "fairlead") return Fairlead(name, /*from_api=*/false);
  if (name == "fairlead-api") return Fairlead(name, /*from_api=*/true);
  if (name == "kube-proxy-ipvs") return KubeProxy(name, "ipvs", "");
  if (name == "kube-proxy-nftables") return KubeProxy(name, "nftables", "");
  if (name == "kube-proxy-nftables-1ms") {
    return KubeProxy(name, "nftables", "nftables: {minSyncPeriod: 1ms}\n");
  }
  throw std::runtime_error(absl::StrCat("no such proxy: ", name));
}

// The lab's card is in this namespace, and nodes are behind it.
void PrepareMachine() {
  const char* const commands[] = {
      "modprobe -qa ip_set ip_set_hash_ip ip_set_hash_ipport ip_vs_rr nft_fib_ipv4 || true",
      "sysctl -qw net.ipv4.ip_forward=1",
      "nft 'table ip bench { chain c { type nat hook postrouting priority 100; "
      "ip daddr 10.0.2.0/24 masquerade; }; }'",
  };
  for (const char* command : commands) {
    Need(std::system(command) == 0, absl::StrCat("failed: ", command));
  }
}

void Run(const Options& options) {
  Report report("programming");
  PrepareMachine();
  KernelCounters counters("fairlead-bench");
  const bool has_api = !Environment("FAIRLEAD_API_FOLDER").empty();
  std::unique_ptr<Source> feed;
  std::unique_ptr<Source> api;
  std::map<Source*, int> filled;
  std::map<std::string, int> gave_up;  // At this size.
  for (const int services : options.services) {
    Summary summary;
    for (const std::string& name : options.proxies) {
      const bool from_api = name != "fairlead";
      if (from_api && !has_api) {
        report.Section(absl::StrCat(services, " Services: ", name));
        const std::string why = Environment("FAIRLEAD_BENCH_ABSENT");
        report.Absent("everything", why.empty() ? "there is no API server" : why);
        continue;
      }
      if (gave_up.contains(name)) {
        report.Section(absl::StrCat(services, " Services: ", name));
        report.Absent("everything",
                      absl::StrCat("its first sync was given up at ", gave_up[name], " Services"));
        continue;
      }
      std::unique_ptr<Source>& source = from_api ? api : feed;
      if (source == nullptr) {
        source = from_api ? MakeApiSource(Environment("FAIRLEAD_API_FOLDER")) : MakeFeedSource();
        source->Add(ProxyCases::Probe(options.cases));
      }
      // What one size has is part of the next.
      int& there = filled[source.get()];
      if (there < services) {
        const absl::Time start = absl::Now();
        source->Fill(there, services, options.cases.endpoints);
        there = services;
        absl::FPrintF(stderr, "programming_bench: %d Services are there after %s\n", services,
                      absl::FormatDuration(absl::Trunc(absl::Now() - start, absl::Seconds(1))));
      }
      const ProxyKind kind = KindOf(name);
      ProxyCases cases(options.cases, kind, services, *source, counters, report, summary);
      if (!cases.Run()) gave_up[name] = services;
    }
    summary.Print(services);
  }
}

int Main(int argc, char** argv) {
  Options options;
  int flood_seconds = static_cast<int>(absl::ToInt64Seconds(options.cases.flood));
  int limit_seconds = static_cast<int>(absl::ToInt64Seconds(options.cases.limit));
  BenchProgram program("How fast a kernel is programmed");
  program.Add("--services", options.services, "numbers of Services, rising", kMinServices);
  program.Add("--endpoints", options.cases.endpoints, "endpoints of each");
  program.Add("--proxies", options.proxies, "who programs it");
  program.Add("--rounds", options.cases.rounds, "first syncs and restarts of each");
  program.Add("--changes", options.cases.changes, "changes of each kind");
  program.Add("--flood-seconds", flood_seconds, "how long many changes come each second");
  program.Add("--limit-seconds", limit_seconds, "after which a proxy is given up");
  return program.Run(argc, argv, [&] {
    options.cases.flood = absl::Seconds(flood_seconds);
    options.cases.limit = absl::Seconds(limit_seconds);
    Run(options);
  });
}

}  // namespace
}  // namespace fairlead::bench

int main(int argc, char** argv) { return fairlead::bench::Main(argc, argv); }
