#include "watcher/manifest/manifest_source.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <functional>
#include <mutex>

#include "absl/strings/str_cat.h"
#include "test/watcher/manifest/testing.h"

namespace fairlead {
namespace {

using manifest::OptionsFor;
using manifest::ServiceYaml;
using manifest::TemporaryFolder;
using Names = std::set<std::string>;

// How long a test waits for what is to happen before it fails.
constexpr auto kPatience = std::chrono::seconds(10);

// Nothing is found by looking: what these tests see, they were told by the kernel.
FollowTimes TestTimes() {
  return {.quiet = absl::Milliseconds(20),
          .patience = absl::Milliseconds(200),
          .retry = absl::Milliseconds(20),
          .audit = absl::InfiniteDuration()};
}

Names Services(const Reading& reading) {
  Names names;
  for (const auto& [id, object] : reading.picture) {
    if (id.kind == ObjectKind::kService) names.insert(id.name.name.str());
  }
  return names;
}

// A source at work, and what it said.
class Following {
 public:
  explicit Following(ManifestOptions options, FollowTimes times = TestTimes())
      : source_(std::move(options), times) {
    spdlog::set_level(spdlog::level::off);
    const absl::Status status = source_.Start([this](const Reading& reading) {
      const std::lock_guard<std::mutex> lock(mutex_);
      last_ = reading;
      all_.push_back(Services(reading));
      changed_.notify_all();
    });
    REQUIRE(status.ok());
  }

  // Whether the last reading is as it should be, within the time.
  bool WaitFor(const std::function<bool(const Reading&)>& wanted) {
    std::unique_lock<std::mutex> lock(mutex_);
    return changed_.wait_for(lock, kPatience, [&] { return !all_.empty() && wanted(last_); });
  }
  bool WaitForServices(const Names& names) {
    const bool came = WaitFor([&](const Reading& reading) { return Services(reading) == names; });
    if (!came)
      UNSCOPED_INFO("the last Services were " << Catch::Detail::stringify(Services(last())));
    return came;
  }

  Reading last() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return last_;
  }
  // The Services of all readings so far.
  std::vector<Names> all() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return all_;
  }
  void Stop() { source_.Stop(); }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  Reading last_;
  std::vector<Names> all_;
  ManifestSource source_;  // Last: its thread uses the others.
};

TEST_CASE("what happens in a folder is followed") {
  TemporaryFolder folder;
  folder.Write("a.yaml", ServiceYaml("a"));
  folder.Write("sub/b.yaml", ServiceYaml("b"));
  Following following(OptionsFor({folder.path()}));
  REQUIRE(following.WaitForServices({"a", "b"}));
  CHECK(following.last().complete);

  folder.Write("c.yaml", ServiceYaml("c"));
  CHECK(following.WaitForServices({"a", "b", "c"}));
  folder.Write("a.yaml", ServiceYaml("a2"));
  CHECK(following.WaitForServices({"a2", "b", "c"}));
  folder.Write("tmp", ServiceYaml("b2"));
  std::filesystem::rename(folder.File("tmp"), folder.File("sub/b.yaml"));
  CHECK(following.WaitForServices({"a2", "b2", "c"}));
  std::filesystem::rename(folder.File("c.yaml"), folder.File("c.off"));
  CHECK(following.WaitForServices({"a2", "b2"}));
  folder.Remove("a.yaml");
  CHECK(following.WaitForServices({"b2"}));
  folder.Write("new/deeper/d.yaml", ServiceYaml("d"));
  CHECK(following.WaitForServices({"b2", "d"}));
  folder.Write("new/deeper/d.yaml", ServiceYaml("d2"));
  CHECK(following.WaitForServices({"b2", "d2"}));
  folder.Remove("new");
  CHECK(following.WaitForServices({"b2"}));
  following.Stop();
  following.Stop();
}

