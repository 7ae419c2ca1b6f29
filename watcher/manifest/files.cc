#include "watcher/manifest/files.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <system_error>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace fairlead::manifest {
namespace {

// As it reads in "cannot be read: …".
absl::Status ErrnoStatus(int error) {
  return absl::Status(absl::ErrnoToStatusCode(error), std::generic_category().message(error));
}

// One walk through a folder.
class Lister {
 public:
  explicit Lister(Listing* listing) : listing_(*listing) {}

  // The folder's own failure, where `depth` is 0; below, it is noted.
  absl::Status ListFolder(const std::string& path, int depth);

 private:
  void ListEntry(const std::string& path, const std::string& name, int depth);

  Listing& listing_;
  std::set<std::pair<dev_t, ino_t>> seen_;
};

absl::Status Lister::ListFolder(const std::string& path, int depth) {
  const int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return ErrnoStatus(errno);
  DIR* folder = fdopendir(fd);
  if (folder == nullptr) {
    const int error = errno;
    close(fd);
    return ErrnoStatus(error);
  }
  const auto closer = absl::MakeCleanup([&] { closedir(folder); });
  struct stat stat;
  if (fstat(fd, &stat) != 0) return ErrnoStatus(errno);
  if (depth == 0) listing_.device = stat.st_dev;
  // A folder that is reached twice, by links, holds the same files.
  if (!seen_.insert({stat.st_dev, stat.st_ino}).second) return absl::OkStatus();
  std::set<std::string> names;  // Sorted: which way a folder is reached first must not vary.
  for (;;) {
    errno = 0;
    const dirent* entry = readdir(folder);
    if (entry == nullptr && errno != 0) return ErrnoStatus(errno);
    if (entry == nullptr) break;
    if (entry->d_name[0] != '.') names.insert(entry->d_name);
  }
  listing_.folders.insert(path);
  for (const std::string& name : names) ListEntry(path, name, depth);
  return absl::OkStatus();
}

void Lister::ListEntry(const std::string& path, const std::string& name, int depth) {
  const std::string entry_path = path == "/" ? "/" + name : absl::StrCat(path, "/", name);
  struct stat stat;
  const bool found = ::stat(entry_path.c_str(), &stat) == 0;
  if (found && S_ISDIR(stat.st_mode)) {
    if (depth >= kMaxFolderDepth) {
      listing_.unreadable.emplace_back(
          entry_path, absl::ResourceExhaustedError(
                          absl::StrCat("more than ", kMaxFolderDepth, " folders deep")));
      return;
    }
    absl::Status status = ListFolder(entry_path, depth + 1);
    // Gone since the folder was read: as if it had gone before.
    if (!status.ok() && !absl::IsNotFound(status)) {
      listing_.unreadable.emplace_back(entry_path, std::move(status));
    }
    return;
  }
  if (!IsManifestName(name) || (found && !S_ISREG(stat.st_mode))) return;
  if (listing_.files.size() >= kMaxFiles) {
    listing_.too_many_files = true;
    return;
  }
  listing_.files.insert(entry_path);  // Whether it can be read is found out in time.
}

// Whether somebody has the file open for writing: the kernel grants no read lease then (fcntl(2)).
// The lease is given back at once; should a writer come in between, the signal that it breaks the
// lease with is one that is ignored unless somebody asks for it.
bool IsOpenForWriting(int fd) {
  if (fcntl(fd, F_SETSIG, SIGURG) != 0) return false;
  if (fcntl(fd, F_SETLEASE, F_RDLCK) == 0) {
    fcntl(fd, F_SETLEASE, F_UNLCK);
    return false;
  }
  return errno == EAGAIN;
}

bool SameVersion(const struct stat& a, const struct stat& b) {
  return a.st_size == b.st_size && a.st_mtim.tv_sec == b.st_mtim.tv_sec &&
         a.st_mtim.tv_nsec == b.st_mtim.tv_nsec;
}

absl::Status WriteAll(int fd, absl::string_view content) {
  while (!content.empty()) {
    const ssize_t written = write(fd, content.data(), content.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return ErrnoStatus(errno);
    content.remove_prefix(static_cast<size_t>(written));
  }
  return fsync(fd) == 0 ? absl::OkStatus() : ErrnoStatus(errno);
}

absl::Status SyncFolder(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return ErrnoStatus(errno);
  const int result = fsync(fd);
  const int error = errno;
  close(fd);
  return result == 0 ? absl::OkStatus() : ErrnoStatus(error);
}

}  // namespace

bool IsManifestName(absl::string_view name) {
  return !name.empty() && name[0] != '.' &&
         (absl::EndsWith(name, ".yaml") || absl::EndsWith(name, ".yml") ||
          absl::EndsWith(name, ".json"));
}

Listing ListPath(const std::string& path) {
  Listing listing;
  struct stat stat;
  if (::stat(path.c_str(), &stat) != 0) {
    listing.status = ErrnoStatus(errno);
  } else if (S_ISDIR(stat.st_mode)) {
    listing.is_folder = true;
    listing.status = Lister(&listing).ListFolder(path, 0);
  } else if (S_ISREG(stat.st_mode)) {
    listing.device = stat.st_dev;
    listing.files.insert(path);
  } else {
    listing.status = absl::InvalidArgumentError("is neither a file nor a folder");
  }
  if (!listing.status.ok()) {
    listing.files.clear();
    listing.folders.clear();
  }
  return listing;
}

absl::StatusOr<uint64_t> FolderDevice(const std::string& path) {
  struct stat stat;
  if (::stat(path.c_str(), &stat) != 0) return ErrnoStatus(errno);
  if (!S_ISDIR(stat.st_mode)) return ErrnoStatus(ENOTDIR);
  return uint64_t{stat.st_dev};
}

absl::StatusOr<std::string> ReadManifest(const std::string& path, size_t max_bytes) {
  // Not to hang on a pipe that took the file's place.
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd < 0) return ErrnoStatus(errno);
  const auto closer = absl::MakeCleanup([fd] { close(fd); });
  struct stat before;
  if (fstat(fd, &before) != 0) return ErrnoStatus(errno);
  if (!S_ISREG(before.st_mode)) return absl::InvalidArgumentError("is not a regular file");
  if (IsOpenForWriting(fd)) return absl::UnavailableError("is being written");
  std::string content;
  for (;;) {
    constexpr size_t kChunk = 1 << 16;
    const size_t size = content.size();
    if (size > max_bytes) {
      return absl::OutOfRangeError(absl::StrCat("is larger than ", max_bytes >> 20, " MiB"));
    }
    content.resize(size + kChunk);
    const ssize_t got = read(fd, content.data() + size, kChunk);
    content.resize(size + (got > 0 ? static_cast<size_t>(got) : 0));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return ErrnoStatus(errno);
    if (got == 0) break;
  }
  struct stat after;
  if (fstat(fd, &after) != 0) return ErrnoStatus(errno);
  if (!SameVersion(before, after) || IsOpenForWriting(fd)) {
    return absl::UnavailableError("is being written");
  }
  return content;
}

absl::Status RenameFile(const std::string& from, const std::string& to) {
  return rename(from.c_str(), to.c_str()) == 0 ? absl::OkStatus() : ErrnoStatus(errno);
}

absl::Status WriteFileAtomically(const std::string& path, absl::string_view content) {
  const std::string folder = FolderOf(path);
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return ErrnoStatus(error.value());
  const std::string temporary = path + ".new";
  const int fd =
      open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return ErrnoStatus(errno);
  absl::Status status = WriteAll(fd, content);
  if (close(fd) != 0 && status.ok()) status = ErrnoStatus(errno);
  if (status.ok()) status = RenameFile(temporary, path);
  if (!status.ok()) {
    unlink(temporary.c_str());
    return status;
  }
  return SyncFolder(folder);
}

std::string NormalizePath(const std::string& path) {
  std::string normal = std::filesystem::path(path).lexically_normal().string();
  while (normal.size() > 1 && normal.back() == '/') normal.pop_back();
  return normal;
}

std::string FolderOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace fairlead::manifest
