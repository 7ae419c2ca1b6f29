#include "test/bench/fed_agent.h"

#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>
#include <stdlib.h>
#include <time.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "test/bench/need.h"
#include "test/lab/process.h"

namespace fairlead::bench {
namespace {

constexpr int kFirstNodePort = 30'100;
constexpr char kNameSpace[] = "bench";

std::string NameOf(int number) { return absl::StrCat("service-", number); }

std::string MakeFolder() {
  char name[] = "/tmp/fairlead-bench-XXXXXX";
  Need(mkdtemp(name) != nullptr, "no temporary folder");
  return name;
}

}  // namespace

ipvs::VirtualServerKey CrowdKey(int number) {
  return ipvs::VirtualServerKey::ForAddress(
      ipvs::Protocol::kTcp, IpAddress::V4(0x0a600101).Plus(static_cast<uint64_t>(number)), 80);
}

ipvs::RealServerKey CrowdEndpoint(const ServiceCrowd& crowd, int number, int endpoint) {
  const int offset = number * crowd.endpoints + endpoint;
  return {IpAddress::V4(0x0a800001).Plus(static_cast<uint64_t>(offset)), 8080};
}

std::shared_ptr<const EndpointSlice> CrowdSlice(const ServiceCrowd& crowd, int number,
                                                int endpoints) {
  EndpointSlice slice{.name = {kNameSpace, absl::StrCat(NameOf(number), "-x7k2p")},
                      .service_name = NameOf(number),
                      .ports = {{.name = "http", .port = 8080}}};
  for (int i = 0; i < endpoints; ++i) {
    slice.endpoints.push_back({.address = CrowdEndpoint(crowd, number, i).address,
                               .node_name = absl::StrCat("n", 2 + i),
                               .target_name = absl::StrCat(NameOf(number), "-7c9d8f6b5-", i)});
  }
  return std::make_shared<const EndpointSlice>(std::move(slice));
}

std::string Program() {
  const char* program = getenv("FAIRLEAD_BIN");
  return program == nullptr ? "build/fairlead" : program;
}

FedAgent::FedAgent(const lab::Node& node) : node_(node), folder_(MakeFolder()), feed_(journal_) {
  grpc::ServerBuilder builder;
  FeedServer::Configure(builder);
  builder.RegisterService(&feed_.service());
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
  server_ = node_.net->Run([&] { return builder.BuildAndStart(); });
  Need(server_ != nullptr && port_ != 0, "the feed does not start");
}

FedAgent::~FedAgent() {
  agent_.reset();
  feed_.Shutdown();
  server_->Shutdown(std::chrono::system_clock::now());
  std::filesystem::remove_all(folder_);
}

void FedAgent::Add(const ServiceCrowd& crowd) {
  for (int i = 0; i < crowd.services; ++i) {
    const bool node_port = i < crowd.node_ports;
    journal_.Upsert(
        std::make_shared<const Service>(Service{
            .name = {kNameSpace, NameOf(i)},
            .type = node_port ? ServiceType::kNodePort : ServiceType::kClusterIp,
            .created = absl::FromUnixSeconds(1'700'000'000),
            .cluster_ips = {CrowdKey(i).address},
            .ports = {{.name = "http",
                       .port = 80,
                       .node_port = static_cast<uint16_t>(node_port ? kFirstNodePort + i : 0)}}}),
        absl::Now());
    journal_.Upsert(CrowdSlice(crowd, i, crowd.endpoints), absl::Now());
  }
}

void FedAgent::Start(const std::vector<std::string>& flags) {
  agent_ = Need(lab::Agent::Start(node_, {.program = Program(),
                                          .folder = folder_,
                                          .flags = flags,
                                          .watchers = {absl::StrCat("127.0.0.1:", port_)},
                                          .transport_flags = {"--insecure-plaintext"}}));
  const bool synced = lab::WaitUntil(kSyncPatience, [&] {
    Need(agent_->process().running(), agent_->process().Log());
    return absl::StrContains(agent_->process().Log(), "first sync, revision ");
  });
  Need(synced, absl::StrCat("no first sync\n", agent_->process().Log()));
}

void FedAgent::Stop() {
  Need(agent_->process().Kill(SIGTERM));
  Need(agent_->process().Wait(lab::Agent::kPatience) == 0, "the agent does not end well");
  agent_.reset();
}

absl::Duration FedAgent::Cpu() const {
  clockid_t clock;
  timespec used{};
  Need(
      clock_getcpuclockid(agent_->process().pid(), &clock) == 0 && clock_gettime(clock, &used) == 0,
      "no CPU time of the agent");
  return absl::DurationFromTimespec(used);
}

std::string FedAgent::Socket() const { return absl::StrCat(folder_, "/", node_.name, ".sock"); }

}  // namespace fairlead::bench
