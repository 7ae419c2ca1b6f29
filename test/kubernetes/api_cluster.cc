#include "test/kubernetes/api_cluster.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <random>
#include <sstream>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace fairlead::lab {
namespace {

using nlohmann::json;

constexpr char kApiServer[] = "kube-apiserver";
constexpr char kControllerManager[] = "kube-controller-manager";
constexpr char kEtcd[] = "etcd";

// Ports that the kernel gives to nobody's connections, so that a program that is started again
// finds its port free.
constexpr int kFirstPort = 20'000;
constexpr int kLastPort = 31'999;

bool IsFree(int port) {
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const absl::Cleanup close_socket = [socket] { ::close(socket); };
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return ::bind(socket, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
}

int FreePort() {
  std::random_device random;
  std::uniform_int_distribution<int> any(kFirstPort, kLastPort);
  int port = any(random);
  while (!IsFree(port)) port = any(random);
  return port;
}

std::string LastLines(const std::string& text) {
  constexpr size_t kBytes = 3000;
  return text.size() <= kBytes ? text : text.substr(text.size() - kBytes);
}

// YAML as kubectl writes it; the user is JSON, which is YAML too.
constexpr char kKubeconfig[] = R"(apiVersion: v1
kind: Config
clusters:
- name: test
  cluster:
    server: $server
    certificate-authority: $ca
contexts:
- name: test
  context:
    cluster: test
    user: test
current-context: test
users:
- name: test
  user: $user
)";

}  // namespace

absl::StatusOr<std::unique_ptr<ApiServerCluster>> ApiServerCluster::Start(
    ApiClusterOptions options) {
  std::unique_ptr<ApiServerCluster> cluster(new ApiServerCluster(std::move(options)));
  absl::Status started = cluster->Prepare();
  if (started.ok()) started = cluster->StartEtcd();
  if (started.ok()) started = cluster->StartApiServer();
  if (started.ok()) started = cluster->StartControllerManager();
  if (started.ok()) started = cluster->GrantFairleadUser();
  if (started.ok()) {
    // The Service that the API server makes for itself comes a little later, and would surprise.
    const char* path = "/api/v1/namespaces/default/services/kubernetes";
    started = cluster->Await(kApiServer, [&] { return cluster->admin_->Get(path).ok(); });
  }
  if (!started.ok()) return started;
  return cluster;
}

ApiServerCluster::~ApiServerCluster() {
  for (const char* name : {kControllerManager, kApiServer, kEtcd}) Kill(name);
  std::error_code ignored;
  if (!folder_.empty()) std::filesystem::remove_all(folder_, ignored);
}

std::string ApiServerCluster::url() const { return absl::StrCat("https://127.0.0.1:", api_port_); }

ipvs::RealServerKey ApiServerCluster::api_server() const {
  return {*IpAddress::Parse(options_.advertise_address), static_cast<uint16_t>(api_port_)};
}

