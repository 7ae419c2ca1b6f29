#include "proxy/kernel/modules.h"

#include <stdlib.h>
#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

namespace fairlead {
namespace {

// A program that stands for modprobe: it writes down its arguments.
class Program {
 public:
  explicit Program(int exit_code) {
    char name[] = "/tmp/fairlead-modules-XXXXXX";
    folder_ = mkdtemp(name);
    std::ofstream(path()) << "#!/bin/sh\necho \"$@\" >" << folder_ << "/arguments\nexit "
                          << exit_code << "\n";
    chmod(path().c_str(), 0755);
  }
  ~Program() { std::filesystem::remove_all(folder_); }

  std::string path() const { return folder_ + "/program"; }
  std::string Arguments() const {
    std::ifstream in(folder_ + "/arguments");
    std::string line;
    std::getline(in, line);
    return line;
  }

 private:
  std::string folder_;
};

TEST_CASE("modules are loaded by one call, with those of the scheduler") {
  const Program program(0);
  CHECK(LoadModules(ModulesToLoad("lc"), program.path()).ok());
  CHECK(program.Arguments() ==
        "--all -- ip_vs nf_conntrack nf_conntrack_netlink nf_tables nft_chain_nat nft_ct "
        "nft_fib_inet nft_masq nft_reject_inet ip_vs_mh ip_vs_lc");
  CHECK(ModulesToLoad("mh").back() == "ip_vs_mh");
}

TEST_CASE("modules that are not loaded are named") {
  const Program program(1);
  const std::vector<std::string> modules = {"ip_vs", "ip_vs_rr"};
  CHECK(LoadModules(modules, program.path()) ==
        absl::FailedPreconditionError(program.path() + " did not load all of ip_vs ip_vs_rr"));
  CHECK(LoadModules(modules, "/nowhere/modprobe") ==
        absl::FailedPreconditionError("cannot run the program /nowhere/modprobe (package kmod): No "
                                      "such file or directory"));
}

}  // namespace
}  // namespace fairlead
