#include "watcher/feed/picture_file.h"

#include <endian.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "fairlead/v1/feed.pb.h"
#include "watcher/feed/feed_codec.h"

namespace fairlead {
namespace {

constexpr absl::string_view kMagic = "fairlead";
constexpr size_t kChecksumBytes = 32;
constexpr size_t kBufferBytes = 64 << 10;

std::string TemporaryPath(const std::string& path) { return path + ".new"; }

std::string FolderOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

absl::Status Fails(int error, const std::string& path, absl::string_view what) {
  return absl::ErrnoToStatus(error, absl::StrCat("saved picture ", path, ": ", what));
}

class Checksum {
 public:
  Checksum() { EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr); }
  void Add(absl::string_view bytes) {
    EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size());
  }
  std::string Finish() {
    std::string digest(kChecksumBytes, '\0');
    EVP_DigestFinal_ex(context_.get(), reinterpret_cast<unsigned char*>(digest.data()), nullptr);
    return digest;
  }

 private:
  struct Free {
    void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
  };
  std::unique_ptr<EVP_MD_CTX, Free> context_{EVP_MD_CTX_new()};
};

// Collects what is written into large pieces. After the first error nothing more is written.
class Writer {
 public:
  Writer(int descriptor, const std::string& path) : descriptor_(descriptor), path_(path) {}

  void Add(absl::string_view bytes) {
    buffer_.append(bytes.data(), bytes.size());
    if (buffer_.size() >= kBufferBytes) Flush();
  }
  void Add32(uint32_t value) {
    value = htobe32(value);
    Add({reinterpret_cast<const char*>(&value), sizeof(value)});
  }
  void Add64(uint64_t value) {
    value = htobe64(value);
    Add({reinterpret_cast<const char*>(&value), sizeof(value)});
  }

  absl::Status Finish() {
    Flush();
    buffer_ = checksum_.Finish();
    Flush();
    return status_;
  }

  const absl::Status& status() const { return status_; }

 private:
  void Flush() {
    checksum_.Add(buffer_);
    absl::string_view rest = buffer_;
    while (status_.ok() && !rest.empty()) {
      const ssize_t length = write(descriptor_, rest.data(), rest.size());
      if (length >= 0) {
        rest.remove_prefix(static_cast<size_t>(length));
      } else if (errno != EINTR) {
        status_ = Fails(errno, path_, "cannot be written");
      }
    }
    buffer_.clear();
  }

  const int descriptor_;
  const std::string& path_;
  std::string buffer_;
  Checksum checksum_;
  absl::Status status_;
};

// Hands out a file's bytes in order. What it says is wrong is DATA_LOSS, or the error of a system
// call.
class Reader {
 public:
  // `size` is the file's.
  Reader(int descriptor, const std::string& path, uint64_t size)
      : descriptor_(descriptor), path_(path), size_(size), rest_(size) {}

  // Without the last bytes of the file, which are its checksum.
  absl::StatusOr<std::string> Take(uint64_t length) {
    if (rest_ < kChecksumBytes || length > rest_ - kChecksumBytes) return Damaged("is cut short");
    return Read(length);
  }
  absl::StatusOr<uint32_t> Take32() {
    const absl::StatusOr<std::string> bytes = Take(sizeof(uint32_t));
    if (!bytes.ok()) return bytes.status();
    uint32_t value;
    std::memcpy(&value, bytes->data(), sizeof(value));
    return be32toh(value);
  }
  absl::StatusOr<uint64_t> Take64() {
    const absl::StatusOr<std::string> bytes = Take(sizeof(uint64_t));
    if (!bytes.ok()) return bytes.status();
    uint64_t value;
    std::memcpy(&value, bytes->data(), sizeof(value));
    return be64toh(value);
  }

  // Whether the file ends with the checksum of what is before it, all from its beginning. Then goes
  // on from where it was.
  absl::Status CheckSum() {
    const uint64_t place = size_ - rest_;
    if (absl::Status status = Seek(0); !status.ok()) return status;
    Checksum checksum;
    while (rest_ > kChecksumBytes) {
      const absl::StatusOr<std::string> piece =
          Read(std::min<uint64_t>(kBufferBytes, rest_ - kChecksumBytes));
      if (!piece.ok()) return piece.status();
      checksum.Add(*piece);
    }
    const absl::StatusOr<std::string> expected = Read(rest_);
    if (!expected.ok()) return expected.status();
    if (*expected != checksum.Finish()) return Damaged("its checksum is wrong");
    return Seek(place);
  }