absl::Status ApiServerCluster::Prepare() {
  if (options_.tools.empty()) {
    const char* tools = ::getenv("FAIRLEAD_TEST_TOOLS");
    if (tools == nullptr) {
      return absl::FailedPreconditionError(
          "FAIRLEAD_TEST_TOOLS is not set: it names the folder that test/tools/build prints");
    }
    options_.tools = tools;
  }
  for (const char* name : {kEtcd, kApiServer, kControllerManager}) {
    const std::string program = absl::StrCat(options_.tools, "/", name);
    if (::access(program.c_str(), X_OK) == 0) continue;
    return absl::FailedPreconditionError(
        absl::StrCat("there is no program ", program, " (test/tools/build makes it)"));
  }

  std::string folder = (std::filesystem::temp_directory_path() / "fairlead-api.XXXXXX").string();
  if (::mkdtemp(folder.data()) == nullptr) return absl::ErrnoToStatus(errno, folder);
  folder_ = folder;
  etcd_port_ = FreePort();
  etcd_peer_port_ = FreePort();
  api_port_ = FreePort();

  auto authority = CertificateAuthority::Create(folder_);
  if (!authority.ok()) return authority.status();
  authority_ = *std::move(authority);
  // 10.0.2.2 and 10.0.2.100 are what a guest of the lab may know this machine by; 10.96.0.1 is the
  // Service `kubernetes`.
  auto serving = authority_->Issue(
      {.name = "serving",
       .common_name = kApiServer,
       .alternative_names = {"DNS:localhost", "DNS:kubernetes.default.svc", "IP:127.0.0.1",
                             "IP:::1", "IP:10.0.2.2", "IP:10.0.2.100", "IP:10.96.0.1"}});
  auto service_account = authority_->Issue({.name = "service-account", .common_name = "tokens"});
  auto admin = authority_->Issue(
      {.name = "admin", .common_name = "admin", .organizations = {"system:masters"}});
  for (const auto& pair : {serving, service_account, admin}) {
    if (!pair.ok()) return pair.status();
  }
  admin_ = std::make_unique<ApiClient>(
      ApiClientOptions{.url = url(), .ca_file = authority_->certificate_file(), .client = *admin});
  etcd_ = std::make_unique<ApiClient>(
      ApiClientOptions{.url = absl::StrCat("http://127.0.0.1:", etcd_port_)});

  const std::string token = absl::StrCat("token-", std::random_device()());
  for (const absl::Status& status :
       {ReplaceFile(token_file(), token), SetTokens({{token, kFairleadUser}}),
        WriteKubeconfig(
            "admin", url(),
            {{"client-certificate", admin->certificate_file}, {"client-key", admin->key_file}})
            .status(),
        WriteKubeconfig("fairlead", url(), {{"tokenFile", token_file()}}).status()}) {
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> ApiServerCluster::WriteKubeconfig(const std::string& name,
                                                              const std::string& server,
                                                              const json& user) const {
  const std::string path = absl::StrCat(folder_, "/", name, ".kubeconfig");
  const absl::Status written =
      ReplaceFile(path, absl::StrReplaceAll(kKubeconfig, {{"$server", server},
                                                          {"$ca", authority_->certificate_file()},
                                                          {"$user", user.dump()}}));
  if (!written.ok()) return written;
  return path;
}

absl::Status ApiServerCluster::SetTokens(
    const std::map<std::string, std::string>& user_by_token) const {
  std::string text;
  for (const auto& [token, user] : user_by_token) {
    absl::StrAppend(&text, token, ",", user, ",", user, "\n");
  }
  return ReplaceFile(folder_ + "/tokens.csv", text);
}

absl::Status ApiServerCluster::StartProgram(const std::string& name,
                                            std::vector<std::string> arguments) {
  Kill(name);
  // setpriv becomes the program, so that the pid is the program's.
  std::vector<std::string> words = {"setpriv", "--pdeathsig", "KILL", "--",
                                    absl::StrCat(options_.tools, "/", name)};
  words.insert(words.end(), arguments.begin(), arguments.end());
  auto process =
      Process::Start({.words = words, .log_path = absl::StrCat(folder_, "/", name, ".log")});
  if (!process.ok()) return process.status();
  programs_[name] = *std::move(process);
  return absl::OkStatus();
}

absl::Status ApiServerCluster::Await(const std::string& name, const std::function<bool()>& ready) {
  Process& process = *programs_.at(name);
  bool ended = false;
  const bool in_time = WaitUntil(kPatience, [&] {
    ended = !process.running();
    return ended || ready();
  });
  if (in_time && !ended) return absl::OkStatus();
  const char* what = ended ? " has ended" : " is not ready";
  return absl::UnavailableError(
      absl::StrCat(name, what, "; the end of its log:\n", LastLines(process.Log())));
}

void ApiServerCluster::Kill(const std::string& name) {
  const auto found = programs_.find(name);
  if (found == programs_.end()) return;
  // One that has ended by itself is as good.
  found->second->Kill(SIGKILL).IgnoreError();
  found->second->Wait(Process::kGrace);
  programs_.erase(found);
}

void ApiServerCluster::KillEtcd() { Kill(kEtcd); }
void ApiServerCluster::KillApiServer() { Kill(kApiServer); }
void ApiServerCluster::KillControllerManager() { Kill(kControllerManager); }

absl::Status ApiServerCluster::StartEtcd() {
  const std::string clients = absl::StrCat("http://127.0.0.1:", etcd_port_);
  const std::string peers = absl::StrCat("http://127.0.0.1:", etcd_peer_port_);
  const absl::Status started = StartProgram(
      kEtcd, {"--name=test", "--data-dir=" + folder_ + "/etcd", "--listen-client-urls=" + clients,
              "--advertise-client-urls=" + clients, "--listen-peer-urls=" + peers,
              "--initial-advertise-peer-urls=" + peers, "--initial-cluster=test=" + peers,
              // A crash of the machine may lose everything.
              "--unsafe-no-fsync", "--log-level=warn"});
  if (!started.ok()) return started;
  return Await(kEtcd, [this] { return etcd_->GetText("/health").ok(); });
}

absl::Status ApiServerCluster::StartApiServer() {
  const auto file = [this](const char* name) { return absl::StrCat(folder_, "/", name); };
  const absl::Status started = StartProgram(
      kApiServer,
      {absl::StrCat("--etcd-servers=http://127.0.0.1:", etcd_port_), "--bind-address=127.0.0.1",
       absl::StrCat("--secure-port=", api_port_),
       "--advertise-address=" + options_.advertise_address,
       "--tls-cert-file=" + file("serving.crt"), "--tls-private-key-file=" + file("serving.key"),
       "--client-ca-file=" + file("ca.crt"), "--token-auth-file=" + file("tokens.csv"),
       "--authorization-mode=RBAC",
       // As nodes' own programs are, on every cluster.
       "--allow-privileged=true", "--service-account-issuer=https://kubernetes.default.svc",
       "--service-account-key-file=" + file("service-account.crt"),
       "--service-account-signing-key-file=" + file("service-account.key"),
       absl::StrCat("--service-cluster-ip-range=", kClusterIpRanges),
       // Pods have no service accounts, whose controller does not run, and Nodes no kubelet.
       "--disable-admission-plugins=ServiceAccount,TaintNodesByCondition",
       // Compact is for tests to call.
       "--etcd-compaction-interval=0", absl::StrCat("--watch-cache=", options_.watch_cache)});
  if (!started.ok()) return started;
  return Await(kApiServer, [this] { return admin_->GetText("/readyz").ok(); });
}

absl::Status ApiServerCluster::StartControllerManager() {
  return StartProgram(
      kControllerManager,
      {"--kubeconfig=" + admin_kubeconfig(), "--controllers=endpointslice-controller",
       "--leader-elect=false", "--secure-port=0",
       // By default it asks the API server 20 times a second, for which a large test would wait.
       "--kube-api-qps=1000", "--kube-api-burst=2000"});
}

absl::Status ApiServerCluster::GrantFairleadUser() {
  const json verbs = {"get", "list", "watch"};
  const json role = {
      {"metadata", {{"name", kFairleadUser}}},
      {"rules",
       {{{"apiGroups", {""}}, {"resources", {"services", "nodes"}}, {"verbs", verbs}},
        {{"apiGroups", {"discovery.k8s.io"}},
         {"resources", {"endpointslices"}},
         {"verbs", verbs}}}}};
  const json binding = {
      {"metadata", {{"name", kFairleadUser}}},
      {"roleRef",
       {{"apiGroup", "rbac.authorization.k8s.io"},
        {"kind", "ClusterRole"},
        {"name", kFairleadUser}}},
      {"subjects",
       {{{"apiGroup", "rbac.authorization.k8s.io"}, {"kind", "User"}, {"name", kFairleadUser}}}}};
  const std::string group = "/apis/rbac.authorization.k8s.io/v1";
  auto made = admin_->Post(group + "/clusterroles", role);
  if (made.ok()) made = admin_->Post(group + "/clusterrolebindings", binding);
  if (!made.ok()) return made.status();
  return AwaitRight(kFairleadUser, "nodes", true);
}

absl::Status ApiServerCluster::AwaitRight(const std::string& user, const std::string& resource,
                                          bool allowed) {
  const json review = {
      {"spec",
       {{"user", user}, {"resourceAttributes", {{"verb", "watch"}, {"resource", resource}}}}}};
  absl::Status asked;
  const bool in_time = WaitUntil(kPatience, [&] {
    auto answer = admin_->Post("/apis/authorization.k8s.io/v1/subjectaccessreviews", review);
    asked = answer.status();
    return !asked.ok() || answer->at("status").at("allowed") == allowed;
  });
  if (!asked.ok() || in_time) return asked;
  return absl::DeadlineExceededError(
      absl::StrCat("user ", user, " may ", allowed ? "not yet" : "still", " watch ", resource));
}

absl::StatusOr<int64_t> ApiServerCluster::Compact() {
  // Any question is answered with the present revision. Keys are base64.
  auto answer = etcd_->Post("/v3/kv/range", {{"key", "YQ=="}});
  if (!answer.ok()) return answer.status();
  const std::string revision = answer->at("header").at("revision");
  answer = etcd_->Post("/v3/kv/compaction", {{"revision", revision}, {"physical", true}});
  if (!answer.ok()) return answer.status();
  int64_t number = 0;
  if (!absl::SimpleAtoi(revision, &number)) return absl::DataLossError(revision);
  return number;
}

std::map<std::string, int64_t> ApiServerCluster::ResidentMemory() const {
  std::map<std::string, int64_t> bytes;
  for (const auto& [name, process] : programs_) {
    std::ifstream status(absl::StrCat("/proc/", process->pid(), "/status"));
    for (std::string line; std::getline(status, line);) {
      if (!absl::StartsWith(line, "VmRSS:")) continue;
      std::istringstream words(line.substr(6));
      int64_t kilobytes = 0;
      words >> kilobytes;
      bytes[name] = kilobytes * 1024;
    }
  }
  return bytes;
}

}  // namespace fairlead::lab
