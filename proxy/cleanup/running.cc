#include "proxy/cleanup/running.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace fairlead {
namespace {

namespace fs = std::filesystem;

// What the kernel keeps of a name (TASK_COMM_LEN - 1).
constexpr size_t kMaxName = 15;

// "net:[4026531840]"; empty where it may not be seen.
std::string NetworkOf(const std::string& process) {
  std::error_code error;
  return fs::read_symlink(process + "/ns/net", error).string();
}

}  // namespace

absl::StatusOr<bool> IsAgentRunning(const std::string& socket_path) {
  sockaddr_un address{};
  if (socket_path.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError(absl::StrCat("--socket: ", socket_path,
                                                   " is too long: at most ",
                                                   sizeof(address.sun_path) - 1, " bytes"));
  }
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, socket_path.data(), socket_path.size());
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return absl::ErrnoToStatus(errno, "socket");
  const bool answers = connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
  const int error = errno;
  close(fd);
  if (answers) return true;
  if (error == ENOENT || error == ENOTDIR || error == ECONNREFUSED) return false;
  return absl::ErrnoToStatus(error, absl::StrCat("--socket: ", socket_path));
}

std::optional<int> FindProgram(absl::string_view name, absl::string_view proc_root) {
  const std::string root(proc_root);
  const std::string own = NetworkOf(root + "/thread-self");
  std::error_code error;
  for (auto entry = fs::directory_iterator(root, error);
       !error && entry != fs::directory_iterator(); entry.increment(error)) {
    const std::string process = entry->path().string();
    int pid = 0;
    if (!absl::SimpleAtoi(entry->path().filename().string(), &pid)) continue;
    std::string running;
    std::getline(std::ifstream(process + "/comm") >> std::ws, running);
    if (running != name.substr(0, kMaxName)) continue;
    const std::string network = NetworkOf(process);
    if (network.empty() || network == own) return pid;
  }
  return std::nullopt;
}

}  // namespace fairlead
