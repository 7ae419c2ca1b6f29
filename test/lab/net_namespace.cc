#include "test/lab/net_namespace.h"

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"

namespace fairlead::lab {
namespace {

constexpr char kFolder[] = "/run/netns";
constexpr char kOwnNamespace[] = "/proc/thread-self/ns/net";

void Check(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "lab: %s: %s\n", what, std::strerror(errno));
  std::abort();
}

absl::Status BringLoopbackUp() {
  const int socket = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (socket < 0) return absl::ErrnoToStatus(errno, "socket");
  const absl::Cleanup close_socket = [socket] { ::close(socket); };
  ifreq request = {};
  std::strcpy(request.ifr_name, "lo");
  request.ifr_flags = IFF_UP;
  if (::ioctl(socket, SIOCSIFFLAGS, &request) != 0) return absl::ErrnoToStatus(errno, "lo up");
  return absl::OkStatus();
}

// Moves the calling thread into a new namespace and gives that the name `path`.
absl::StatusOr<int> MakeHere(const std::string& path) {
  if (::unshare(CLONE_NEWNET) != 0) return absl::ErrnoToStatus(errno, "unshare");
  if (absl::Status status = BringLoopbackUp(); !status.ok()) return status;
  if (::mount(kOwnNamespace, path.c_str(), nullptr, MS_BIND, nullptr) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("mount on ", path));
  }
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return absl::ErrnoToStatus(errno, absl::StrCat("open ", path));
  return fd;
}

void RemoveName(const std::string& path) {
  ::umount2(path.c_str(), MNT_DETACH);
  ::unlink(path.c_str());
}

}  // namespace

absl::StatusOr<std::unique_ptr<NetNamespace>> NetNamespace::Create(absl::string_view name) {
  const std::string path = absl::StrCat(kFolder, "/", name);
  ::mkdir(kFolder, 0755);
  RemoveName(path);
  const int file = ::open(path.c_str(), O_RDONLY | O_CREAT | O_CLOEXEC, 0644);
  if (file < 0) return absl::ErrnoToStatus(errno, absl::StrCat("create ", path));
  ::close(file);

  // A thread that is thrown away afterwards need not find its way back.
  absl::StatusOr<int> fd;
  std::thread([&] { fd = MakeHere(path); }).join();
  if (!fd.ok()) {
    RemoveName(path);
    return absl::Status(fd.status().code(),
                        absl::StrCat("namespace ", name, ": ", fd.status().message()));
  }
  return std::unique_ptr<NetNamespace>(new NetNamespace(std::string(name), *fd));
}

NetNamespace::~NetNamespace() {
  ::close(fd_);
  RemoveName(absl::StrCat(kFolder, "/", name_));
}

absl::Status NetNamespace::SetSysctl(absl::string_view key, absl::string_view value) const {
  const std::string path = absl::StrCat("/proc/sys/", absl::StrReplaceAll(key, {{".", "/"}}));
  return Run([&]() -> absl::Status {
    const int fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
    if (fd < 0) return absl::ErrnoToStatus(errno, absl::StrCat(name_, ": ", path));
    const ssize_t written = ::write(fd, value.data(), value.size());
    const int error = errno;
    ::close(fd);
    if (written < 0) return absl::ErrnoToStatus(error, absl::StrCat(name_, ": ", path));
    return absl::OkStatus();
  });
}

NetNamespace::Visit::Visit(int fd) : home_(::open(kOwnNamespace, O_RDONLY | O_CLOEXEC)) {
  Check(home_ >= 0, "open own network namespace");
  Check(::setns(fd, CLONE_NEWNET) == 0, "enter network namespace");
}

NetNamespace::Visit::~Visit() {
  const int error = errno;  // the visitor may want to look at it
  Check(::setns(home_, CLONE_NEWNET) == 0, "return from network namespace");
  ::close(home_);
  errno = error;
}

}  // namespace fairlead::lab
