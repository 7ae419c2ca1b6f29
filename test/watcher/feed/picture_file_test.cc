#include "watcher/feed/picture_file.h"

#include <openssl/evp.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <csignal>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "test/watcher/feed/objects.h"
#include "test/watcher/feed/temporary_folder.h"

namespace fairlead {
namespace {

using feed_test::MakeNode;
using feed_test::MakeService;
using feed_test::MakeSlice;
using feed_test::Random;
using feed_test::RandomObject;
using feed_test::ReadFile;
using feed_test::TemporaryFolder;
using feed_test::WriteFile;

const FeedPosition kPosition{"epoch", 7};
const absl::Time kSaved = absl::FromUnixSeconds(1'700'000'000) + absl::Nanoseconds(5);

std::vector<Object> SomeObjects() {
  return {MakeService("cart", 1), MakeSlice("cart-1", "cart", 2), MakeNode("n1", "zone")};
}

// A folder and a path in it for a picture.
struct Place {
  TemporaryFolder folder;
  std::string path = folder.path() + "/picture";

  std::vector<std::string> Files() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
      names.push_back(entry.path().filename().string());
    }
    std::sort(names.begin(), names.end());
    return names;
  }
  // What loading says, with the folder left out.
  std::string Outcome() const {
    return absl::StrReplaceAll(LoadPicture(path).status().ToString(), {{folder.path() + "/", ""}});
  }
};

bool SameObjects(const std::vector<Object>& a, const std::vector<Object>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), SameValue);
}

TEST_CASE("A picture comes back as it was saved, whatever is in it") {
  Random random(1);
  for (int round = 0; round < 50; ++round) {
    INFO("round " << round);
    const Place place;
    std::vector<Object> objects;
    for (int i = 0; i < round; ++i) {
      objects.push_back(RandomObject(random, absl::StrCat("object-", i)));
    }
    const FeedPosition position{std::string(static_cast<size_t>(round) * 5, 'e'), random()};
    REQUIRE(SavePicture(place.path, position, kSaved, objects).ok());
    const absl::StatusOr<SavedPicture> loaded = LoadPicture(place.path);
    REQUIRE(loaded.ok());
    CHECK(loaded->position == position);
    CHECK(loaded->saved == kSaved);
    CHECK(SameObjects(loaded->objects, objects));
  }
}

TEST_CASE("The file is the owner's alone, and nothing is left beside it") {
  const Place place;
  WriteFile(place.path + ".new", "of a process that was killed");
  REQUIRE(SavePicture(place.path, kPosition, kSaved, SomeObjects()).ok());
  CHECK(place.Files() == std::vector<std::string>{"picture"});
  struct stat about;
  REQUIRE(stat(place.path.c_str(), &about) == 0);
  CHECK((about.st_mode & 07777) == 0600);

  WriteFile(place.path + ".new", "of another one");
  RemoveTemporaryPicture(place.path);
  CHECK(place.Files() == std::vector<std::string>{"picture"});
}

TEST_CASE("The file's layout is the documented one") {
  const Place place;
  REQUIRE(SavePicture(place.path, {"ab", 0x0102}, absl::FromUnixNanos(0x0304), {}).ok());
  const std::string bytes = ReadFile(place.path);
  const char expected[] =
      "fairlead"
      "\0\0\0\1"
      "\0\0\0\0\0\0\3\4"
      "\0\0\0\0\0\0\1\2"
      "\0\0\0\2"
      "ab"
      "\0\0\0\0\0\0\0";
  CHECK(bytes.substr(0, sizeof(expected)) == std::string(expected, sizeof(expected)));
  CHECK(bytes.size() == sizeof(expected) + 32);
}

TEST_CASE("A file that was cut anywhere is refused") {
  const Place place;
  REQUIRE(SavePicture(place.path, kPosition, kSaved, SomeObjects()).ok());
  const std::string whole = ReadFile(place.path);
  for (size_t length = 0; length < whole.size(); ++length) {
    WriteFile(place.path, whole.substr(0, length));
    INFO(length << " of " << whole.size() << " bytes");
    CHECK(LoadPicture(place.path).status().code() == absl::StatusCode::kDataLoss);
  }
  WriteFile(place.path, whole + '\0');
  CHECK(LoadPicture(place.path).status().code() == absl::StatusCode::kDataLoss);
}

TEST_CASE("A file with a flipped bit is refused") {
  const Place place;
  REQUIRE(SavePicture(place.path, kPosition, kSaved, SomeObjects()).ok());
  const std::string whole = ReadFile(place.path);
  for (size_t bit = 0; bit < whole.size() * 8; ++bit) {
    std::string flipped = whole;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
    WriteFile(place.path, flipped);
    INFO("bit " << bit % 8 << " of byte " << bit / 8);
    // The version is what it is, right or not.
    const bool version = bit / 8 >= 8 && bit / 8 < 12;
    CHECK(LoadPicture(place.path).status().code() ==
          (version ? absl::StatusCode::kFailedPrecondition : absl::StatusCode::kDataLoss));
  }
}

// A file of `bytes` and their checksum.
void WriteSealed(const std::string& path, const std::string& bytes) {
  std::string checksum(32, '\0');
  REQUIRE(EVP_Digest(bytes.data(), bytes.size(), reinterpret_cast<unsigned char*>(checksum.data()),
                     nullptr, EVP_sha256(), nullptr) == 1);
  WriteFile(path, bytes + checksum);
}

