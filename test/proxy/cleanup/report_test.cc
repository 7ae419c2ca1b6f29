#include "proxy/cleanup/report.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>

#include "proxy/cleanup/running.h"
#include "proxy/cleanup/state_files.h"

namespace fairlead {
namespace {

namespace fs = std::filesystem;

// A folder that goes with the object.
class Folder {
 public:
  Folder() {
    std::string path = (fs::temp_directory_path() / "cleanupXXXXXX").string();
    REQUIRE(mkdtemp(path.data()) != nullptr);
    path_ = path;
  }
  ~Folder() { fs::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  std::string Path(const std::string& name) const { return path_ + "/" + name; }
  void Write(const std::string& name, const std::string& text = "x") const {
    fs::create_directories(fs::path(Path(name)).parent_path());
    std::ofstream(Path(name)) << text;
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

CleanupReport SomeReport() {
  CleanupReport report;
  report.Removed("route", "10.96.0.1");
  report.Kept("chain", "iptables-nft nat KUBE-MARK-MASQ", "rules in CNI-X need it");
  report.Failed("virtual server", "TCP 10.96.0.1:80", "not \xff permitted");
  report.notes = {"sysctls are left as they are"};
  return report;
}

TEST_CASE("a report is printed for people") {
  CHECK(FormatCleanupText(SomeReport(), false) ==
        "removed       route           10.96.0.1\n"
        "kept          chain           iptables-nft nat KUBE-MARK-MASQ: rules in CNI-X need it\n"
        "FAILED        virtual server  TCP 10.96.0.1:80: not \xff permitted\n"
        "note: sysctls are left as they are\n");
  CHECK(FormatCleanupText(SomeReport(), true) ==
        "would remove  route           10.96.0.1\n"
        "would keep    chain           iptables-nft nat KUBE-MARK-MASQ: rules in CNI-X need it\n"
        "FAILED        virtual server  TCP 10.96.0.1:80: not \xff permitted\n"
        "note: sysctls are left as they are\n");
  CHECK(FormatCleanupText({}, false) == "nothing to remove\n");
}

TEST_CASE("a report is printed for programs") {
  CHECK(FormatCleanupJson(SomeReport(), true) == R"({
  "dryRun": true,
  "removed": [
    {
      "kind": "route",
      "name": "10.96.0.1"
    }
  ],
  "kept": [
    {
      "kind": "chain",
      "name": "iptables-nft nat KUBE-MARK-MASQ",
      "reason": "rules in CNI-X need it"
    }
  ],
  "failed": [
    {
      "kind": "virtual server",
      "name": "TCP 10.96.0.1:80",
      "reason": "not )"
                                                 "\xef\xbf\xbd"
                                                 R"( permitted"
    }
  ],
  "notes": [
    "sysctls are left as they are"
  ]
}
)");
}

TEST_CASE("reports are put together in order") {
  CleanupReport first = SomeReport();
  CleanupReport second;
  second.Removed("table", "inet fairlead");
  second.notes = {"later"};
  first.Append(second);
  CHECK(first.removed ==
        std::vector<CleanupItem>{{"route", "10.96.0.1"}, {"table", "inet fairlead"}});
  CHECK(first.notes == std::vector<std::string>{"sysctls are left as they are", "later"});
  CHECK(first.failed.size() == 1);
}

TEST_CASE("of a state folder Fairlead's own files go, and no others") {
  const Folder folder;
  for (const char* name : {"picture", "picture.new", "picture.damaged", "allocations.json",
                           "drains", "notes.txt", "picture.jpg", "drains.d/picture"}) {
    folder.Write(name);
  }
  fs::create_directories(folder.Path("allocations.json.new"));
  std::vector<CleanupItem> expected;
  for (const char* name :
       {"allocations.json", "drains", "picture", "picture.new", "picture.damaged"}) {
    expected.push_back({"file", folder.Path(name)});
  }
  CHECK(RemoveStateFiles(folder.path(), /*dry_run=*/true).removed == expected);
  CHECK(fs::exists(folder.Path("picture")));
  CHECK(RemoveStateFiles(folder.path(), /*dry_run=*/false) ==
        CleanupReport{.removed = expected, .kept = {}, .failed = {}, .notes = {}});
  std::set<std::string> left;
  for (const auto& entry : fs::directory_iterator(folder.path())) {
    left.insert(entry.path().filename().string());
  }
  CHECK(left ==
        std::set<std::string>{"allocations.json.new", "drains.d", "notes.txt", "picture.jpg"});
  CHECK(RemoveStateFiles(folder.Path("not-there"), false) == CleanupReport{});
}

TEST_CASE("an agent runs where its socket answers") {
  const Folder folder;
  const std::string path = folder.Path("proxy.sock");
  CHECK(*IsAgentRunning(path) == false);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  REQUIRE(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0);
  REQUIRE(listen(fd, 1) == 0);
  CHECK(*IsAgentRunning(path) == true);
  close(fd);
  // One that was killed leaves its socket.
  CHECK(*IsAgentRunning(path) == false);
  CHECK(absl::IsInvalidArgument(IsAgentRunning(std::string(200, 'x')).status()));
  folder.Write("file");
  CHECK(*IsAgentRunning(folder.Path("file/proxy.sock")) == false);
}

TEST_CASE("a program is found by its name, in the same network namespace only") {
  const Folder proc;
  const auto add = [&proc](const std::string& pid, const std::string& name,
                           const std::string& network) {
    proc.Write(pid + "/comm", name + "\n");
    fs::create_directories(proc.Path(pid + "/ns"));
    if (!network.empty()) fs::create_symlink(network, proc.Path(pid + "/ns/net"));
  };
  add("thread-self", "test", "net:[1]");
  add("7", "kube-proxy", "net:[2]");
  add("8", "kube-proxies", "net:[1]");
  add("version", "kube-proxy", "net:[1]");
  CHECK(FindProgram("kube-proxy", proc.path()) == std::nullopt);
  add("9", "kube-proxy", "net:[1]");
  CHECK(FindProgram("kube-proxy", proc.path()) == 9);
  // The kernel keeps 15 letters.
  add("10", "a-very-long-nam", "");
  CHECK(FindProgram("a-very-long-name", proc.path()) == 10);
}

}  // namespace
}  // namespace fairlead
