#include "watcher/kubernetes/small_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace fairlead::kubernetes {

absl::StatusOr<std::string> ReadSmallFile(const std::string& path) {
  const auto failed = [&path] { return absl::ErrnoToStatus(errno, "cannot read " + path); };
  // Not blocking, as a pipe that nobody writes to would.
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return failed();
  const absl::Cleanup close_file = [fd] { close(fd); };
  struct stat info;
  if (fstat(fd, &info) != 0) return failed();
  if (!S_ISREG(info.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat("cannot read ", path, ": it is no file"));
  }
  std::string text;
  for (;;) {
    char piece[16 << 10];
    const ssize_t size = read(fd, piece, sizeof piece);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return failed();
    if (size == 0) return text;
    text.append(piece, static_cast<size_t>(size));
    if (text.size() > kMaxSmallFileBytes) {
      return absl::ResourceExhaustedError(
          absl::StrCat("cannot read ", path, ": it is larger than ", kMaxSmallFileBytes, " bytes"));
    }
  }
}

}  // namespace fairlead::kubernetes
