// The feed's transport security, over connections on loopback.
#include "watcher/feed/credentials.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <mutex>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "fairlead/v1/feed.grpc.pb.h"
#include "fairlead/v1/inspect.grpc.pb.h"
#include "test/watcher/feed/certificates.h"
#include "test/watcher/feed/objects.h"

namespace fairlead {
namespace {

using feed_test::Authority;
using feed_test::kBound;
using feed_test::KeyPair;
using feed_test::MountedSecret;
using feed_test::Signal;

// So that files are followed as fast as they can be.
const absl::Duration kInterval = absl::Seconds(1);

// Answers with the callback API, as the feed does, and remembers the last caller's names. A Status
// is answered with the server's; a List stays open.
class NamingService final : public v1::Inspect::CallbackService {
 public:
  grpc::ServerUnaryReactor* Status(grpc::CallbackServerContext* context, const v1::StatusRequest*,
                                   v1::StatusResponse*) override {
    {
      std::lock_guard lock(mutex_);
      names_ = NamesOf(*context->auth_context());
    }
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }

  // One virtual server at once, and another one after Release.
  grpc::ServerWriteReactor<v1::VirtualServer>* List(grpc::CallbackServerContext*,
                                                    const v1::ListRequest*) override {
    auto* stream = new OpenStream();
    std::lock_guard lock(mutex_);
    open_ = stream;
    return stream;
  }

  void Release() {
    std::lock_guard lock(mutex_);
    open_->Release();
  }

  PeerNames names() const {
    std::lock_guard lock(mutex_);
    return names_;
  }

 private:
  class OpenStream final : public grpc::ServerWriteReactor<v1::VirtualServer> {
   public:
    OpenStream() { StartWrite(&message_); }
    void Release() { StartWriteAndFinish(&message_, {}, grpc::Status::OK); }
    void OnWriteDone(bool /*ok*/) override {}
    void OnDone() override { delete this; }

   private:
    v1::VirtualServer message_;
  };

  mutable std::mutex mutex_;
  PeerNames names_;
  OpenStream* open_ = nullptr;
};

class Server {
 public:
  explicit Server(std::shared_ptr<grpc::ServerCredentials> credentials)
      : credentials_(std::move(credentials)) {
    grpc::ServerBuilder builder;
    builder.RegisterService(&service_);
    builder.AddListeningPort("127.0.0.1:0", credentials_, &port_);
    server_ = builder.BuildAndStart();
    REQUIRE(port_ != 0);
  }
  ~Server() { server_->Shutdown(std::chrono::system_clock::now()); }

  NamingService& service() { return service_; }

  // A channel with a connection of its own.
  std::shared_ptr<grpc::Channel> Connect(
      const std::shared_ptr<grpc::ChannelCredentials>& credentials,
      const std::string& server_name = "watcher.example") const {
    grpc::ChannelArguments arguments = FeedChannelArguments();
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 50);
    arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 50);
    arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 200);
    if (!server_name.empty()) arguments.SetSslTargetNameOverride(server_name);
    return grpc::CreateCustomChannel(absl::StrCat("127.0.0.1:", port_), credentials, arguments);
  }

 private:
  const std::shared_ptr<grpc::ServerCredentials> credentials_;
  NamingService service_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

grpc::Status Call(const std::shared_ptr<grpc::Channel>& channel, bool wait = false) {
  grpc::ClientContext context;
  context.set_wait_for_ready(wait);
  context.set_deadline(std::chrono::system_clock::now() + kBound);
  v1::StatusResponse response;
  return v1::Inspect::NewStub(channel)->Status(&context, {}, &response);
}

std::shared_ptr<grpc::ServerCredentials> ServerSide(const MountedSecret& secret) {
  auto credentials = MakeServerCredentials(secret.files(), {.interval = kInterval});
  REQUIRE(credentials.ok());
  return *std::move(credentials);
}

std::shared_ptr<grpc::ChannelCredentials> AgentSide(const MountedSecret& secret) {
  auto credentials = MakeChannelCredentials(secret.files(), {.interval = kInterval});
  REQUIRE(credentials.ok());
  return *std::move(credentials);
}

KeyPair IssueWatcher(const Authority& authority) {
  return authority.Issue({.common_name = "watcher", .dns_names = {"watcher.example"}});
}