  // Whether only the checksum is left.
  bool AtEnd() const { return rest_ == kChecksumBytes; }

  absl::Status Damaged(absl::string_view what) const {
    return absl::DataLossError(absl::StrCat("saved picture ", path_, ": ", what));
  }

 private:
  absl::Status Seek(uint64_t place) {
    if (lseek(descriptor_, static_cast<off_t>(place), SEEK_SET) < 0) {
      return Fails(errno, path_, "cannot be read");
    }
    begin_ = end_ = 0;
    rest_ = size_ - place;
    return absl::OkStatus();
  }

  absl::StatusOr<std::string> Read(uint64_t length) {
    std::string bytes(length, '\0');
    size_t done = 0;
    while (done < bytes.size()) {
      if (begin_ == end_) {
        const ssize_t got = read(descriptor_, buffer_.get(), kBufferBytes);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return Fails(errno, path_, "cannot be read");
        if (got == 0) return Damaged("is cut short");
        begin_ = 0;
        end_ = static_cast<size_t>(got);
      }
      const size_t piece = std::min(end_ - begin_, bytes.size() - done);
      std::memcpy(bytes.data() + done, buffer_.get() + begin_, piece);
      begin_ += piece;
      done += piece;
    }
    rest_ -= length;
    return bytes;
  }

  const int descriptor_;
  const std::string& path_;
  const uint64_t size_;
  // After what was taken.
  uint64_t rest_;
  const std::unique_ptr<char[]> buffer_ = std::make_unique<char[]>(kBufferBytes);
  size_t begin_ = 0;
  size_t end_ = 0;
};

absl::Status WriteAll(Writer& writer, const std::string& path, const FeedPosition& position,
                      absl::Time when, const std::vector<Object>& objects) {
  if (position.epoch.size() > kMaxPictureEpochBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("saved picture ", path, ": an epoch of ", position.epoch.size(), " bytes"));
  }
  writer.Add(kMagic);
  writer.Add32(kPictureFileVersion);
  writer.Add64(static_cast<uint64_t>(absl::ToUnixNanos(when)));
  writer.Add64(position.revision);
  writer.Add32(static_cast<uint32_t>(position.epoch.size()));
  writer.Add(position.epoch);
  writer.Add64(objects.size());
  for (const Object& object : objects) {
    const std::string bytes =
        EncodeChange(object, position.revision, absl::InfinitePast()).SerializeAsString();
    if (bytes.size() > kMaxPictureObjectBytes) {
      return absl::InvalidArgumentError(absl::StrCat(
          "saved picture ", path, ": ", IdOf(object).Format(), " has ", bytes.size(), " bytes"));
    }
    writer.Add32(static_cast<uint32_t>(bytes.size()));
    writer.Add(bytes);
    if (!writer.status().ok()) break;
  }
  return writer.Finish();
}

// A rename is on the disk when the folder is.
absl::Status SyncFolder(const std::string& path) {
  const std::string folder = FolderOf(path);
  const int descriptor = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return Fails(errno, path, "its folder cannot be opened");
  const absl::Cleanup closing = [&] { close(descriptor); };
  if (fsync(descriptor) != 0) return Fails(errno, path, "its folder cannot be brought to the disk");
  return absl::OkStatus();
}

absl::StatusOr<Object> TakeObject(Reader& reader) {
  const absl::StatusOr<uint32_t> length = reader.Take32();
  if (!length.ok()) return length.status();
  if (*length > kMaxPictureObjectBytes) return reader.Damaged("holds an object that is too large");
  const absl::StatusOr<std::string> bytes = reader.Take(*length);
  if (!bytes.ok()) return bytes.status();
  v1::Change message;
  if (!message.ParseFromString(*bytes)) return reader.Damaged("holds what is no object");
  absl::StatusOr<DecodedChange> change = DecodeChange(message);
  if (!change.ok()) return reader.Damaged(change.status().message());
  if (!change->object) return reader.Damaged("holds a removal");
  return *std::move(change->object);
}

