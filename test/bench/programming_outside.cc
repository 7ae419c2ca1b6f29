// programming_outside COMMAND ARG...
//
// Runs the command, which is programming_bench in the lab, and exits with its exit code. Beside it,
// on the machine outside, this does what takes an emulated machine too long: it fills the API
// server that the environment of with_api_server names, and changes endpoints for a minute. The
// command's environment has FAIRLEAD_OUTSIDE_PORT, on 127.0.0.1, which takes one line for each
// connection and answers with one, "ok …" or an error:
//
//   fill FROM TO ENDPOINTS           the crowd's Services FROM to TO - 1
//   flood SERVICES ENDPOINTS SECONDS kFloodChanges a second, in the background
//   await                            waits for its end; the answer has the changes in a second
#include <arpa/inet.h>
#include <netinet/in.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "test/bench/need.h"
#include "test/bench/programming_objects.h"
#include "test/kubernetes/api_client.h"
#include "test/kubernetes/objects.h"

extern char** environ;

namespace fairlead::bench {
namespace {

// An API server on a busy machine takes some hundred writes a second; endpoints share one.
constexpr int kChangesPerWrite = 5;
constexpr int kConnections = 4;

class Outside {
 public:
  explicit Outside(lab::ApiClientOptions api) : api_(std::move(api)) {}
  ~Outside() {
    if (flood_.joinable()) flood_.join();
  }

  std::string Carry(const std::string& line) {
    const std::vector<std::string> words = absl::StrSplit(line, ' ', absl::SkipWhitespace());
    std::vector<int> numbers(words.size());
    for (size_t i = 1; i < words.size(); ++i) {
      if (!absl::SimpleAtoi(words[i], &numbers[i])) return "not a number";
    }
    if (words.size() == 4 && words[0] == "fill") return Fill(numbers[1], numbers[2], numbers[3]);
    if (words.size() == 4 && words[0] == "flood") {
      if (flood_.joinable()) return "there is a flood already";
      flood_ = std::thread([=, this] { Flood(numbers[1], numbers[2], numbers[3]); });
      return "ok";
    }
    if (words.size() == 1 && words[0] == "await" && flood_.joinable()) {
      flood_.join();
      flood_ = std::thread();
      return status_.ok() ? absl::StrCat("ok ", rate_) : status_.ToString();
    }
    return "no such command";
  }

 private:
  std::string Fill(int from, int to, int endpoints) {
    std::vector<lab::ApiRequest> services;
    std::vector<lab::ApiRequest> slices;
    for (int i = from; i < to; ++i) {
      const BenchService service = CrowdService(i, endpoints);
      services.push_back({"POST", lab::kServicesPath, ApiService(service)});
      slices.push_back({"POST", kSlicesPath, ApiSlice(service)});
    }
    absl::Status sent = lab::SendAll(api_, services);
    if (sent.ok()) sent = lab::SendAll(api_, slices);
    return sent.ok() ? "ok " : sent.ToString();
  }

  void Flood(int services, int endpoints, int seconds) {
    const int flooded = std::min(services, kFloodServices);
    const int rate = kFloodChanges / kChangesPerWrite;
    const int writes = seconds * rate;
    const absl::Time start = absl::Now();
    status_ = absl::OkStatus();
    std::vector<std::thread> threads;
    for (int t = 0; t < kConnections; ++t) {
      threads.emplace_back([&, t] {
        lab::ApiClient api(api_);
        for (int i = t; i < writes; i += kConnections) {
          // A Service stays with its connection, so that its changes come in order.
          const int round = i / kConnections / (flooded / kConnections);
          const int number = i / kConnections % (flooded / kConnections) * kConnections + t;
          absl::SleepFor(start + i * absl::Seconds(1) / rate - absl::Now());
          Send(api, AfterVisits(number, endpoints, round + 1, kChangesPerWrite));
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    rate_ = writes * kChangesPerWrite / absl::ToDoubleSeconds(absl::Now() - start);
    lab::ApiClient api(api_);
    for (int i = 0; i < flooded; ++i) Send(api, CrowdService(i, endpoints));
  }

  void Send(lab::ApiClient& api, const BenchService& service) {
    const absl::Status sent = api.MergePatch(SlicePath(service), ApiEndpoints(service)).status();
    const std::lock_guard lock(mutex_);
    status_.Update(sent);
  }

  const lab::ApiClientOptions api_;
  std::thread flood_;
  std::mutex mutex_;
  absl::Status status_;
  double rate_ = 0;
};

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  Need(value != nullptr, absl::StrCat(name, " is not set: this runs beside with_api_server"));
  return value;
}

int Listen(int* port) {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  Need(bind(listener, reinterpret_cast<sockaddr*>(&address), size) == 0 &&
           listen(listener, 16) == 0 &&
           getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) == 0,
       "cannot listen");
  *port = ntohs(address.sin_port);
  return listener;
}

void Serve(int listener, Outside& outside) {
  while (true) {
    const int connection = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (connection < 0) return;
    std::string line;
    char letter = 0;
    while (read(connection, &letter, 1) == 1 && letter != '\n') line += letter;
    const std::string answer = outside.Carry(line) + " \n";
    if (send(connection, answer.data(), answer.size(), MSG_NOSIGNAL) < 0) {
      std::perror("programming_outside");
    }
    close(connection);
  }
}

int Main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: programming_outside COMMAND ARG...\n");
    return 2;
  }
  const std::string folder = Environment("FAIRLEAD_API_FOLDER");
  Outside outside(
      {.url = absl::StrCat("https://127.0.0.1:", Environment("FAIRLEAD_API_PORT")),
       .ca_file = folder + "/ca.crt",
       .client = {.certificate_file = folder + "/admin.crt", .key_file = folder + "/admin.key"}});
  int port = 0;
  const int listener = Listen(&port);
  std::thread server([&] { Serve(listener, outside); });
  setenv("FAIRLEAD_OUTSIDE_PORT", absl::StrCat(port).c_str(), 1);
  pid_t pid = -1;
  const int error = posix_spawnp(&pid, argv[1], nullptr, nullptr, argv + 1, environ);
  int status = 0;
  if (error == 0) {
    while (waitpid(pid, &status, 0) != pid) {
    }
  }
  shutdown(listener, SHUT_RDWR);
  server.join();
  close(listener);
  if (error != 0) {
    std::fprintf(stderr, "programming_outside: %s: %s\n", argv[1], std::strerror(error));
    return 125;
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace
}  // namespace fairlead::bench

int main(int argc, char** argv) {
  try {
    return fairlead::bench::Main(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "programming_outside: %s\n", error.what());
    return 125;
  }
}
