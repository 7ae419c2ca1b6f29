#include "test/bench/feed_watcher.h"

#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <fstream>
#include <memory>
#include <stdexcept>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "test/bench/objects.h"
#include "watcher/feed/credentials.h"
#include "watcher/feed/feed_server.h"
#include "watcher/feed/journal.h"

namespace fairlead::bench {
namespace {

constexpr char kChange = 'c';
constexpr char kMeasure = 'm';

struct Ready {
  int port = 0;
  uint64_t revision = 0;
};

int64_t ResidentBytes() {
  std::ifstream statm("/proc/self/statm");
  int64_t size = 0;
  int64_t resident = 0;
  statm >> size >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

Usage OwnUsage() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return {
      .cpu = absl::DurationFromTimeval(usage.ru_utime) + absl::DurationFromTimeval(usage.ru_stime),
      .resident_bytes = ResidentBytes()};
}

template <typename T>
void Send(int socket, const T& value) {
  if (write(socket, &value, sizeof(value)) != sizeof(value)) _exit(1);
}

// Body of the process.
[[noreturn]] void Serve(int socket, const WatcherScale& scale, const std::string& certificates) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  Journal journal;
  for (int i = 0; i < scale.services; ++i) {
    journal.Upsert(MakeService(i), absl::Now());
    journal.Upsert(MakeSlice(i, scale.endpoints_per_service), absl::Now());
  }
  journal.MarkComplete();
  FeedServer feed(journal);
  std::shared_ptr<grpc::ServerCredentials> credentials = grpc::InsecureServerCredentials();
  if (!certificates.empty()) {
    auto made = MakeServerCredentials({.certificate = absl::StrCat(certificates, "/cert.pem"),
                                       .key = absl::StrCat(certificates, "/key.pem"),
                                       .authorities = absl::StrCat(certificates, "/ca.pem")});
    if (!made.ok()) {
      std::fprintf(stderr, "%s\n", made.status().ToString().c_str());
      _exit(1);
    }
    credentials = *std::move(made);
  }
  grpc::ServerBuilder builder;
  FeedServer::Configure(builder);
  Ready ready;
  builder.AddListeningPort("127.0.0.1:0", credentials, &ready.port);
  builder.RegisterService(&feed.service());
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  ready.revision = journal.head_revision();
  Send(socket, ready);
  int changes = 0;
  char command = 0;
  while (read(socket, &command, 1) == 1) {
    if (command == kMeasure) {
      Send(socket, OwnUsage());
      continue;
    }
    ++changes;
    const auto slice = MakeSlice(changes % scale.services, scale.endpoints_per_service, changes);
    MadeChange made{.at = absl::Now()};
    // Another Service each time, and another value each time round.
    journal.Upsert(slice, made.at);
    made.revision = journal.head_revision();
    Send(socket, made);
  }
  _exit(0);
}

}  // namespace

WatcherProcess::WatcherProcess(const WatcherScale& scale, const std::string& certificates) {
  int sockets[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0) {
    throw std::runtime_error("no socket pair");
  }
  std::fflush(nullptr);
  pid_ = fork();
  if (pid_ < 0) throw std::runtime_error("cannot fork");
  if (pid_ == 0) {
    close(sockets[0]);
    Serve(sockets[1], scale, certificates);
  }
  close(sockets[1]);
  socket_ = sockets[0];
  Ready ready;
  if (read(socket_, &ready, sizeof(ready)) != sizeof(ready) || ready.port == 0) {
    throw std::runtime_error("the watcher does not start");
  }
  address_ = absl::StrCat("127.0.0.1:", ready.port);
  revision_ = ready.revision;
}

WatcherProcess::~WatcherProcess() {
  close(socket_);
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

template <typename Answer>
Answer WatcherProcess::Ask(char command) {
  Answer answer;
  if (write(socket_, &command, 1) != 1 ||
      read(socket_, &answer, sizeof(answer)) != sizeof(answer)) {
    throw std::runtime_error("the watcher has ended");
  }
  return answer;
}

MadeChange WatcherProcess::Change() {
  const auto made = Ask<MadeChange>(kChange);
  revision_ = made.revision;
  return made;
}

Usage WatcherProcess::Measure() { return Ask<Usage>(kMeasure); }

}  // namespace fairlead::bench