TEST_CASE("Each end accepts the certificates of its authorities, and refuses what else there is") {
  struct Row {
    std::string name;
    KeyPair server;
    std::string server_trusts;
    KeyPair agent;
    std::string agent_trusts;
    std::string server_name;
    bool accepted;
  };
  const Authority ours("ours");
  const Authority theirs("theirs");
  const KeyPair server = IssueWatcher(ours);
  const KeyPair agent = ours.Issue({.common_name = "n1"});
  const absl::Time past = absl::Now() - absl::Minutes(1);
  const feed_test::CertificateRequest expired_server{
      .common_name = "watcher", .dns_names = {"watcher.example"}, .expires = past};
  const std::string ca = ours.certificate();
  const std::string other_ca = theirs.certificate();
  const Row rows[] = {
      {"both good", server, ca, agent, ca, "watcher.example", true},
      {"of two authorities each", server, ca + other_ca, agent, other_ca + ca, "watcher.example",
       true},
      {"agent of an authority that the server does not know", server, ca,
       theirs.Issue({.common_name = "n1"}), ca, "watcher.example", false},
      {"server of an authority that the agent does not know", server, ca, agent, other_ca,
       "watcher.example", false},
      {"agent's certificate has expired", server, ca,
       ours.Issue({.common_name = "n1", .expires = past}), ca, "watcher.example", false},
      {"server's certificate has expired", ours.Issue(expired_server), ca, agent, ca,
       "watcher.example", false},
      {"server of another name", server, ca, agent, ca, "elsewhere.example", false},
      {"server whose certificate is not for its address", server, ca, agent, ca, "", false},
  };
  for (const Row& row : rows) {
    INFO(row.name);
    const MountedSecret server_secret(row.server, row.server_trusts);
    const MountedSecret agent_secret(row.agent, row.agent_trusts);
    const Server watcher(ServerSide(server_secret));
    const grpc::Status status = Call(watcher.Connect(AgentSide(agent_secret), row.server_name));
    INFO(status.error_message());
    CHECK(status.error_code() ==
          (row.accepted ? grpc::StatusCode::OK : grpc::StatusCode::UNAVAILABLE));
  }
}

TEST_CASE("An agent without a certificate is refused, and one without TLS too") {
  const Authority authority("ca");
  const MountedSecret secret(IssueWatcher(authority), authority.certificate());
  const Server watcher(ServerSide(secret));
  const auto anonymous = grpc::SslCredentials({.pem_root_certs = authority.certificate()});
  CHECK(Call(watcher.Connect(anonymous)).error_code() == grpc::StatusCode::UNAVAILABLE);
  CHECK(Call(watcher.Connect(grpc::InsecureChannelCredentials(), "")).error_code() ==
        grpc::StatusCode::UNAVAILABLE);
}

TEST_CASE("The server reads the names in the agent's certificate") {
  const Authority authority("ca");
  const MountedSecret secret(IssueWatcher(authority), authority.certificate());
  const MountedSecret agent(
      authority.Issue({.common_name = "system:node:n1", .dns_names = {"n1", "n1.example"}}),
      authority.certificate());
  Server watcher(ServerSide(secret));
  REQUIRE(Call(watcher.Connect(AgentSide(agent))).ok());
  CHECK(watcher.service().names() == PeerNames{"system:node:n1", {"n1", "n1.example"}});
}

TEST_CASE("Without TLS there are no names") {
  Server watcher(grpc::InsecureServerCredentials());
  REQUIRE(Call(watcher.Connect(grpc::InsecureChannelCredentials(), "")).ok());
  CHECK(watcher.service().names() == PeerNames());
}

// The call waits while the channel tries to connect, again and again.
grpc::Status CallOnceConnected(const std::shared_ptr<grpc::Channel>& channel) {
  return Call(channel, /*wait=*/true);
}

TEST_CASE("A replaced certificate is used for new connections while an open stream goes on") {
  const Authority old_authority("old");
  const Authority new_authority("new");
  MountedSecret secret(IssueWatcher(old_authority), old_authority.certificate());
  const MountedSecret old_agent(old_authority.Issue({.common_name = "n1"}),
                                old_authority.certificate());
  const MountedSecret new_agent(new_authority.Issue({.common_name = "n2"}),
                                new_authority.certificate());
  Server watcher(ServerSide(secret));

  const auto old_channel = watcher.Connect(AgentSide(old_agent));
  grpc::ClientContext context;
  const auto stub = v1::Inspect::NewStub(old_channel);
  const auto stream = stub->List(&context, {});
  v1::VirtualServer message;
  REQUIRE(stream->Read(&message));

  secret.Replace(IssueWatcher(new_authority), new_authority.certificate());
  const auto new_credentials = AgentSide(new_agent);
  CHECK(CallOnceConnected(watcher.Connect(new_credentials)).ok());
  CHECK_FALSE(Call(watcher.Connect(AgentSide(old_agent))).ok());

  watcher.service().Release();
  CHECK(stream->Read(&message));
  CHECK_FALSE(stream->Read(&message));
  CHECK(stream->Finish().ok());
}