TEST_CASE("a half-written file is not read, whatever else happens") {
  TemporaryFolder folder;
  folder.Write("a.yaml", ServiceYaml("a") + ServiceYaml("b"));
  Following following(OptionsFor({folder.path()}));
  REQUIRE(following.WaitForServices({"a", "b"}));

  // Half of it is valid on its own.
  const int writer = open(folder.File("a.yaml").c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC);
  const std::string half = ServiceYaml("a");
  CHECK(write(writer, half.data(), half.size()) == static_cast<ssize_t>(half.size()));
  folder.Write("c.yaml", ServiceYaml("c"));
  CHECK(following.WaitForServices({"a", "b", "c"}));
  folder.Write("sub/d.yaml", ServiceYaml("d"));  // A new folder: all paths are gone through.
  CHECK(following.WaitForServices({"a", "b", "c", "d"}));
  const std::string rest = ServiceYaml("b2");
  CHECK(write(writer, rest.data(), rest.size()) == static_cast<ssize_t>(rest.size()));
  close(writer);
  CHECK(following.WaitForServices({"a", "b2", "c", "d"}));
  for (const Names& names : following.all()) {
    CHECK(names.count("a") == 1);
    CHECK(names.count("b") + names.count("b2") == 1);
  }
}

TEST_CASE("many changes at a time are few readings") {
  TemporaryFolder folder;
  FollowTimes times = TestTimes();
  times.quiet = absl::Milliseconds(300);
  times.patience = absl::Seconds(5);
  Following following(OptionsFor({folder.path()}), times);
  REQUIRE(following.WaitForServices({}));
  Names names;
  for (int i = 0; i < 100; ++i) {
    names.insert(absl::StrCat("s", i));
    folder.Write(absl::StrCat("f", i, ".yaml"), ServiceYaml(absl::StrCat("s", i)));
  }
  CHECK(following.WaitForServices(names));
  CHECK(following.all().size() < 10);
}

TEST_CASE("changes that never end are read all the same") {
  TemporaryFolder folder;
  FollowTimes times = TestTimes();
  times.quiet = absl::Hours(1);
  Following following(OptionsFor({folder.path()}), times);
  REQUIRE(following.WaitForServices({}));
  folder.Write("a.yaml", ServiceYaml("a"));
  CHECK(following.WaitForServices({"a"}));
}

TEST_CASE("nothing is said where nothing has changed") {
  TemporaryFolder folder;
  folder.Write("a.yaml", ServiceYaml("a"));
  Following following(OptionsFor({folder.path()}));
  REQUIRE(following.WaitForServices({"a"}));
  folder.Write("a.yaml", ServiceYaml("a"));            // The same text,
  folder.Write("a.yaml", "# x\n" + ServiceYaml("a"));  // and the same meaning.
  folder.Write("z.yaml", ServiceYaml("z"));
  REQUIRE(following.WaitForServices({"a", "z"}));
  CHECK(following.all() == std::vector<Names>{{"a"}, {"a", "z"}});
}

TEST_CASE("a folder that vanishes keeps its objects until it is back") {
  TemporaryFolder parent;
  parent.Write("m/a.yaml", ServiceYaml("a"));
  Following following(OptionsFor({parent.File("m")}));
  REQUIRE(following.WaitForServices({"a"}));
  std::filesystem::rename(parent.File("m"), parent.File("away"));
  CHECK(following.WaitFor([](const Reading& reading) { return reading.problems.size() == 1; }));
  CHECK(Services(following.last()) == Names{"a"});
  parent.Write("m.new/b.yaml", ServiceYaml("b"));
  std::filesystem::rename(parent.File("m.new"), parent.File("m"));
  CHECK(following.WaitForServices({"b"}));
  CHECK(following.last().problems.empty());
  parent.Write("m/c.yaml", ServiceYaml("c"));  // It is the new folder that is followed.
  CHECK(following.WaitForServices({"b", "c"}));
}

TEST_CASE("a folder that is deleted with its files keeps its objects") {
  TemporaryFolder parent;
  for (int i = 0; i < 5; ++i) {
    parent.Write(absl::StrCat("m/", i, ".yaml"), ServiceYaml(absl::StrCat("s", i)));
  }
  FollowTimes times = TestTimes();
  times.quiet = absl::Milliseconds(300);  // Longer than it takes to delete all, however slowly.
  times.patience = absl::Seconds(5);
  Following following(OptionsFor({parent.File("m")}), times);
  const Names names = {"s0", "s1", "s2", "s3", "s4"};
  REQUIRE(following.WaitForServices(names));
  parent.Remove("m");
  CHECK(following.WaitFor([](const Reading& reading) { return reading.problems.size() == 1; }));
  for (const Names& seen : following.all()) CHECK(seen == names);
}

