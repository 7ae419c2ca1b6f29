#include "ipvs/scheduler_probe.h"

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace fairlead::ipvs {
namespace {

class Root {
 public:
  Root() : path_(std::filesystem::temp_directory_path() / "fairlead-modules-XXXXXX") {
    REQUIRE(mkdtemp(path_.data()) != nullptr);
  }
  ~Root() { std::filesystem::remove_all(path_); }
  void Write(const std::string& name, const std::string& text) const {
    const std::string file = path_ + "/" + name;
    std::filesystem::create_directories(std::filesystem::path(file).parent_path());
    std::ofstream(file) << text;
  }
  absl::Status Find(const char* scheduler) const {
    return FindSchedulerModule(scheduler, "6.1.0", path_);
  }

 private:
  std::string path_;
};

TEST_CASE("the files of modules say which schedulers there are, where they are all there") {
  const Root root;
  CHECK(absl::IsUnavailable(root.Find("lc")));
  root.Write("sys/module/ip_vs_wrr/refcnt", "0");
  CHECK(root.Find("wrr").ok());
  root.Write("lib/modules/6.1.0/modules.dep",
             "kernel/net/netfilter/ipvs/ip_vs_lc.ko.xz: kernel/net/netfilter/ipvs/ip_vs.ko.xz\n"
             "kernel/net/netfilter/ipvs/ip_vs_wlc.ko: kernel/net/netfilter/ipvs/ip_vs.ko\n");
  CHECK(root.Find("lc").ok());
  CHECK(absl::IsUnavailable(root.Find("mh")));
  root.Write("lib/modules/6.1.0/modules.builtin", "kernel/net/netfilter/ipvs/ip_vs_mh.ko\n");
  CHECK(root.Find("mh").ok());
  CHECK(root.Find("wlc").ok());
  for (const char* missing : {"l", "mhx", "foo", ""}) {
    INFO(missing);
    CHECK(absl::IsNotFound(root.Find(missing)));
  }
}

}  // namespace
}  // namespace fairlead::ipvs