TEST_CASE("What a file is refused for, though its checksum is right") {
  struct Row {
    std::string name;
    size_t offset;
    std::string bytes;
    std::string outcome;
  };
  const Row rows[] = {
      {"nothing is changed", 0, "fairlead", "OK"},
      {"magic", 0, "Fairlead", "DATA_LOSS: saved picture picture: is no saved picture"},
      {"version", 8, std::string("\0\0\0\2", 4),
       "FAILED_PRECONDITION: saved picture picture: is of version 2, this program reads version 1"},
      {"length of the epoch", 28, "\x7f\xff\xff\xff",
       "DATA_LOSS: saved picture picture: its epoch is too long"},
      {"more objects than there are", 37, "\x7f\xff\xff\xff",
       "DATA_LOSS: saved picture picture: is cut short"},
      {"fewer objects than there are", 37, std::string("\0\0\0\0\0\0\0\1", 8),
       "DATA_LOSS: saved picture picture: goes on after its last object"},
      {"length of an object beyond the limit", 45, "\x7f\xff\xff\xff",
       "DATA_LOSS: saved picture picture: holds an object that is too large"},
      {"length of an object beyond the file", 45, std::string("\x03\0\0\0", 4),
       "DATA_LOSS: saved picture picture: is cut short"},
      {"an object that cannot be parsed", 49, std::string(14, '\x08'),
       "DATA_LOSS: saved picture picture: holds what is no object"},
  };
  for (const Row& row : rows) {
    INFO(row.name);
    const Place place;
    REQUIRE(SavePicture(place.path, kPosition, kSaved, SomeObjects()).ok());
    std::string bytes = ReadFile(place.path);
    bytes.resize(bytes.size() - 32);
    bytes.replace(row.offset, row.bytes.size(), row.bytes);
    WriteSealed(place.path, bytes);
    CHECK(place.Outcome() == row.outcome);
  }
}

TEST_CASE("What is no file is refused") {
  const Place place;
  CHECK(place.Outcome() ==
        "NOT_FOUND: saved picture picture: cannot be opened: No such file or directory");
  std::filesystem::create_directory(place.path);
  CHECK(place.Outcome() == "INVALID_ARGUMENT: saved picture picture: is no file: Invalid argument");
}

TEST_CASE("A refused file is set aside, and one of them is kept") {
  const Place place;
  WriteFile(place.path, "first");
  REQUIRE(SetAside(place.path).ok());
  WriteFile(place.path, "second");
  REQUIRE(SetAside(place.path).ok());
  CHECK(place.Files() == std::vector<std::string>{"picture.damaged"});
  CHECK(ReadFile(place.path + ".damaged") == "second");
  CHECK(SetAside(place.path).code() == absl::StatusCode::kNotFound);
}

// Lets no file of this process grow beyond a size, as a full disk would.
class SizeLimit {
 public:
  explicit SizeLimit(rlim_t bytes) : former_handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &former_);
    rlimit limit = former_;
    limit.rlim_cur = bytes;
    REQUIRE(setrlimit(RLIMIT_FSIZE, &limit) == 0);
  }
  ~SizeLimit() {
    setrlimit(RLIMIT_FSIZE, &former_);
    std::signal(SIGXFSZ, former_handler_);
  }
  SizeLimit(const SizeLimit&) = delete;
  SizeLimit& operator=(const SizeLimit&) = delete;

 private:
  rlimit former_;
  void (*const former_handler_)(int);
};

TEST_CASE("The old file stays whole when there is no room for the new one") {
  const Place place;
  REQUIRE(SavePicture(place.path, kPosition, kSaved, SomeObjects()).ok());
  const std::string before = ReadFile(place.path);
  std::vector<Object> many;
  for (int i = 0; i < 5'000; ++i) many.push_back(MakeService(absl::StrCat("service-", i)));
  absl::Status status;
  {
    const SizeLimit limit(100'000);
    status = SavePicture(place.path, {"epoch", 8}, kSaved, many);
  }
  CHECK(absl::StrReplaceAll(status.ToString(), {{place.folder.path() + "/", ""}}) ==
        "OUT_OF_RANGE: saved picture picture.new: cannot be written: File too large");
  CHECK(place.Files() == std::vector<std::string>{"picture"});
  CHECK(ReadFile(place.path) == before);
  CHECK(SavePicture(place.path, {"epoch", 8}, kSaved, many).ok());
  CHECK(LoadPicture(place.path)->objects.size() == 5'000);
}

TEST_CASE("A folder that is not there is an error that names the file") {
  const Place place;
  const std::string path = place.folder.path() + "/missing/picture";
  const absl::Status status = SavePicture(path, kPosition, kSaved, SomeObjects());
  CHECK(status.ToString() == absl::StrCat("NOT_FOUND: saved picture ", path,
                                          ".new: cannot be created: No such file or directory"));
}

TEST_CASE("A limit is a limit") {
  const Place place;
  const std::string longest(kMaxPictureEpochBytes, 'e');
  CHECK(SavePicture(place.path, {longest, 1}, kSaved, {}).ok());
  CHECK(LoadPicture(place.path)->position == FeedPosition{longest, 1});
  CHECK(SavePicture(place.path, {longest + "e", 1}, kSaved, {}).code() ==
        absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace fairlead
