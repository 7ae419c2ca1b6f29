#include "network_namespace.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <cstdio>

namespace fairlead {

NetworkNamespace::NetworkNamespace() : outer_(open("/proc/thread-self/ns/net", O_RDONLY)) {
  REQUIRE(outer_ >= 0);
  REQUIRE(unshare(CLONE_NEWNET) == 0);
  Run("ip link set lo up");
}

NetworkNamespace::~NetworkNamespace() {
  setns(outer_, CLONE_NEWNET);
  close(outer_);
}

bool CanUseNetworkNamespaces() {
  const pid_t child = fork();
  if (child == 0) _exit(unshare(CLONE_NEWNET) == 0 ? 0 : 1);
  int end = 0;
  return child > 0 && waitpid(child, &end, 0) == child && end == 0;
}

std::string Run(const std::string& command) {
  FILE* const pipe = popen((command + " 2>&1").c_str(), "r");
  REQUIRE(pipe != nullptr);
  std::string output;
  std::array<char, 4096> buffer;
  while (const size_t size = fread(buffer.data(), 1, buffer.size(), pipe)) {
    output.append(buffer.data(), size);
  }
  INFO(command << "\n" << output);
  REQUIRE(pclose(pipe) == 0);
  return output;
}

}  // namespace fairlead
