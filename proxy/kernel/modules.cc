#include "proxy/kernel/modules.h"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace fairlead {

std::vector<std::string> NeededModules() {
  return {"ip_vs", "nf_conntrack", "nf_conntrack_netlink", "nf_tables"};
}

std::vector<std::string> ModulesToLoad(absl::string_view scheduler) {
  std::vector<std::string> modules = NeededModules();
  for (const char* name : {"nft_chain_nat", "nft_ct", "nft_fib_inet", "nft_masq", "nft_reject_inet",
                           // Affinity to external addresses needs it.
                           "ip_vs_mh"}) {
    modules.emplace_back(name);
  }
  if (scheduler != "mh") modules.push_back(absl::StrCat("ip_vs_", scheduler));
  return modules;
}

absl::Status LoadModules(absl::Span<const std::string> modules, const std::string& program) {
  std::vector<std::string> words = {"modprobe", "--all", "--"};
  words.insert(words.end(), modules.begin(), modules.end());
  std::vector<char*> arguments;
  arguments.reserve(words.size() + 1);
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  pid_t pid = 0;
  const int error =
      posix_spawnp(&pid, program.c_str(), nullptr, nullptr, arguments.data(), environ);
  if (error != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("cannot run the program ", program, " (package kmod): ", strerror(error)));
  }
  int end = 0;
  while (waitpid(pid, &end, 0) < 0) {
    if (errno != EINTR) return absl::InternalError(absl::StrCat("waitpid: ", strerror(errno)));
  }
  if (WIFEXITED(end) && WEXITSTATUS(end) == 0) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat(program, " did not load all of ", absl::StrJoin(modules, " ")));
}

}  // namespace fairlead
