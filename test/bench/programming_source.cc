#include "test/bench/programming_source.h"

#include <arpa/inet.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "test/bench/need.h"
#include "test/kubernetes/api_client.h"
#include "test/kubernetes/objects.h"
#include "watcher/feed/feed_server.h"
#include "watcher/feed/journal.h"

namespace fairlead::bench {
namespace {

class FeedSource : public Source {
 public:
  FeedSource() : feed_(journal_) {
    journal_.Upsert(std::make_shared<const Node>(
                        Node{.name = "n1", .internal_ips = {*IpAddress::Parse("172.18.0.11")}}),
                    absl::Now());
    grpc::ServerBuilder builder;
    FeedServer::Configure(builder);
    builder.RegisterService(&feed_.service());
    int port = 0;
    builder.AddListeningPort(absl::StrCat("0.0.0.0:", kFeedPort), grpc::InsecureServerCredentials(),
                             &port);
    server_ = builder.BuildAndStart();
    Need(server_ != nullptr && port != 0, "the feed cannot listen");
  }
  ~FeedSource() override {
    if (flood_.joinable()) flood_.join();
    feed_.Shutdown();
    server_->Shutdown(std::chrono::system_clock::now());
  }

  void Fill(int from, int to, int endpoints) override {
    for (int i = from; i < to; ++i) Add(CrowdService(i, endpoints));
    journal_.MarkComplete();
  }
  void Add(const BenchService& service) override {
    journal_.Upsert(FeedService(service), absl::Now());
    Update(service);
  }
  void Update(const BenchService& service) override {
    journal_.Upsert(FeedSlice(service), absl::Now());
  }
  void Remove(const BenchService& service) override {
    journal_.Remove(IdOf(FeedService(service)), absl::Now());
    journal_.Remove(IdOf(FeedSlice(service)), absl::Now());
  }

  void StartFlood(int services, int endpoints, absl::Duration length) override {
    flood_ = std::thread([=, this] {
      const int flooded = std::min(services, kFloodServices);
      const auto writes = static_cast<int>(absl::ToDoubleSeconds(length) * kFloodChanges);
      const absl::Time start = absl::Now();
      for (int i = 0; i < writes; ++i) {
        absl::SleepFor(start + i * absl::Seconds(1) / kFloodChanges - absl::Now());
        Update(AfterVisits(i % flooded, endpoints, i / flooded + 1, 1));
      }
      rate_ = writes / absl::ToDoubleSeconds(absl::Now() - start);
      for (int i = 0; i < flooded; ++i) Update(CrowdService(i, endpoints));
    });
  }
  double AwaitFlood() override {
    flood_.join();
    return rate_;
  }

 private:
  Journal journal_;
  FeedServer feed_;
  std::unique_ptr<grpc::Server> server_;
  std::thread flood_;
  double rate_ = 0;
};

class ApiSource : public Source {
 public:
  explicit ApiSource(const std::string& certificates)
      : api_({.url = kApiUrl,
              .ca_file = certificates + "/ca.crt",
              .client = {.certificate_file = certificates + "/admin.crt",
                         .key_file = certificates + "/admin.key"}}) {
    Need(api_.Post(lab::kNodesPath, lab::NodeObject("n1", {"172.18.0.11"}, "zone-a")).status());
  }

  void Fill(int from, int to, int endpoints) override {
    Ask(absl::StrCat("fill ", from, " ", to, " ", endpoints));
  }
  // A measurement that was given up may have left it.
  void Add(const BenchService& service) override {
    const absl::Status made = api_.Post(lab::kServicesPath, ApiService(service)).status();
    const absl::Status sliced = api_.Post(kSlicesPath, ApiSlice(service)).status();
    for (const absl::Status& status : {made, sliced}) {
      Need(status.ok() || absl::IsAlreadyExists(status), status.ToString());
    }
    if (!sliced.ok()) Update(service);
  }
  void Update(const BenchService& service) override {
    Need(api_.MergePatch(SlicePath(service), ApiEndpoints(service)).status());
  }
  void Remove(const BenchService& service) override {
    Need(api_.Delete(ServicePath(service)).status());
    Need(api_.Delete(SlicePath(service)).status());
  }

  void StartFlood(int services, int endpoints, absl::Duration length) override {
    Ask(absl::StrCat("flood ", services, " ", endpoints, " ", absl::ToInt64Seconds(length)));
  }
  double AwaitFlood() override {
    double rate = 0;
    Need(absl::SimpleAtod(Ask("await"), &rate), "the outside does not say how fast it was");
    return rate;
  }

 private:
  // What programming_outside answers, after "ok ".
  static std::string Ask(const std::string& command) {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const absl::Cleanup close_socket = [fd] { close(fd); };
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(kOutsidePort);
    inet_pton(AF_INET, "10.0.2.100", &address.sin_addr);
    Need(connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0,
         "programming_outside cannot be reached");
    const std::string line = command + "\n";
    Need(write(fd, line.data(), line.size()) == static_cast<ssize_t>(line.size()), "write");
    std::string answer;
    char buffer[4096];
    ssize_t size = 0;
    while (answer.empty() || answer.back() != '\n') {
      size = read(fd, buffer, sizeof(buffer));
      Need(size > 0, "programming_outside has gone");
      answer.append(buffer, static_cast<size_t>(size));
    }
    absl::string_view text = absl::StripSuffix(answer, "\n");
    Need(absl::ConsumePrefix(&text, "ok "), absl::StrCat("outside: ", command, ": ", text));
    return std::string(text);
  }

  lab::ApiClient api_;
};

}  // namespace

std::unique_ptr<Source> MakeFeedSource() { return std::make_unique<FeedSource>(); }

std::unique_ptr<Source> MakeApiSource(const std::string& certificates) {
  return std::make_unique<ApiSource>(certificates);
}

}  // namespace fairlead::bench
