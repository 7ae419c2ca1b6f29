#include "test/bench/programming_node.h"

#include <arpa/inet.h>
#include <linux/ip_vs.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "test/bench/need.h"

namespace fairlead::bench {
namespace {

constexpr char kName[] = "bench-node";
constexpr char kDevice[] = "bench0";
// kube-proxy closes nothing on its way; Fairlead writes its files.
constexpr absl::Duration kEndPatience = absl::Seconds(60);
constexpr absl::Duration kHttpPatience = absl::Seconds(20);
constexpr int kNftGroup = NFNLGRP_NFTABLES;

void Run(const std::string& command) {
  Need(std::system(command.c_str()) == 0, absl::StrCat("failed: ", command));
}

}  // namespace

BenchNode::BenchNode(KernelCounters& counters) : counters_(counters) {
  Run(absl::StrCat("ip link del ", kDevice, " 2>/dev/null || true"));
  net_ = Need(lab::NetNamespace::Create(kName));
  Run(absl::StrCat("ip link add ", kDevice, " type veth peer name eth0 netns ", kName,
                   " && ip addr add ", kGateway, "/24 dev ", kDevice, " && ip link set ", kDevice,
                   " up && ip -n ", kName, " addr add ", kAddress, "/24 dev eth0 && ip -n ", kName,
                   " link set eth0 up && ip -n ", kName, " route add default via ", kGateway));
  table_ = net_->Run([] { return Need(ipvs::KernelTable::Open()); });
  net_->Run([this] { counters_.FollowThisNamespace(); });
  ipvs_socket_ = net_->Run([] { return socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW); });
  Need(ipvs_socket_ >= 0, "raw socket");
}

BenchNode::~BenchNode() {
  process_.reset();
  close(ipvs_socket_);
}

absl::Duration BenchNode::Start(const ProxyKind& kind, const std::string& log) {
  // The shell puts itself into the cgroup and becomes the proxy.
  std::vector<std::string> words = {
      "/bin/sh", "-c", absl::StrCat("echo $$ > ", counters_.procs_file(), " && exec \"$@\""), "sh"};
  words.insert(words.end(), kind.words.begin(), kind.words.end());
  const absl::Duration start = KernelCounters::Monotonic();
  process_ = Need(lab::Process::Start({.words = words, .net = net_.get(), .log_path = log}));
  return start;
}

void BenchNode::Stop() {
  if (process_ == nullptr) return;
  if (process_->running()) {
    Need(process_->Kill(SIGTERM));
    Need(process_->Wait(kEndPatience).has_value(), "the proxy does not end");
  }
  process_.reset();
}

void BenchNode::BeginPhase() {
  counters_.Reset();
  phase_cpu_ = counters_.Cpu();
}

PhaseCost BenchNode::EndPhase() const {
  return {.counts = counters_.Read(), .cpu = counters_.Cpu() - phase_cpu_};
}

int64_t BenchNode::ResidentBytes() const {
  std::ifstream statm(absl::StrCat("/proc/", process_->pid(), "/statm"));
  int64_t size = 0;
  int64_t resident = 0;
  statm >> size >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

std::string BenchNode::Ask(int port, const std::string& path) const {
  const int fd = net_->Run([] { return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0); });
  const absl::Cleanup close_socket = [fd] { close(fd); };
  const timeval patience = absl::ToTimeval(kHttpPatience);
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) return "";
  const std::string request =
      absl::StrCat("GET ", path, " HTTP/1.0\r\nHost: localhost\r\nConnection: close\r\n\r\n");
  if (send(fd, request.data(), request.size(), MSG_NOSIGNAL) < 0) return "";
  std::string answer;
  char buffer[65536];
  ssize_t size = 0;
  while ((size = recv(fd, buffer, sizeof(buffer), 0)) > 0) {
    answer.append(buffer, static_cast<size_t>(size));
  }
  const size_t body = answer.find("\r\n\r\n");
  if (body == std::string::npos ||
      answer.substr(0, answer.find('\r')).find(" 200") == std::string::npos) {
    return "";
  }
  return answer.substr(body + 4);
}

double BenchNode::Metric(const std::string& name) const {
  double sum = -1;
  const std::string body = Ask(10249, "/metrics");
  for (absl::string_view line : absl::StrSplit(body, '\n')) {
    if (!absl::StartsWith(line, name)) continue;
    const absl::string_view rest = line.substr(name.size());
    if (rest.empty() || (rest[0] != '{' && rest[0] != ' ')) continue;
    double value = 0;
    if (absl::SimpleAtod(line.substr(line.rfind(' ') + 1), &value))
      sum = std::max(sum, 0.0) + value;
  }
  return sum;
}

int BenchNode::VirtualServers() const {
  ip_vs_getinfo info = {};
  socklen_t size = sizeof(info);
  Need(getsockopt(ipvs_socket_, IPPROTO_IP, IP_VS_SO_GET_INFO, &info, &size) == 0,
       "count of virtual servers");
  return static_cast<int>(info.num_services);
}

bool BenchNode::Balances(const BenchService& service) const {
  const auto server = table_->Get(service.key());
  if (!server.ok()) return false;
  std::vector<ipvs::RealServerKey> keys;
  for (const ipvs::RealServer& real : server->real_servers) {
    if (real.config.weight > 0) keys.push_back(real.key);
  }
  std::sort(keys.begin(), keys.end());
  return keys == service.ready();
}

bool BenchNode::HasServer(const BenchService& service) const {
  return table_->Get(service.key()).ok();
}

NftWatch::NftWatch(const lab::NetNamespace& net) : buffer_(1 << 20, '\0') {
  fd_ = net.Run([] {
    return socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_NETFILTER);
  });
  const int bytes = 64 << 20;
  // Notifications pass over a socket without an address.
  sockaddr_nl address = {};
  address.nl_family = AF_NETLINK;
  Need(fd_ >= 0 && bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0 &&
           setsockopt(fd_, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) == 0 &&
           setsockopt(fd_, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &kNftGroup, sizeof(kNftGroup)) == 0,
       "notifications of nf_tables");
}

NftWatch::~NftWatch() { close(fd_); }

absl::Duration NftWatch::Await(const IpAddress& endpoint, absl::Duration limit) {
  // Where a Service's connections go is a value: the address and the port, as they are in packets.
  const std::string port = {static_cast<char>(kTargetPort >> 8),
                            static_cast<char>(kTargetPort & 0xff)};
  const std::string value = absl::StrCat(endpoint.bytes(), port);
  const absl::Duration end = KernelCounters::Monotonic() + limit;
  while (KernelCounters::Monotonic() < end) {
    pollfd ready = {fd_, POLLIN, 0};
    poll(&ready, 1, 100);
    ssize_t size = 0;
    while ((size = recv(fd_, buffer_.data(), buffer_.size(), 0)) > 0) {
      const absl::string_view heard(buffer_.data(), static_cast<size_t>(size));
      if (absl::StrContains(heard, value)) return KernelCounters::Monotonic();
    }
  }
  return absl::InfiniteDuration();
}

}  // namespace fairlead::bench