TEST_CASE("An agent's replaced certificate is used for its next connection") {
  const Authority authority("ca");
  const Authority unknown("unknown");
  const MountedSecret secret(IssueWatcher(authority), authority.certificate());
  MountedSecret agent(unknown.Issue({.common_name = "before"}), authority.certificate());
  Server watcher(ServerSide(secret));
  const auto credentials = AgentSide(agent);
  const auto channel = watcher.Connect(credentials);
  CHECK_FALSE(Call(channel).ok());
  agent.Replace(authority.Issue({.common_name = "after"}), authority.certificate());
  CHECK(CallOnceConnected(channel).ok());
  CHECK(watcher.service().names() == PeerNames{"after", {}});
}

TEST_CASE("A bad replacement is told once and changes nothing, until a good one comes") {
  const Authority authority("ca");
  const KeyPair first = IssueWatcher(authority);
  const KeyPair second =
      authority.Issue({.common_name = "second", .dns_names = {"second.example"}});
  MountedSecret secret(first, authority.certificate());
  const MountedSecret agent(authority.Issue({.common_name = "n1"}), authority.certificate());
  Signal signal;
  std::mutex mutex;
  std::vector<absl::StatusCode> told;
  const auto told_so_far = [&] {
    std::lock_guard lock(mutex);
    return told;
  };
  auto credentials = MakeServerCredentials(
      secret.files(), {.interval = kInterval, .on_change = [&](const absl::Status& status) {
                         {
                           std::lock_guard lock(mutex);
                           told.push_back(status.code());
                         }
                         signal.Raise();
                       }});
  REQUIRE(credentials.ok());
  Server watcher(*credentials);
  const auto agent_side = AgentSide(agent);

  secret.Replace({second.certificate, first.key}, authority.certificate());
  REQUIRE(signal.Await([&] { return told_so_far().size() == 1; }));
  CHECK(Call(watcher.Connect(agent_side)).ok());

  secret.Replace(second, authority.certificate());
  REQUIRE(signal.Await([&] { return told_so_far().size() == 2; }));
  CHECK(CallOnceConnected(watcher.Connect(agent_side, "second.example")).ok());
  CHECK(told_so_far() == std::vector{absl::StatusCode::kInvalidArgument, absl::StatusCode::kOk});
}

TEST_CASE("Files that cannot be used at the start are an error") {
  const TlsFiles none{.certificate = "/nonexistent/tls.crt", .key = "", .authorities = ""};
  const std::string message =
      "NOT_FOUND: the certificate /nonexistent/tls.crt: cannot be opened: No such file or "
      "directory";
  CHECK(MakeServerCredentials(none).status().ToString() == message);
  CHECK(MakeChannelCredentials(none).status().ToString() == message);
}

TEST_CASE("Who may call itself which node") {
  struct Row {
    std::string name;
    PeerNames names;
    std::string node;
    bool allowed;
  };
  const Row rows[] = {
      {"common name", {"n1", {}}, "n1", true},
      {"the kubelet's common name", {"system:node:n1", {}}, "n1", true},
      {"DNS name", {"agent", {"n0", "n1"}}, "n1", true},
      {"another common name", {"n2", {}}, "n1", false},
      {"another kubelet's", {"system:node:n2", {}}, "n1", false},
      {"common name that begins alike", {"n10", {}}, "n1", false},
      {"common name that ends alike", {"a.n1", {}}, "n1", false},
      {"DNS name below the node's", {"", {"n1.example"}}, "n1", false},
      {"wildcard", {"*", {"*", "*.example"}}, "n1.example", false},
      {"kubelet's name as a DNS name", {"", {"system:node:n1"}}, "n1", false},
      {"prefix alone", {"system:node:", {}}, "", false},
      {"no names", {"", {}}, "n1", false},
      {"no names, no node", {"", {""}}, "", false},
      {"a zero byte after the name", {std::string("n1\0x", 4), {}}, "n1", false},
      {"capital letters", {"N1", {"N1"}}, "n1", false},
  };
  for (const Row& row : rows) {
    INFO(row.name);
    CHECK(MayBeNode(row.names, row.node) == row.allowed);
  }
}

}  // namespace
}  // namespace fairlead