TEST_CASE("a folder that comes late is found") {
  TemporaryFolder parent;
  Following following(OptionsFor({parent.File("x/y/m")}));
  REQUIRE(following.WaitFor([](const Reading& reading) { return !reading.complete; }));
  parent.Write("x/y/m/a.yaml", ServiceYaml("a"));
  CHECK(following.WaitForServices({"a"}));
  CHECK(following.last().complete);
}

TEST_CASE("a ConfigMap's volume is followed") {
  TemporaryFolder folder;
  folder.Write("..1/a.yaml", ServiceYaml("a"));
  std::filesystem::create_directory_symlink("..1", folder.File("..data"));
  std::filesystem::create_symlink("..data/a.yaml", folder.File("a.yaml"));
  Following whole(OptionsFor({folder.path()}));
  Following one_file(OptionsFor({folder.File("a.yaml")}));
  REQUIRE(whole.WaitForServices({"a"}));
  REQUIRE(one_file.WaitForServices({"a"}));
  folder.Write("..2/a.yaml", ServiceYaml("a2"));
  std::filesystem::create_directory_symlink("..2", folder.File("..data_tmp"));
  std::filesystem::rename(folder.File("..data_tmp"), folder.File("..data"));
  folder.Remove("..1");
  CHECK(whole.WaitForServices({"a2"}));
  CHECK(one_file.WaitForServices({"a2"}));
}

TEST_CASE("a given file is followed when it is replaced") {
  TemporaryFolder folder;
  folder.Write("one.conf", ServiceYaml("a"));
  Following following(OptionsFor({folder.File("one.conf")}));
  REQUIRE(following.WaitForServices({"a"}));
  folder.Write("one.conf", ServiceYaml("b"));
  CHECK(following.WaitForServices({"b"}));
  folder.Write("tmp", ServiceYaml("c"));
  std::filesystem::rename(folder.File("tmp"), folder.File("one.conf"));
  CHECK(following.WaitForServices({"c"}));
  folder.Remove("one.conf");
  CHECK(following.WaitFor([](const Reading& reading) { return reading.problems.size() == 1; }));
  CHECK(Services(following.last()) == Names{"c"});
  folder.Write("one.conf", ServiceYaml("d"));
  CHECK(following.WaitForServices({"d"}));
}

TEST_CASE("a link to a given folder is followed when it leads elsewhere") {
  TemporaryFolder folder;
  folder.Write("v1/a.yaml", ServiceYaml("a"));
  folder.Write("v2/a.yaml", ServiceYaml("a2"));
  std::filesystem::create_directory_symlink("v1", folder.File("current"));
  Following following(OptionsFor({folder.File("current")}));
  REQUIRE(following.WaitForServices({"a"}));
  std::filesystem::create_directory_symlink("v2", folder.File("tmp"));
  std::filesystem::rename(folder.File("tmp"), folder.File("current"));
  CHECK(following.WaitForServices({"a2"}));
  folder.Write("v2/b.yaml", ServiceYaml("b"));
  CHECK(following.WaitForServices({"a2", "b"}));
}

TEST_CASE("what nobody tells is found by looking") {
  TemporaryFolder folder;
  TemporaryFolder elsewhere;
  elsewhere.Write("a.yaml", ServiceYaml("a"));
  std::filesystem::create_symlink(elsewhere.File("a.yaml"), folder.File("a.yaml"));
  FollowTimes times = TestTimes();
  times.audit = absl::Milliseconds(20);
  Following following(OptionsFor({folder.path()}), times);
  REQUIRE(following.WaitForServices({"a"}));
  elsewhere.Write("a.yaml", ServiceYaml("a2"));
  CHECK(following.WaitForServices({"a2"}));
}

}  // namespace
}  // namespace fairlead
