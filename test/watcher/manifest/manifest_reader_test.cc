#include "watcher/manifest/manifest_reader.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <iostream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "test/watcher/manifest/testing.h"

namespace fairlead {
namespace {

using manifest::FindService;
using manifest::FormatProblems;
using manifest::OptionsFor;
using manifest::PodYaml;
using manifest::ServiceYaml;
using manifest::TemporaryFolder;
using Texts = std::vector<std::string>;

// Names of the Services.
std::set<std::string> Services(const Reading& reading) {
  std::set<std::string> names;
  for (const auto& [id, object] : reading.picture) {
    if (id.kind == ObjectKind::kService) names.insert(id.name.name.str());
  }
  return names;
}

// The problems, with the folder's path as "@".
Texts Problems(const Reading& reading, const TemporaryFolder& folder) {
  Texts texts = FormatProblems(reading.problems);
  for (std::string& text : texts) text = absl::StrReplaceAll(text, {{folder.path(), "@"}});
  return texts;
}

TEST_CASE("a folder is read with its subfolders, and nothing that is hidden") {
  TemporaryFolder folder;
  folder.Write("a.yaml", ServiceYaml("a"));
  folder.Write("sub/deep/b.yml", ServiceYaml("b"));
  folder.Write("c.json",
               R"({"apiVersion":"v1","kind":"Service","metadata":{"name":"c"},
                   "spec":{"ports":[{"port":80}]}})");
  folder.Write(".d.yaml", ServiceYaml("d"));
  folder.Write(".hidden/e.yaml", ServiceYaml("e"));
  folder.Write("f.txt", ServiceYaml("f"));
  folder.Write("g.yaml~", ServiceYaml("g"));
  std::filesystem::create_directory_symlink(folder.path(), folder.File("sub/loop"));
  mkfifo(folder.File("pipe.yaml").c_str(), 0600);
  ManifestReader reader(OptionsFor({folder.path()}));
  const Reading reading = reader.Read();
  CHECK(Services(reading) == std::set<std::string>{"a", "b", "c"});
  CHECK(Problems(reading, folder) == manifest::kNoProblems);
  CHECK(reading.complete);
  CHECK(reading.unread.empty());
  CHECK(reader.folders() ==
        std::set<std::string>{folder.path(), folder.File("sub"), folder.File("sub/deep")});
}

TEST_CASE("given files are read whatever their names, and once") {
  TemporaryFolder folder;
  folder.Write("a.conf", ServiceYaml("a"));
  folder.Write("b.yaml", ServiceYaml("b"));
  ManifestReader reader(OptionsFor(
      {folder.File("a.conf"), folder.path(), folder.path() + "//", folder.File("./b.yaml")}));
  const Reading reading = reader.Read();
  CHECK(Services(reading) == std::set<std::string>{"a", "b"});
  CHECK(Problems(reading, folder) == manifest::kNoProblems);
}

TEST_CASE("what has not changed stays the same object") {
  TemporaryFolder folder;
  folder.Write("a.yaml", ServiceYaml("a") + PodYaml("p", "a", "10.0.0.1"));
  folder.Write("b.yaml", ServiceYaml("b"));
  ManifestReader reader(OptionsFor({folder.path()}));
  const Reading first = reader.Read();
  CHECK(reader.Read().picture == first.picture);  // Compares pointers.
  folder.Write("b.yaml", ServiceYaml("b", "  type: NodePort"));
  const Reading second = reader.Reread({folder.File("b.yaml")});
  CHECK(FindService(second.picture, "a") == FindService(first.picture, "a"));
  CHECK(FindService(second.picture, "b") != FindService(first.picture, "b"));
  CHECK(second.picture.size() == 3);
}

TEST_CASE("only the files that are named are read again") {
  TemporaryFolder folder;
  folder.Write("a.yaml", ServiceYaml("a"));
  folder.Write("b.yaml", ServiceYaml("b"));
  ManifestReader reader(OptionsFor({folder.path()}));
  reader.Read();
  folder.Write("a.yaml", ServiceYaml("a2"));
  folder.Write("b.yaml", ServiceYaml("b2"));
  folder.Write("c.yaml", ServiceYaml("c"));
  CHECK(Services(reader.Reread({folder.File("a.yaml")})) == std::set<std::string>{"a2", "b"});
  CHECK(Services(reader.Reread({folder.File("c.yaml")})) == std::set<std::string>{"a2", "b", "c"});
  folder.Remove("a.yaml");
  CHECK(Services(reader.Reread({folder.File("a.yaml")})) == std::set<std::string>{"b", "c"});
  CHECK(Services(reader.Reread({"/elsewhere.yaml"})) == std::set<std::string>{"b", "c"});
  CHECK(Services(reader.Read()) == std::set<std::string>{"b2", "c"});
}

TEST_CASE("a file that is being written stays as it was") {
  TemporaryFolder folder;
  folder.Write("a.yaml", ServiceYaml("a"));
  ManifestReader reader(OptionsFor({folder.path()}));
  reader.Read();
  folder.Write("a.yaml", ServiceYaml("a2").substr(0, 40));
  folder.Write("b.yaml", ServiceYaml("b"));
  folder.Write("c.yaml", ServiceYaml("c"));
  const std::set<std::string> writing = {folder.File("a.yaml"), folder.File("b.yaml")};
  const Reading reading = reader.Read(writing);
  CHECK(Services(reading) == std::set<std::string>{"a", "c"});
  CHECK(Problems(reading, folder) ==
        Texts{"@/b.yaml: is being written: it is read when it is closed"});
  CHECK(reading.unread == std::set<std::string>{folder.File("b.yaml")});
  CHECK(Services(reader.Reread({folder.File("b.yaml")})) == std::set<std::string>{"a", "b", "c"});
}

TEST_CASE("a file that somebody has open for writing is left alone, if the kernel tells") {
  TemporaryFolder folder;
  folder.Write("a.yaml", ServiceYaml("a"));
  const int probe = open(folder.File("a.yaml").c_str(), O_RDONLY | O_CLOEXEC);
  const bool leases = fcntl(probe, F_SETLEASE, F_RDLCK) == 0;
  close(probe);
  if (!leases) {
    std::cerr << "SKIPPED: no leases in the temporary folder\n";
    SUCCEED();
    return;
  }
  ManifestReader reader(OptionsFor({folder.path()}));
  reader.Read();
  const int writer = open(folder.File("a.yaml").c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC);
  CHECK(Services(reader.Read()) == std::set<std::string>{"a"});
  CHECK(Services(reader.Reread({folder.File("a.yaml")})) == std::set<std::string>{"a"});
  const std::string text = ServiceYaml("a2");
  CHECK(write(writer, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  CHECK(Services(reader.Read()) == std::set<std::string>{"a"});
  close(writer);
  CHECK(Services(reader.Read()) == std::set<std::string>{"a2"});
}

TEST_CASE("a file that becomes malformed keeps its objects") {
  TemporaryFolder folder;
  folder.Write("a.yaml", ServiceYaml("a") + ServiceYaml("b"));
  ManifestReader reader(OptionsFor({folder.path()}));
  reader.Read();
  folder.Write("a.yaml", "kind: [\n");
  const Reading malformed = reader.Read();
  CHECK(Services(malformed) == std::set<std::string>{"a", "b"});
  REQUIRE(malformed.problems.size() == 1);
  CHECK(Problems(malformed, folder)[0].rfind("@/a.yaml:2: is not valid YAML: ", 0) == 0);
  CHECK(Problems(malformed, folder)[0].find("; what it may have held before is kept (2 objects)") !=
        std::string::npos);
  CHECK(malformed.unread.empty());

  // One document is malformed: the other one counts, and what cannot be seen is kept.
  folder.Write("a.yaml", ServiceYaml("b", "  type: NodePort") + "---\nkind: [\n");
  const Reading half = reader.Read();
  CHECK(Services(half) == std::set<std::string>{"a", "b"});
  CHECK(FindService(half.picture, "b")->type == ServiceType::kNodePort);

  folder.Write("a.yaml", ServiceYaml("b"));
  const Reading good = reader.Read();
  CHECK(Services(good) == std::set<std::string>{"b"});
  CHECK(good.problems.empty());
}

TEST_CASE("an object that becomes invalid keeps its last good version") {
  TemporaryFolder folder;
  folder.Write("a.yaml", ServiceYaml("a", "  clusterIP: 10.96.0.5") + ServiceYaml("gone"));
  ManifestReader reader(OptionsFor({folder.path()}));
  reader.Read();
  const std::string bad = ServiceYaml("a", "  clusterIP: 10.96.0.5\n  ports: [{port: 70000}]");
  folder.Write("a.yaml", bad + ServiceYaml("new", "  type: Nonsense"));
  for (int i = 0; i < 2; ++i) {  // However often it is read.
    const Reading reading = reader.Read();
    CHECK(Services(reading) == std::set<std::string>{"a"});
    CHECK(
        Problems(reading, folder) ==
        Texts{"@/a.yaml:8: Service default/a: spec.ports[0].port: 70000 is not a port number (1 to "
              "65535); its last good version is kept",
              "@/a.yaml:16: Service default/new: spec.type: \"Nonsense\" is not one of ClusterIP, "
              "NodePort, LoadBalancer, ExternalName; the object is left out"});
    folder.Write("a.yaml", bad + ServiceYaml("new", "  type: Nonsense") + "# once more\n");
  }
  // In another file it is still the same object.
  folder.Remove("a.yaml");
  folder.Write("b.yaml", bad);
  CHECK(FindService(reader.Read().picture, "a")->cluster_ips[0].Format() == "10.96.0.5");
  folder.Remove("b.yaml");
  CHECK(Services(reader.Read()).empty());
  folder.Write("b.yaml", bad);
  CHECK(Services(reader.Read()).empty());
}

TEST_CASE("an object without a readable name keeps what the file held") {
  TemporaryFolder folder;
  folder.Write("a.yaml", ServiceYaml("a") + ServiceYaml("b"));
  ManifestReader reader(OptionsFor({folder.path()}));
  reader.Read();
  folder.Write("a.yaml", ServiceYaml("a") + ServiceYaml("B_"));
  const Reading reading = reader.Read();
  CHECK(Services(reading) == std::set<std::string>{"a", "b"});
  CHECK(reading.problems.size() == 1);
}

TEST_CASE("a folder that vanishes keeps everything until it is back") {
  TemporaryFolder parent;
  parent.Write("m/a.yaml", ServiceYaml("a"));
  parent.Write("m/b.yaml", ServiceYaml("b"));
  ManifestReader reader(OptionsFor({parent.File("m")}));
  reader.Read();
  std::filesystem::rename(parent.File("m"), parent.File("elsewhere"));
  const Reading gone = reader.Reread({parent.File("m/a.yaml")});
  CHECK(Services(gone) == std::set<std::string>{"a", "b"});
  CHECK(Problems(gone, parent) ==
        Texts{"@/m: cannot be read: No such file or directory; what it held before is kept"});
  CHECK(gone.complete);
  CHECK(gone.unread.empty());
  CHECK(reader.has_failed_path());
  CHECK(!reader.FailedPathIsBack());
  parent.Write("m/b.yaml", ServiceYaml("b2"));
  CHECK(reader.FailedPathIsBack());
  const Reading back = reader.Read();
  CHECK(Services(back) == std::set<std::string>{"b2"});
  CHECK(back.problems.empty());
  CHECK(!reader.has_failed_path());
}

// In a process with mounts of its own: 0 where all is well, 2 where it may not mount.
int UnmountWhileReading(const std::string& path) {
  if (unshare(CLONE_NEWNS) != 0 ||
      mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
      mount("none", path.c_str(), "tmpfs", 0, nullptr) != 0) {
    return 2;
  }
  std::ofstream(path + "/a.yaml") << ServiceYaml("a");
  ManifestReader reader(OptionsFor({path}));
  if (Services(reader.Read()) != std::set<std::string>{"a"}) return 3;
  if (umount(path.c_str()) != 0) return 2;
  for (int i = 0; i < 2; ++i) {
    const Reading gone = i == 0 ? reader.Reread({path + "/a.yaml"}) : reader.Read();
    if (Services(gone) != std::set<std::string>{"a"} || gone.problems.size() != 1) return 4;
    if (reader.FailedPathIsBack()) return 5;
  }
  if (mount("none", path.c_str(), "tmpfs", 0, nullptr) != 0) return 2;
  std::ofstream(path + "/b.yaml") << ServiceYaml("b");
  if (!reader.FailedPathIsBack()) return 6;
  return Services(reader.Read()) == std::set<std::string>{"b"} ? 0 : 7;
}

TEST_CASE("a folder that is unmounted keeps everything, though it looks empty") {
  TemporaryFolder folder;
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) _exit(UnmountWhileReading(folder.path()));
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  if (WEXITSTATUS(status) == 2) {
    std::cerr << "SKIPPED: may not mount\n";
    SUCCEED();
    return;
  }
  CHECK(WEXITSTATUS(status) == 0);
}

TEST_CASE("a given file that vanishes keeps its objects") {
  TemporaryFolder folder;
  folder.Write("a.yaml", ServiceYaml("a"));
  ManifestReader reader(OptionsFor({folder.File("a.yaml")}));
  CHECK(reader.Read().complete);
  folder.Remove("a.yaml");
  const Reading gone = reader.Reread({folder.File("a.yaml")});
  CHECK(Services(gone) == std::set<std::string>{"a"});
  CHECK(Problems(gone, folder) ==
        Texts{"@/a.yaml: cannot be read: No such file or directory; what it held before is kept"});
  folder.Write("a.yaml", ServiceYaml("a2"));
  const Reading back = reader.Reread({folder.File("a.yaml")});
  CHECK(Services(back) == std::set<std::string>{"a2"});
  CHECK(back.problems.empty());
}

TEST_CASE("an empty folder is a complete and empty picture, with a warning") {
  TemporaryFolder folder;
  ManifestReader reader(OptionsFor({folder.path()}));
  const Reading empty = reader.Read();
  CHECK(empty.complete);
  CHECK(empty.picture.empty());
  CHECK(Problems(empty, folder) == Texts{"@: holds no manifest (.yaml, .yml or .json)"});
  CHECK(empty.problems[0].severity == Severity::kWarning);
  folder.Write("a.yaml", ServiceYaml("a"));
  CHECK(reader.Reread({folder.File("a.yaml")}).problems.empty());
  folder.Remove("a.yaml");
  const Reading again = reader.Reread({folder.File("a.yaml")});
  CHECK(again.picture.empty());
  CHECK(again.problems.size() == 1);
}

TEST_CASE("a picture is not complete before every path was read once") {
  TemporaryFolder folder;
  folder.Write("m/a.yaml", ServiceYaml("a"));
  ManifestReader reader(OptionsFor({folder.File("m"), folder.File("late")}));
  const Reading first = reader.Read();
  CHECK(!first.complete);
  CHECK(first.unread == std::set<std::string>{folder.File("late")});
  CHECK(Services(first) == std::set<std::string>{"a"});
  CHECK(
      Problems(first, folder) ==
      Texts{
          "@/late: cannot be read: No such file or directory; nothing is known of what it holds"});
  folder.Write("late/b.yaml", "kind: [");
  const Reading second = reader.Read();
  CHECK(second.complete);
  CHECK(second.unread == std::set<std::string>{folder.File("late/b.yaml")});
  folder.Write("late/b.yaml", ServiceYaml("b"));
  const Reading third = reader.Read();
  CHECK(third.complete);
  CHECK(third.unread.empty());
  folder.Remove("late");
  CHECK(reader.Read().complete);
}

TEST_CASE("a ConfigMap's volume changes all at once") {
  TemporaryFolder folder;
  folder.Write("..1/a.yaml", ServiceYaml("a"));
  std::filesystem::create_directory_symlink("..1", folder.File("..data"));
  std::filesystem::create_symlink("..data/a.yaml", folder.File("a.yaml"));
  ManifestReader reader(OptionsFor({folder.path()}));
  CHECK(Services(reader.Read()) == std::set<std::string>{"a"});
  folder.Write("..2/a.yaml", ServiceYaml("a2"));
  std::filesystem::create_directory_symlink("..2", folder.File("..tmp"));
  std::filesystem::rename(folder.File("..tmp"), folder.File("..data"));
  folder.Remove("..1");
  CHECK(Services(reader.Read()) == std::set<std::string>{"a2"});
}

TEST_CASE("allocations survive a restart and later additions") {
  TemporaryFolder folder;
  TemporaryFolder state;
  folder.Write("b.yaml", ServiceYaml("b", "  type: NodePort"));
  ManifestOptions options = OptionsFor({folder.path()});
  options.service_cluster_ip_ranges = *ParseServiceClusterIpRanges("10.96.0.0/28");
  options.service_node_port_range = {.first = 30000, .last = 30007};
  options.state_dir = state.path();
  const auto before = FindService(ManifestReader(options).Read().picture, "b");
  for (int i = 0; i < 7; ++i) {
    folder.Write(absl::StrCat("a", i, ".yaml"),
                 ServiceYaml(absl::StrCat("a", i), "  type: NodePort"));
  }
  const Reading after = ManifestReader(options).Read();
  CHECK(after.problems.empty());
  CHECK(*FindService(after.picture, "b") == *before);

  SECTION("a read-only reader uses them and writes nothing") {
    folder.Write("c.yaml", ServiceYaml("c"));
    options.read_only_state = true;
    const auto written = std::filesystem::last_write_time(state.File(kAllocationsFile));
    CHECK(*FindService(ManifestReader(options).Read().picture, "b") == *before);
    CHECK(std::filesystem::last_write_time(state.File(kAllocationsFile)) == written);
  }
  SECTION("the allocation of a Service that could not be read yet is not given away") {
    folder.Write("b.yaml", "kind: [");
    ManifestReader reader(options);
    CHECK(FindService(reader.Read().picture, "b") == nullptr);
    folder.Write("b.yaml", ServiceYaml("b", "  type: NodePort"));
    CHECK(*FindService(reader.Read().picture, "b") == *before);
  }
  SECTION("a deleted Service's is") {
    folder.Remove("b.yaml");
    ManifestReader reader(options);
    reader.Read();
    std::vector<Problem> problems;
    CHECK(AllocationStore(state.path(), true).Load(&problems).count({"default", "b"}) == 0);
  }
  SECTION("a state folder that cannot be written is a warning") {
    options.state_dir = folder.File("b.yaml");
    const Reading reading = ManifestReader(options).Read();
    CHECK(Problems(reading, folder).size() == 2);  // It could not be read either.
    CHECK(Services(reading).size() == 8);
  }
}

}  // namespace
}  // namespace fairlead