absl::StatusOr<SavedPicture> ReadAll(Reader& reader, const std::string& path) {
  const absl::StatusOr<std::string> magic = reader.Take(kMagic.size());
  if (!magic.ok()) return magic.status();
  if (*magic != kMagic) return reader.Damaged("is no saved picture");
  const absl::StatusOr<uint32_t> version = reader.Take32();
  if (!version.ok()) return version.status();
  if (*version != kPictureFileVersion) {
    return absl::FailedPreconditionError(absl::StrCat("saved picture ", path, ": is of version ",
                                                      *version, ", this program reads version ",
                                                      kPictureFileVersion));
  }
  // Nothing else is looked at before it is known to be as it was written.
  if (absl::Status status = reader.CheckSum(); !status.ok()) return status;
  const absl::StatusOr<uint64_t> saved = reader.Take64();
  if (!saved.ok()) return saved.status();
  const absl::StatusOr<uint64_t> revision = reader.Take64();
  if (!revision.ok()) return revision.status();
  const absl::StatusOr<uint32_t> epoch_length = reader.Take32();
  if (!epoch_length.ok()) return epoch_length.status();
  if (*epoch_length > kMaxPictureEpochBytes) return reader.Damaged("its epoch is too long");
  absl::StatusOr<std::string> epoch = reader.Take(*epoch_length);
  if (!epoch.ok()) return epoch.status();
  const absl::StatusOr<uint64_t> count = reader.Take64();
  if (!count.ok()) return count.status();

  SavedPicture picture{.position = {*std::move(epoch), *revision},
                       .saved = absl::FromUnixNanos(static_cast<int64_t>(*saved))};
  for (uint64_t i = 0; i < *count; ++i) {
    absl::StatusOr<Object> object = TakeObject(reader);
    if (!object.ok()) return object.status();
    picture.objects.push_back(*std::move(object));
  }
  if (!reader.AtEnd()) return reader.Damaged("goes on after its last object");
  return picture;
}

}  // namespace

absl::Status SavePicture(const std::string& path, const FeedPosition& position, absl::Time when,
                         const std::vector<Object>& objects) {
  RemoveTemporaryPicture(path);
  const std::string temporary = TemporaryPath(path);
  const int descriptor = open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (descriptor < 0) return Fails(errno, temporary, "cannot be created");
  absl::Cleanup removing = [&] { unlink(temporary.c_str()); };
  absl::Cleanup closing = [&] { close(descriptor); };
  Writer writer(descriptor, temporary);
  if (absl::Status status = WriteAll(writer, temporary, position, when, objects); !status.ok()) {
    return status;
  }
  if (fsync(descriptor) != 0) return Fails(errno, temporary, "cannot be brought to the disk");
  std::move(closing).Cancel();
  if (close(descriptor) != 0) return Fails(errno, temporary, "cannot be closed");
  if (rename(temporary.c_str(), path.c_str()) != 0) return Fails(errno, path, "cannot be replaced");
  std::move(removing).Cancel();
  return SyncFolder(path);
}

absl::StatusOr<SavedPicture> LoadPicture(const std::string& path) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return Fails(errno, path, "cannot be opened");
  const absl::Cleanup closing = [&] { close(descriptor); };
  struct stat about;
  if (fstat(descriptor, &about) != 0) return Fails(errno, path, "cannot be looked at");
  if (!S_ISREG(about.st_mode)) return Fails(EINVAL, path, "is no file");
  Reader reader(descriptor, path, static_cast<uint64_t>(about.st_size));
  return ReadAll(reader, path);
}

absl::Status SetAside(const std::string& path) {
  if (rename(path.c_str(), absl::StrCat(path, ".damaged").c_str()) != 0) {
    return Fails(errno, path, "cannot be set aside");
  }
  return absl::OkStatus();
}

void RemoveTemporaryPicture(const std::string& path) { unlink(TemporaryPath(path).c_str()); }

}  // namespace fairlead
