// with_api_server [--advertise ADDRESS] COMMAND ARG...
//
// Runs the command beside a Kubernetes API server and exits with its exit code. The command's
// environment has
//
//   FAIRLEAD_TEST_KUBECONFIG_ADMIN   a kubeconfig file of an administrator
//   FAIRLEAD_TEST_KUBECONFIG         one of a user that may only get, list and watch what Fairlead
//                               reads
//   FAIRLEAD_TEST_KUBECONFIG_GUEST   the same for a guest of the lab, which reaches the API server
//                               by test/lab/run --forward
//                               10.0.2.100:6443=127.0.0.1:$FAIRLEAD_API_PORT
//   FAIRLEAD_API_PORT           the API server's port on 127.0.0.1
//   FAIRLEAD_API_FOLDER         the folder with its certificates (ca.crt, admin.crt, admin.key)
//
// and FAIRLEAD_TEST_TOOLS as this program has it.
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>

#include <cstdio>
#include <cstring>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "test/kubernetes/api_cluster.h"

extern char** environ;

namespace fairlead::lab {
namespace {

constexpr int kUsage = 2;
constexpr int kFailed = 125;

int RunBeside(const ApiServerCluster& cluster, char** command) {
  const auto guest = cluster.WriteKubeconfig("guest", "https://10.0.2.100:6443",
                                             {{"tokenFile", cluster.token_file()}});
  if (!guest.ok()) {
    std::fprintf(stderr, "with_api_server: %s\n", guest.status().ToString().c_str());
    return kFailed;
  }
  ::setenv("FAIRLEAD_TEST_KUBECONFIG_GUEST", guest->c_str(), 1);
  ::setenv("FAIRLEAD_TEST_KUBECONFIG_ADMIN", cluster.admin_kubeconfig().c_str(), 1);
  ::setenv("FAIRLEAD_TEST_KUBECONFIG", cluster.fairlead_kubeconfig().c_str(), 1);
  ::setenv("FAIRLEAD_API_PORT", absl::StrCat(cluster.port()).c_str(), 1);
  ::setenv("FAIRLEAD_API_FOLDER", cluster.folder().c_str(), 1);
  // The terminal sends its signals to the command too, which decides what they mean.
  ::signal(SIGINT, SIG_IGN);
  ::signal(SIGTERM, SIG_IGN);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t defaults;
  sigemptyset(&defaults);
  sigaddset(&defaults, SIGINT);
  sigaddset(&defaults, SIGTERM);
  posix_spawnattr_setsigdefault(&attributes, &defaults);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
  pid_t pid = -1;
  const int error = ::posix_spawnp(&pid, command[0], nullptr, &attributes, command, environ);
  posix_spawnattr_destroy(&attributes);
  if (error != 0) {
    std::fprintf(stderr, "with_api_server: %s: %s\n", command[0], std::strerror(error));
    return kFailed;
  }
  int status = 0;
  while (::waitpid(pid, &status, 0) != pid) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int Main(int argc, char** argv) {
  ApiClusterOptions options;
  char** command = argv + 1;
  if (argc > 2 && std::strcmp(argv[1], "--advertise") == 0) {
    options.advertise_address = argv[2];
    command += 2;
  }
  if (*command == nullptr || **command == '-') {
    std::fprintf(stderr, "usage: with_api_server [--advertise ADDRESS] COMMAND ARG...\n");
    return kUsage;
  }
  const absl::Time start = absl::Now();
  auto cluster = ApiServerCluster::Start(options);
  if (!cluster.ok()) {
    std::fprintf(stderr, "with_api_server: %s\n", cluster.status().ToString().c_str());
    return kFailed;
  }
  std::fprintf(
      stderr, "with_api_server: ready after %s\n",
      absl::FormatDuration(absl::Trunc(absl::Now() - start, absl::Milliseconds(100))).c_str());
  return RunBeside(**cluster, command);
}

}  // namespace
}  // namespace fairlead::lab

int main(int argc, char** argv) { return fairlead::lab::Main(argc, argv); }
